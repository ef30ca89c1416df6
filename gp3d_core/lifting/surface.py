"""Layers of cells to triangles: two a cell, with corners shared by the cells that are linked around them.

A corner of the grid becomes one vertex for every group of linked cells that meet there, so that both sides of a depth
edge have their own and no triangle spans it; yet the cells of the seen layer cover the picture without a gap, and from
the place of the camera the mesh shows the picture itself. Along depth edges corners are moved a little, to even out the
stairs of the grid; both sides move alike, and where a vertex lies in the picture is what its texture coordinates say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.lifting.layers import SIDES, Layer, LayeredDepth, linked, shifted

# The four cells around a corner, as (row, column) before it or after it, clockwise from the upper left.
_AROUND = ((0, 0), (0, 1), (1, 1), (1, 0))
_ROUNDS, _MOST = 4, 0.45  # of evening out, and how far a corner may move, in cells


@dataclass(frozen=True, eq=False)
class Surface:
    """Vertices of both layers: place [V,2] (column, row) on the canvas in cells, from its upper left, and q [V].

    seen and filled are the faces int [F,3] of each layer, counter-clockwise as the camera sees them.
    """

    place: NDArray[Any]
    q: NDArray[Any]
    seen: NDArray[Any]
    filled: NDArray[Any]


def triangulate(layers: LayeredDepth) -> Surface:
    """The surface of both `layers`."""
    height, width = layers.seen.mask.shape
    both = (layers.seen, layers.filled)
    valid = np.stack([_at_corners(part.mask, k, False) for part in both for k in range(4)])
    group = _groups(valid, layers)
    corner = np.arange((height + 1) * (width + 1)).reshape(height + 1, width + 1)
    key = group * corner.size + corner
    used = np.zeros(8 * corner.size, bool)
    used[key[valid]] = True
    index = np.cumsum(used) - 1
    place = _places(layers, corner.shape)
    names = np.flatnonzero(used) % corner.size
    vertex = index[key]
    return Surface(
        place.reshape(-1, 2)[names],
        _vertex_q(valid, vertex, layers, len(names)),
        _faces(vertex[:4], layers.seen.mask),
        _faces(vertex[4:], layers.filled.mask),
    )


def _at_corners(cells: NDArray[Any], around: int, outside: Any) -> NDArray[Any]:
    """Values [H+1,W+1,...], at every corner, of the cell that lies at place `around` of it."""
    row, column = _AROUND[around]
    pad = [(1 - row, row), (1 - column, column)] + [(0, 0)] * (cells.ndim - 2)
    return np.pad(cells, pad, constant_values=outside)


def _groups(valid: NDArray[Any], layers: LayeredDepth) -> NDArray[Any]:
    """For each of the 8 cells (layer, place) of a corner the least of those that it is linked with, int [8,H+1,W+1]."""
    ties = []
    for k in range(4):
        other = (k + 1) % 4
        side = (_AROUND[other][0] - _AROUND[k][0], _AROUND[other][1] - _AROUND[k][1])
        back = (-side[0], -side[1])
        ties.append((k, other, _at_corners(linked(layers.seen.links, side), k, False)))
        ties.append((4 + k, 4 + other, _at_corners(linked(layers.filled.links, side), k, False)))
        ties.append((4 + k, other, _at_corners(layers.joined[SIDES.index(side)], k, False)))
        ties.append((4 + other, k, _at_corners(layers.joined[SIDES.index(back)], other, False)))
    group = np.broadcast_to(np.arange(8)[:, None, None], valid.shape).copy()
    changed = True
    while changed:
        changed = False
        for first, second, tie in ties:
            least = np.minimum(group[first], group[second])
            for part in (first, second):
                moved = tie & (group[part] != least)
                if moved.any():
                    group[part][moved] = least[moved]
                    changed = True
    return group


def _vertex_q(valid: NDArray[Any], vertex: NDArray[Any], layers: LayeredDepth, count: int) -> NDArray[Any]:
    """Inverse depth [V] of the vertices: the mean of their cells, each carried on by its slope to the corner.

    Seen cells alone decide where there are any: what is filled follows the picture, never the other way about.
    """
    total, number = np.zeros((2, count)), np.zeros((2, count))
    for which, part in enumerate((layers.seen, layers.filled)):
        down, right = _slope(part, (1, 0)), _slope(part, (0, 1))
        for k, (row, column) in enumerate(_AROUND):
            carried = part.q + (0.5 - row) * down + (0.5 - column) * right
            at = valid[4 * which + k]
            name = vertex[4 * which + k][at]
            total[which] += np.bincount(name, _at_corners(carried, k, 0.0)[at], count)
            number[which] += np.bincount(name, minlength=count)
    seen = number[0] > 0
    found: NDArray[Any] = np.where(seen, total[0], total[1]) / np.where(seen, number[0], number[1])
    return found


def _slope(part: Layer, side: tuple[int, int]) -> NDArray[Any]:
    """The step of q [H,W] towards `side`, the mean of those to both neighbours that are linked; 0 without any."""
    total, count = np.zeros_like(part.q), np.zeros(part.q.shape)
    for sign in (1, -1):
        towards = (sign * side[0], sign * side[1])
        there = linked(part.links, towards)
        total += np.where(there, sign * (shifted(part.q, towards, 0.0) - part.q), 0)
        count += there
    return total / np.maximum(count, 1)


def _places(layers: LayeredDepth, shape: tuple[int, int]) -> NDArray[Any]:
    """Where the corners lie, [H+1,W+1,2] (column, row), those along depth edges and outlines evened out."""
    place = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), axis=-1).astype(np.float64)
    upright, level = _cuts(layers)
    along = {(1, 0): upright, (-1, 0): shifted(upright, (-1, 0), False)}
    along |= {(0, 1): level, (0, -1): shifted(level, (0, -1), False)}
    passing = np.asarray(np.sum(list(along.values()), axis=0) == 2)
    start = place.copy()
    for _ in range(_ROUNDS):
        mean = (
            sum(np.where(cuts[..., None], shifted(place, side, 0.0), 0) for side, cuts in along.items()) / 2
        )
        moved = np.clip((place + mean) / 2 - start, -_MOST, _MOST)
        place = np.where(passing[..., None], start + moved, start)
    return place


def _cuts(layers: LayeredDepth) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether the line from each corner [H+1,W+1] downwards, and to the right, is part of a depth edge.

    So is that of a subject that was cut out; around a whole picture, which has a border, corners stay corners.
    """
    mask, links = layers.seen.mask, layers.seen.links
    upright = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), bool)
    level = upright.copy()
    upright[:-1, 1:-1] = mask[:, 1:] & mask[:, :-1] & ~links.right
    level[1:-1, :-1] = mask[1:] & mask[:-1] & ~links.down
    if layers.border == 0:
        upright[:-1, 1:-1] |= mask[:, 1:] != mask[:, :-1]
        level[1:-1, :-1] |= mask[1:] != mask[:-1]
    return upright, level


def _faces(vertex: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Triangles [F,3] of the cells of `mask`, whose vertices are those at the places of their four corners."""
    # the cell (r, c) lies at the lower right of its upper left corner (r, c), and so on around
    upper_left, upper_right = vertex[2][:-1, :-1][mask], vertex[3][:-1, 1:][mask]
    lower_right, lower_left = vertex[0][1:, 1:][mask], vertex[1][1:, :-1][mask]
    halves = np.stack([upper_left, lower_left, lower_right, upper_left, lower_right, upper_right], axis=1)
    return halves.reshape(-1, 3)
