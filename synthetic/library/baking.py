"""Colours put into a picture that lies by one layer of texture coordinates, whatever they came from.

For what OBJ cannot say: textures by a second layer, and colours of corners beside a texture. It can be done where the
triangles of the layer lie in the picture beside each other, and not on each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from synthetic.library.pictures import Bytes
from synthetic.staging.sampling import base_color, srgb_bytes
from synthetic.staging.surface import Floats, Material, Surface

_MOST_TRIANGLES = 100_000
_MOST_OVERLAP = (
    0.01  # of the texels that triangles cover: those along their edges may belong to two by rounding
)
_INSIDE = 1e-6  # of a triangle, by which a texel on its edge still belongs to it
_LARGEST = 2048  # texels a side


def bake(
    surface: Surface, those: npt.NDArray[np.bool_], material: Material, layer: int, size: tuple[int, int]
) -> Bytes | None:
    """[H,W,3] sRGB bytes of the base colour that `material` gives the triangles `those`, by a layer; None if it can't.

    `size` is width and height. Texels that no triangle covers have the colour of the nearest one that is covered.
    """
    chosen = np.flatnonzero(those)
    if not 0 < len(chosen) <= _MOST_TRIANGLES or max(size) > _LARGEST:
        return None
    found = _covered(surface.uvs[layer][chosen].astype(np.float64), size)
    if found is None:
        return None
    triangle, weights = found
    seen = triangle >= 0
    dressed = replace(
        surface.subset(those),
        materials=(replace(material, alpha="opaque"),),
        material=np.zeros(len(chosen), np.int32),
    )
    colors = base_color(dressed, triangle[seen], weights[seen])[:, :3]
    pixels = np.zeros((*triangle.shape, 3), np.uint8)
    pixels[seen] = srgb_bytes(colors)
    nearest = distance_transform_edt(~seen, return_distances=False, return_indices=True)
    return np.asarray(pixels[tuple(nearest)][::-1])


def _covered(uv: Floats, size: tuple[int, int]) -> tuple[npt.NDArray[np.int64], Floats] | None:
    """[H,W] the triangle at each texel, lowest row first, -1 for none, and [H,W,2] weights of its corners 1 and 2.

    None where triangles lie outside of the picture, or on each other.
    """
    if uv.min() < -_INSIDE or uv.max() > 1 + _INSIDE:
        return None
    width, height = size
    triangle = np.full((height, width), -1)
    weights = np.zeros((height, width, 2))
    total, twice = 0, 0
    places = uv * size - 0.5  # in texels, whose centres are at whole numbers
    low = np.maximum(np.ceil(places.min(axis=1) - _INSIDE), 0).astype(np.int64)
    high = np.minimum(np.floor(places.max(axis=1) + _INSIDE), np.array(size) - 1).astype(np.int64)
    edges = places[:, 1:] - places[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    for number in np.flatnonzero((low <= high).all(axis=1) & (area != 0)).tolist():
        (left, bottom), (right, top) = low[number].tolist(), high[number].tolist()
        v, u = np.mgrid[bottom : top + 1, left : right + 1]
        x, y = u - places[number, 0, 0], v - places[number, 0, 1]
        (ax, ay), (bx, by) = edges[number]
        one, two = (x * by - y * bx) / area[number], (ax * y - ay * x) / area[number]
        inside = (one >= -_INSIDE) & (two >= -_INSIDE) & (one + two <= 1 + _INSIDE)
        rows, columns = v[inside], u[inside]
        total += len(rows)
        twice += int((triangle[rows, columns] >= 0).sum())
        triangle[rows, columns] = number
        weights[rows, columns] = np.column_stack([one[inside], two[inside]])
    if not total or twice > _MOST_OVERLAP * total:
        return None
    return triangle, weights
