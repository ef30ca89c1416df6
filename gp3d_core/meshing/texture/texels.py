"""Which texels of an atlas belong to which point of the surface.

Conventions. Texel (row, column) of a texture [S,S,3] has its centre at u = (column + 1/2) / S, v = 1 - (row + 1/2)
/ S. F faces, S texture size, C candidates (face, texel), T texels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import Mesh
from gp3d_core.signals import Progress, no_progress

_BLEED = 1.5  # texels outside a chart whose colour is read from the face extended: what bilinear lookup needs
_CANDIDATES = 2**16  # at a time: what fits into a CPU's cache
_AT_ONCE = 2**20  # of which only texels are kept
_ON_LIMIT = 1e-6  # texels: more than rounding moves an edge
_INSIDE = 0.02  # texels: how deep in two faces a centre must lie, so that they overlap


def surface_texels(
    mesh: Mesh, size: int, progress: Progress = no_progress
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The texels a texture of `size` needs, as indices row * size + column [T], and their surface points
    [T,3].

    A texel belongs to the face that contains its centre; within 1.5 texels outside all faces, to the nearest
    one, whose plane then gives the point.
    """
    if mesh.uv is None:
        raise ValueError("texels need uv coordinates, found none")
    pixel = _pixels(mesh.uv, size)
    depth = np.full(size * size, -_BLEED)
    points = np.zeros((size * size, 3), np.float32)
    for some, bleed in ((mesh.faces, 0.0), (mesh.faces[_at_borders(mesh.faces)], _BLEED)):  # few faces bleed
        for faces in face_batches(pixel[some], size, bleed):
            progress("texels", int(faces[0]), len(some))
            face, texel = candidates(pixel[some[faces]], size, bleed)
            corners = some[faces[face]]
            weights, inside = barycentric(centres(texel, size), pixel[corners])
            np.maximum.at(depth, texel, inside)
            chosen = np.flatnonzero(
                inside == depth[texel]
            )  # of several equally deep the last one is written last
            points[texel[chosen]] = weighted(weights[chosen], mesh.vertices, corners[chosen])
    texels = np.flatnonzero(depth > -_BLEED)
    return texels, points[texels]


def _at_borders(faces: NDArray[Any]) -> NDArray[Any]:
    """Which faces [F] have a corner where a chart ends."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    unique, count = np.unique(edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1], return_counts=True)
    ends = np.zeros(int(faces.max()) + 1, bool)
    ends[np.stack(np.divmod(unique[count != 2], len(ends)))] = True
    at_borders: NDArray[Any] = ends[faces].any(axis=1)
    return at_borders


def overlaps(pixel: NDArray[Any], faces: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs of faces [F,3], as two arrays [P], that both contain some point with whole coordinates, at the least.

    `pixel` [V,2] are not negative. Where n faces lie over one another, n - 1 pairs connect them.
    """
    size = int(np.ceil(pixel.max())) + 2
    owners: list[NDArray[Any]] = [np.empty(0, np.int64)]
    places: list[NDArray[Any]] = [np.empty(0, np.int64)]
    for some in face_batches(pixel[faces], size, 0.0, _AT_ONCE):
        face, texel = candidates(pixel[faces[some]].astype(np.float64), size, -_INSIDE)
        owners.append(some[face])
        places.append(texel)
    owner, place = np.concatenate(owners), np.concatenate(places)
    several = np.flatnonzero(
        (np.bincount(place, minlength=1) > 1)[place]
    )  # sorting all takes ten times as long
    order = several[np.argsort(place[several], kind="stable")]
    owner, place = owner[order], place[order]
    again = np.flatnonzero(place[1:] == place[:-1])
    return owner[again], owner[again + 1]


def _pixels(uv: NDArray[Any], size: int) -> NDArray[Any]:
    """Positions [V,2] in texels, (column, row), centres at whole numbers."""
    return np.stack([uv[:, 0] * size - 0.5, (1 - uv[:, 1]) * size - 0.5], axis=1).astype(np.float64)


def centres(texel: NDArray[Any], size: int) -> NDArray[Any]:
    """Positions [C,2] (column, row) of texels with index row * size + column."""
    return np.stack([texel % size, texel // size], axis=1)


def _bounding_boxes(corners: NDArray[Any], size: int, bleed: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """First texel [F,2] and extent [F,2] of the texels that faces with `corners` [F,3,2] touch, `bleed`
    included.
    """
    low, high = (pick(pick(corners[:, 0], corners[:, 1]), corners[:, 2]) for pick in (np.minimum, np.maximum))
    first = np.clip(np.ceil(low - bleed), 0, size - 1).astype(np.int64)
    last = np.clip(np.floor(high + bleed), 0, size - 1).astype(np.int64)
    return first, np.maximum(last - first + 1, 0)


def face_batches(
    corners: NDArray[Any], size: int, bleed: float = _BLEED, most: int = _CANDIDATES
) -> Iterator[NDArray[Any]]:
    """Indices of the faces that have an area and may have texels, in batches of about `most` texels."""
    edges = corners[:, 1:] - corners[:, :1]
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    faces = np.flatnonzero(np.abs(area) > 1e-9)
    _, extent = _bounding_boxes(corners[faces], size, bleed)
    count = extent[:, 0] * extent[:, 1]
    some = np.flatnonzero(count)  # in small pictures most faces lie between the texels
    if len(some):
        batch = np.cumsum(count[some]) // most
        yield from np.split(faces[some], np.flatnonzero(np.diff(batch)) + 1)


def candidate_count(corners: NDArray[Any], size: int, bleed: float = _BLEED) -> int:
    """How many pairs of a face and a texel of its bounding box there are."""
    _, extent = _bounding_boxes(corners, size, bleed)
    return int((extent[:, 0] * extent[:, 1]).sum())


def candidates(corners: NDArray[Any], size: int, bleed: float = _BLEED) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pairs of a face and a texel of its bounding box that is at most `bleed` texels outside each of its edge lines,
    or -`bleed` inside: face [C] in the batch, texel [C] = row * size + column.

    A texel on that limit may be among them. Faces have an area.
    """
    first, extent = _bounding_boxes(corners, size, max(bleed, 0.0))
    rows = np.where(extent[:, 0] > 0, extent[:, 1], 0)
    face = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(len(face)) + np.repeat(first[:, 1] - np.cumsum(rows) + rows, rows)
    left = first[face, 0].astype(np.float64)
    right = left + (extent[face, 0] - 1)
    x, y = corners[..., 0].T, corners[..., 1].T
    sign = np.sign((x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]))
    for k in range(
        3
    ):  # the edge that does not touch corner k, beyond which is what `rise` row + `level` < `slope` column
        rise, slope = sign * (x[k - 1] - x[k - 2]), sign * (y[k - 1] - y[k - 2])
        level = slope * x[k - 2] - rise * y[k - 2] + (bleed + _ON_LIMIT) * np.hypot(rise, slope)
        along = slope == 0
        divisor = np.where(along, 1.0, slope)
        crossing = (rise / divisor)[face] * row + (level / divisor)[face]
        left = np.where((slope < 0)[face], np.maximum(left, crossing), left)
        right = np.where((slope > 0)[face], np.minimum(right, crossing), right)
        if along.any():
            right[along[face] & (crossing < 0)] = -1.0
    begin = np.ceil(left).astype(np.int64)
    counts = np.maximum(np.floor(right).astype(np.int64) - begin + 1, 0)
    column = np.repeat(begin - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
    return np.repeat(face, counts), np.repeat(row * size, counts) + column


def weighted(weights: NDArray[Any], values: NDArray[Any], corners: NDArray[Any]) -> NDArray[Any]:
    """Means [C,d] of the `values` [V,d] at `corners` [C,3], by `weights` [C,3]; einsum takes three times as long."""
    parts = [weights[:, k, None] * values[corners[:, k]] for k in range(3)]
    mean: NDArray[Any] = parts[0] + parts[1] + parts[2]
    return mean


def barycentric(points: NDArray[Any], corners: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Barycentric weights [C,3] of `points` [C,2] in `corners` [C,3,2], and how deep inside they lie [C], in
    texels.

    Depth is the distance to the nearest edge line, negative outside.
    """
    x, y = points[:, 0], points[:, 1]
    cx, cy = corners[..., 0].T, corners[..., 1].T  # [3,C]: columns, which numpy goes through faster than rows
    twice, depth = [], []
    for k in range(3):  # the edge that does not touch corner k
        fx, fy, tx, ty = cx[k - 2], cy[k - 2], cx[k - 1], cy[k - 1]
        across, down = tx - fx, ty - fy
        area = across * (y - fy) - down * (x - fx)  # signed and doubled
        twice.append(area)
        depth.append(area / np.maximum(np.sqrt(across * across + down * down), 1e-12))
    total = twice[0] + twice[1] + twice[2]
    sign = np.sign(total)
    inside = np.minimum(np.minimum(sign * depth[0], sign * depth[1]), sign * depth[2])
    return np.stack([area / total for area in twice], axis=1), inside
