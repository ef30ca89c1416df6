"""Pairs of triangles that cross, for the health report of a mesh.

Two triangles cross if an edge of one pierces the other. Candidates come from a uniform grid of buckets. Pairs that
share a vertex are not looked at, nor are triangles that lie in one plane. F faces, P pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARGIN = 1e-9  # relative: how far inside a hit must lie, so that touching is not crossing


def crossing_faces(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """Index pairs [P,2] of faces [F,3] that cross, each pair once, the smaller index first."""
    corners = vertices[faces].astype(np.float64)
    first, second, third = corners.transpose(1, 0, 2)
    pairs = _neighbours(*(pick(pick(first, second), third) for pick in (np.minimum, np.maximum)))
    shared = (faces[pairs[:, 0], :, None] == faces[pairs[:, 1], None, :]).any(axis=(1, 2))
    pairs = pairs[~shared]
    first, second = corners[pairs[:, 0]], corners[pairs[:, 1]]
    near = _straddles(first, second) & _straddles(second, first)
    pairs, first, second = pairs[near], first[near], second[near]
    return pairs[_pierces(first, second) | _pierces(second, first)]


def _neighbours(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Pairs [P,2] of boxes, from `low` [F,3] to `high` [F,3], that overlap."""
    size = max(float((high - low).max(axis=1).mean()) * 2, 1e-12)
    origin = low.min(axis=0)
    first = ((low - origin) / size).astype(np.int64)
    extent = ((high - origin) / size).astype(np.int64) - first + 1
    counts = extent[:, 0] * extent[:, 1] * extent[:, 2]
    face = np.repeat(np.arange(len(low)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    width, depth = extent[face, 2], extent[face, 1]
    cell = first[face] + np.stack([place // (width * depth), place // width % depth, place % width], axis=1)
    span = cell.max(axis=0) + 1
    key = (cell[:, 0] * span[1] + cell[:, 1]) * span[2] + cell[:, 2]
    order = np.argsort(key, kind="stable")
    face, key = face[order], key[order]
    pairs = []
    for shift in range(1, len(face)):  # ends at the fullest bucket
        same = np.flatnonzero(key[shift:] == key[:-shift])
        if len(same) == 0:
            break
        a, b = face[same], face[same + shift]
        for start, end in zip(low.T, high.T, strict=True):  # fewer pairs with every axis
            overlap = (start[a] <= end[b]) & (start[b] <= end[a])
            a, b = a[overlap], b[overlap]
        pairs.append(np.minimum(a, b) * len(low) + np.maximum(a, b))
    packed = np.unique(np.concatenate([np.empty(0, np.int64), *pairs]))
    return np.stack(np.divmod(packed, len(low)), axis=1)


def _straddles(corners: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Whether `others` [P,3,3] have corners on both sides of the planes of `corners` [P,3,3]."""
    side = _sides(corners, others)
    return (side.min(axis=1) < 0) & (side.max(axis=1) > 0)


def _sides(corners: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """On which side of the planes of `corners` [P,3,3] the `points` [P,N,3] lie [P,N]."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.einsum("pnd,pd->pn", points - corners[:, :1], normal)


def _pierces(corners: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Whether an edge of `corners` [P,3,3] goes through the inside of `others` [P,3,3]."""
    hit = np.zeros(len(corners), bool)
    height = _sides(others, corners)
    for k in range(3):
        start, end = corners[:, k], corners[:, (k + 1) % 3]
        rise = height[:, (k + 1) % 3] - height[:, k]
        through = height[:, k] * height[:, (k + 1) % 3] < 0
        share = -height[:, k] / np.where(rise == 0, 1, rise)
        point = start + share[:, None] * (end - start)
        hit |= through & (_weights(others, point).min(axis=1) > _MARGIN)
    return hit


def _weights(corners: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Barycentric weights [P,3] of `points` [P,3] in the planes of `corners` [P,3,3]."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    following = np.roll(corners, -1, axis=1)
    parts = np.cross(following - corners, points[:, None] - corners)
    area = np.einsum("pkd,pd->pk", parts, normal) / np.maximum((normal**2).sum(axis=1), 1e-300)[:, None]
    return np.roll(area, 1, axis=1)
