"""Another scale of cloth, wood and brick: texture coordinates of pictures that repeat without an end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from synthetic.library.variation.draws import VariantSeed
from synthetic.staging.surface import Floats, Material, Surface, area_vectors

_REPEATS = 1.5  # of a picture along u and along v: less may be one of several pictures on one sheet
_MOST = 0.9  # of the area has to lie in pieces that repeat
_OCTAVE = 1.4142  # the most that a scale is multiplied or divided by
_WHOLE = 1e-3  # of a period: coordinates that differ by a whole number
_WELD = 1e-6  # of the box's diagonal: corners nearer than that are one


def rescale_patterns(surface: Surface, seed: VariantSeed) -> tuple[Surface, dict[str, float]]:
    """The surface with the coordinates of pictures that repeat scaled, and the factor by material.

    A picture repeats where it wraps around in u and v and lets nothing through, where pieces that take it in 1.5 times
    both ways are nearly all of the material, and where no seam joins coordinates that differ by whole periods: those
    would no longer fit.
    """
    factors: dict[str, float] = {}
    uvs = [layer.copy() for layer in surface.uvs]
    for number, material in enumerate(surface.materials):
        layer, those = _layer(material), surface.material == number
        if layer is None or not those.any() or not _repeats(surface, those, layer):
            continue
        factor = seed.draws(f"pattern {number}").factor(_OCTAVE)
        uvs[layer][those] *= np.float32(factor)
        factors[material.name] = factor
    return (replace(surface, uvs=tuple(uvs)), factors) if factors else (surface, factors)


def _layer(material: Material) -> int | None:
    """The one layer of coordinates that an opaque material's pictures go by; None where they cannot be scaled."""
    textures = [material.color_texture, material.emission_texture, material.metallic_roughness_texture]
    given = [texture for texture in textures if texture is not None]
    layers = {texture.uv_layer for texture in given}
    wraps = {wrap for texture in given for wrap in texture.wrap}
    if (
        material.color_texture is None
        or material.alpha != "opaque"
        or wraps != {"repeat"}
        or len(layers) != 1
    ):
        return None
    return layers.pop()


def _repeats(surface: Surface, those: npt.NDArray[np.bool_], layer: int) -> bool:
    """Whether most of a material's area lies in pieces of uv that take in the whole picture both ways."""
    corners, places = _welded(surface)[surface.triangles[those]], surface.uvs[layer][those].astype(np.float64)
    if np.ptp(places.reshape(-1, 2), axis=0).min() < _REPEATS:
        return False
    vectors = area_vectors(surface.positions, surface.triangles[those])
    area = np.sqrt((vectors * vectors).sum(axis=1))
    piece = _pieces(corners, places)
    low, high = np.full((piece.max() + 1, 2), np.inf), np.full((piece.max() + 1, 2), -np.inf)
    np.minimum.at(low, piece, places.min(axis=1))
    np.maximum.at(high, piece, places.max(axis=1))
    whole = np.flatnonzero((high - low >= _REPEATS).all(axis=1))
    if area[np.isin(piece, whole)].sum() < _MOST * area.sum():
        return False
    return not _joined_by_periods(corners, places)


def _pieces(corners: npt.NDArray[np.int64], places: Floats) -> npt.NDArray[np.int64]:
    """[F] numbers of the pieces whose triangles share corners in space and in uv."""
    rounded = np.round(places.reshape(-1, 2) / _WHOLE).astype(np.int64)
    points = np.unique(np.column_stack([corners.ravel(), rounded]), axis=0, return_inverse=True)[1].reshape(
        -1, 3
    )
    count = int(points.max()) + 1
    ends = np.concatenate([points[:, [0, 1]], points[:, [1, 2]]])
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1][points[:, 0]], dtype=np.int64)


def _welded(surface: Surface) -> npt.NDArray[np.int64]:
    """[V] numbers of positions, the same for those at one place."""
    size = float(np.ptp(surface.positions, axis=0).max()) or 1.0
    cells = np.floor(surface.positions / (_WELD * size) + 0.5).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)


def _joined_by_periods(corners: npt.NDArray[np.int64], places: Floats) -> bool:
    """Whether an edge has coordinates in one triangle that differ by whole periods, not 0, from another's."""
    ends, around = [], []
    for first, second in ((0, 1), (1, 2), (2, 0)):
        swap = corners[:, first] > corners[:, second]
        ends.append(np.where(swap[:, None], corners[:, [second, first]], corners[:, [first, second]]))
        pair = np.stack([places[:, first], places[:, second]], axis=1)
        around.append(np.where(swap[:, None, None], pair[:, ::-1], pair))
    edges, coordinates = np.concatenate(ends), np.concatenate(around)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    edges, coordinates = edges[order], coordinates[order]
    same = (edges[1:] == edges[:-1]).all(axis=1)
    apart = (coordinates[1:] - coordinates[:-1])[same]
    whole = np.abs(apart - np.round(apart)) < _WHOLE
    return bool((whole.all(axis=(1, 2)) & (np.abs(np.round(apart)) > 0).any(axis=(1, 2))).any())
