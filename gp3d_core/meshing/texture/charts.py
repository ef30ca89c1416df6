"""Charts of a surface: groups of connected faces, each seen from one of the six directions of the axes.

A chart's uv are its faces as seen from its direction, at the scale of the surface: nothing is solved or relaxed, so
that the time is that of a few passes over the faces. No face is seen at a flatter angle than necessary, charts
keep their handedness, and a chart that folds over itself is cut where it does. F faces, V vertices, E edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.components import label_linked

DIRECTIONS = np.concatenate([np.eye(3), -np.eye(3)])
_PLANE = np.array([[1, 2], [2, 0], [0, 1], [2, 1], [0, 2], [1, 0]])  # u × v is the direction
_SMOOTHING = 3  # rounds in which a face may join its neighbours' direction
_MERGING = 3  # rounds in which a small chart may join a neighbour
_SMALL = 12  # faces of a chart that is small
_GRAZING = 0.05  # as _FLATTEST, for a half of a quad: below, its texels would be stretched twenty times
_FLATTEST = 0.25  # cosine between a face's normal and its direction, below which it does not join others


def neighbours(faces: NDArray[Any]) -> NDArray[Any]:
    """Pairs [E,2] of faces that share an edge, for edges of exactly two faces."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64), axis=1)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    key, face = key[order], np.repeat(np.arange(len(faces)), 3)[order]
    first = np.flatnonzero(np.diff(key) == 0)
    lone = np.ones(len(first), bool)
    lone[1:] &= np.diff(first) > 1  # edges of three or more faces join nothing
    lone[:-1] &= np.diff(first) > 1
    return np.stack([face[first[lone]], face[first[lone] + 1]], axis=1)


def directions_of(vertices: NDArray[Any], faces: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """The direction [F] from which each face is drawn: the nearest to its normal, evened out among neighbours."""
    first, second, third = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    normal = np.cross(second - first, third - first)
    facing = normal @ DIRECTIONS.T / np.maximum(np.linalg.norm(normal, axis=1), 1e-30)[:, None]
    vertex = np.stack(
        [np.bincount(faces.reshape(-1), normal[:, i].repeat(3), minlength=len(vertices)) for i in range(3)],
        axis=1,
    )
    smooth = vertex[faces].sum(axis=1) @ DIRECTIONS.T
    label = np.where(facing >= _FLATTEST, smooth, -np.inf).argmax(axis=1)
    label = np.where(facing.max(axis=1) >= _FLATTEST, label, facing.argmax(axis=1))
    for _ in range(_SMOOTHING):
        label = _outvoted(label, facing, pairs)
    for _ in range(_MERGING):
        label = _absorbed(label, facing, pairs)
    return label


def joined_directions(
    vertices: NDArray[Any], faces: NDArray[Any], direction: NDArray[Any], quads: NDArray[Any]
) -> NDArray[Any]:
    """The directions [F] with one for both faces of each pair of `quads` [Q,2], where one of theirs sees both."""
    first, second, third = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    normal = np.cross(second - first, third - first)
    normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-30)[:, None]
    direction = direction.copy()
    for one, other in (quads.T, quads.T[::-1]):
        taken = direction[one]
        seen = np.einsum("qd,qd->q", normal[other], DIRECTIONS[taken]) >= _GRAZING
        direction[other] = np.where(seen, taken, direction[other])
    return direction


def charts_of(label: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """The chart [F] of each face: connected faces with the same `label` [F]."""
    same = pairs[label[pairs[:, 0]] == label[pairs[:, 1]]]
    return label_linked(len(label), same[:, 0], same[:, 1])


def draw_charts(
    vertices: NDArray[Any], faces: NDArray[Any], direction: NDArray[Any], chart: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """source [W], faces [F,3] and uv float64 [W,2] of all charts side by side, at the scale of the surface.

    Each chart has its own copies of its vertices: `source` says of which.
    """
    key, corner = np.unique(chart[:, None].astype(np.int64) * len(vertices) + faces, return_inverse=True)
    owner, source = np.divmod(key, len(vertices))
    corner = corner.reshape(-1, 3)
    drawn_from = np.empty(chart.max() + 1, np.int64)
    drawn_from[chart] = direction
    axes = _PLANE[drawn_from[owner]]
    uv = np.take_along_axis(vertices[source].astype(np.float64), axes, axis=1)
    low = np.full((len(drawn_from), 2), np.inf)
    np.minimum.at(low, owner, uv)
    uv -= low[owner]
    cell = uv.max() * 1.01 + 1e-12  # charts lie on a checkerboard, so that no two touch
    columns = int(np.ceil(np.sqrt(len(drawn_from))))
    uv += cell * np.stack([owner % columns, owner // columns], axis=1)
    return source, corner, uv


def _outvoted(label: NDArray[Any], facing: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """Labels [F] after each face takes the one that at least two of its neighbours have, if it faces it."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    votes = np.zeros(facing.shape, np.int8)
    np.add.at(votes, (both[:, 0], label[both[:, 1]]), 1)
    votes[facing < _FLATTEST] = 0
    favourite = votes.argmax(axis=1)
    return np.where(votes.max(axis=1) >= 2, favourite, label)


def _absorbed(label: NDArray[Any], facing: NDArray[Any], pairs: NDArray[Any]) -> NDArray[Any]:
    """Labels [F] after faces of small charts take the label of most neighbours outside, if all of them face it."""
    chart = charts_of(label, pairs)
    size = np.bincount(chart)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[chart[both[:, 0]] != chart[both[:, 1]]]
    votes = np.zeros((len(size), len(DIRECTIONS)), np.int64)
    larger = size[chart[both[:, 1]]] >= size[chart[both[:, 0]]]
    np.add.at(votes, (chart[both[larger, 0]], label[both[larger, 1]]), 1)
    least = np.full(votes.shape, np.inf)
    np.minimum.at(least, chart, facing)
    votes[(least < _FLATTEST) | (size >= _SMALL)[:, None]] = 0
    favourite = votes.argmax(axis=1)
    return np.where(votes.max(axis=1)[chart] > 0, favourite[chart], label)
