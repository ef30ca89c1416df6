"""Pairs of triangles that overlap in one plane, found without comparing all with all.

A triangle is written as a height over the two axes that it faces least, w = a u + b v + c. Those with nearly the same
a, b and c meet in a cell of a table; of these, those whose boxes overlap are compared one with another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt
import shapely

from synthetic.library.shapenet import BrokenModelError
from synthetic.staging.surface import Floats

Indices = npt.NDArray[np.int64]

# Lengths are parts of the diagonal of the box around a model. Measured with Cycles: up to 3e-7 the farther of two
# parallel faces takes light and hits from the nearer, from 1e-6 on it does not.
TOLERANCE = 2e-6  # faces that are nearer to each other lie in one plane
NARROWEST = 1e-5  # overlaps that are narrower do not show

_NOISE = 5e-7  # of a corner's position
_STEEPEST = 1 / 64  # by so much slopes are taken to be wrong at most
_SMALLEST_CELL, _MOST_COPIES = 1 / 512, 3  # cells so wide that a triangle is in not more than 3 on average
_TABLE = 2**22
_LEVER = 0.75  # u + v is at most so far from the middle of a box with diagonal 1
_AXES = np.array([[1, 2, 0], [2, 0, 1], [0, 1, 2]])  # u, v, w where w is the axis that a triangle faces most
_HAIR = 1e-10
_MOST_OVERLAPS = 1_000_000
_CROWD = 256  # rows of a cell from which on a tree pays
_CHUNK = 1_000_000  # pairs that are compared at a time


@dataclass(frozen=True)
class Overlaps:
    """Triangles `first` [P] < `second` [P] that lie in one plane, and how much `area` [P] they have in common."""

    first: Indices
    second: Indices
    area: Floats

    def among(self, kept: npt.NDArray[np.bool_]) -> Overlaps:
        """Those between triangles of a mask [F], by their numbers among these."""
        both, number = kept[self.first] & kept[self.second], np.cumsum(kept) - 1
        return Overlaps(number[self.first[both]], number[self.second[both]], self.area[both])


@dataclass(frozen=True)
class _Rows:
    """Triangles over the axes that they face least; one that faces two axes alike stands here for each of them."""

    triangle: Indices
    axis: Indices
    outline: Floats  # [R,3,2]: u, v
    plane: Floats  # [R,3]: a, b, c
    stretch: Floats  # of areas and distances by the slope
    slack: Floats  # how wrong a and b may be
    winding: Floats  # 1 where the corners go round from u to v, else -1
    inward: Floats  # [R,3,3]: unit vector to the inner side of each edge, and the edge's offset along it

    @cached_property
    def middle(self) -> Floats:
        return np.asarray((self.outline[:, 0] + self.outline[:, 1] + self.outline[:, 2]) / 3)

    @cached_property
    def box(self) -> tuple[Floats, Floats]:
        """The least and the greatest coordinates [R,2]."""
        a, b, c = (self.outline[:, corner] for corner in range(3))  # three times as fast as min(axis=1)
        return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)

    @cached_property
    def reach(self) -> Floats:
        """[R,2]: farthest from the middle."""
        low, high = self.box
        return np.asarray(np.maximum(self.middle - low, high - self.middle))

    def __getitem__(self, chosen: Indices) -> _Rows:
        return _Rows(*(getattr(self, field.name)[chosen] for field in fields(self)))


def find_overlaps(corners: Floats) -> Overlaps:
    """All overlaps among triangles [F,3,3] that have an area and lie in a box with diagonal 1 around the origin.

    Triangles less than 1e-4 high may be missed. Raises BrokenModelError where there are more than can be sorted out.
    """
    rows = _rows(corners)
    found, total = [], 0
    for first, second in _neighbours(rows):
        other = rows.triangle[first] != rows.triangle[second]
        found.append(np.stack(_overlapping(rows, first[other], second[other])))
        total += len(found[-1][0])
        if total > 2 * _MOST_OVERLAPS:  # each may come from several cells
            raise BrokenModelError("more of its faces lie on each other than can be told apart")
    pairs = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.int64)
    if not pairs.size:
        return Overlaps(pairs[0], pairs[1], np.empty(0))
    numbers = np.sort(rows.triangle[pairs], axis=0)
    _, once = np.unique(numbers[0] * len(corners) + numbers[1], return_index=True)
    return _measured(rows, pairs[:, once], numbers[:, once])


def _rows(corners: Floats) -> _Rows:
    x, y, z = np.ascontiguousarray(corners.transpose(2, 1, 0))  # each [3,F]
    dx, dy, dz = (np.stack([k[1] - k[0], k[2] - k[1], k[0] - k[2]]) for k in (x, y, z))
    normal = np.stack(
        [dy[0] * dz[1] - dz[0] * dy[1], dz[0] * dx[1] - dx[0] * dz[1], dx[0] * dy[1] - dy[0] * dx[1]]
    )
    double_area = np.sqrt((normal * normal).sum(axis=0))
    longest = np.sqrt((dx * dx + dy * dy + dz * dz).max(axis=0))
    normal /= double_area
    facing = np.abs(normal)
    turn = np.minimum(2 * _NOISE * longest / double_area, _STEEPEST)  # how wrong the normal may be
    axis, triangle = np.nonzero(facing >= facing.max(axis=0) - 2 * turn)
    axes = _AXES[axis]
    u, v, w = (corners[triangle, :, axes[:, k]] for k in range(3))
    nu, nv, nw = (normal[axes[:, k], triangle] for k in range(3))
    a, b = -nu / nw, -nv / nw
    steepness = 1 + a * a + b * b
    inward = np.stack([_following(v) - v, u - _following(u)], axis=2)
    inward /= np.copysign(np.sqrt((inward * inward).sum(axis=2)), -nw[:, None])[..., None]
    return _Rows(
        triangle,
        axis,
        np.stack([u, v], axis=2),
        np.column_stack([a, b, (w - a[:, None] * u - b[:, None] * v).mean(axis=1)]),
        np.sqrt(steepness),
        np.minimum(turn[triangle] * steepness, _STEEPEST),
        np.sign(nw),
        np.dstack([inward, inward[..., 0] * u + inward[..., 1] * v]),
    )


def _following(corner: Floats) -> Floats:
    return np.asarray(corner[:, [1, 2, 0]])


def _cells(rows: _Rows) -> tuple[Indices, Indices]:
    """Rows, and numbers of their cells, few others with the same; a row near a border is in the cell beyond, too."""
    slack = np.column_stack([rows.slack, rows.slack, _LEVER * rows.slack + TOLERANCE * rows.stretch])
    size = _SMALLEST_CELL
    while (widened := 1 + 2 * rows.slack / size) @ (widened * widened) > _MOST_COPIES * len(widened):
        size *= 2
    plane = rows.plane + size / 2  # slopes of 0 and 1 are common, and in the middle of a cell
    low = np.floor((plane - slack) / size).astype(np.int64)
    count = np.floor((plane + slack) / size).astype(np.int64) - low + 1
    copies = count[:, 0] * count[:, 1] * count[:, 2]
    row = np.repeat(np.arange(len(copies)), copies)
    number = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
    across = count[row]
    i, j, k = low[row].T
    i, number = i + number % across[:, 0], number // across[:, 0]
    j, k = j + number % across[:, 1], k + number // across[:, 1]
    mixed = i * 73856093 ^ j * 19349663 ^ k * 83492791 ^ rows.axis[row] * 1610612741
    return row, mixed % _TABLE


def _neighbours(rows: _Rows) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows of one cell whose boxes overlap, some at a time."""
    low, high = rows.box[0] + NARROWEST / 2, rows.box[1] - NARROWEST / 2
    row, cell = _cells(rows)
    start = cell + (low[row, 0] + 1) / 4  # the fraction sorts the rows of a cell from left to right
    order = np.argsort(start)
    row, cell, start = row[order], cell[order], start[order]
    after = np.searchsorted(start, cell + (high[row, 0] + 1) / 4) - np.arange(len(row)) - 1
    after = np.maximum(after, 0)
    if after.max(initial=0) > _CROWD:
        number = np.cumsum(np.diff(cell, prepend=-1) > 0)
        members = np.bincount(number)
        crowded = (np.bincount(number, after) > 32 * members) & (members > _CROWD)
        borders = np.cumsum(members)
        for group in np.flatnonzero(crowded):
            yield from _in_crowd(row[borders[group - 1] : borders[group]], low, high)
        after[crowded[number]] = 0
    left = np.flatnonzero(after)
    batch = np.cumsum(after[left]) // _CHUNK
    for some in np.split(left, np.flatnonzero(np.diff(batch)) + 1):
        many = after[some]
        first = np.repeat(some, many)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
        first, second = row[first], row[second]
        apart = (low[second, 1] >= high[first, 1]) | (low[first, 1] >= high[second, 1])
        yield first[~apart], second[~apart]


def _in_crowd(members: Indices, low: Floats, high: Floats) -> Iterator[tuple[Indices, Indices]]:
    """The same for many rows of one cell, by a tree."""
    low, high = np.minimum(low[members], high[members]), np.maximum(low[members], high[members])
    boxes = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    tree = shapely.STRtree(boxes)
    for begin in range(0, len(boxes), 2000):
        found, other = tree.query(boxes[begin : begin + 2000])
        found += begin
        once = np.flatnonzero(other > found)
        for part in np.split(once, range(_CHUNK, len(once), _CHUNK)):
            yield members[found[part]], members[other[part]]


def _overlapping(rows: _Rows, first: Indices, second: Indices) -> tuple[Indices, Indices]:
    """The pairs that may share a plane, and in which no edge of either has the other all on its outer side."""
    gap = rows.plane[first] - rows.plane[second]
    middle = rows.middle[first]
    between = np.abs(gap[:, 0] * middle[:, 0] + gap[:, 1] * middle[:, 1] + gap[:, 2])
    reach = np.abs(gap[:, 0]) * rows.reach[first, 0] + np.abs(gap[:, 1]) * rows.reach[first, 1]
    near = between <= reach + TOLERANCE * rows.stretch[first]
    first, second = first[near], second[near]
    for edge in range(3):
        for turned in range(2):
            one, other = (second, first) if turned else (first, second)
            inward, u, v = rows.inward[one, edge], rows.outline[other, :, 0], rows.outline[other, :, 1]
            depth = (inward[:, :1] * u + inward[:, 1:2] * v).max(axis=1) - inward[:, 2]
            inside = depth > NARROWEST
            first, second = first[inside], second[inside]
    return first, second


def _measured(rows: _Rows, pairs: Indices, numbers: Indices) -> Overlaps:
    """The pairs of rows that are one plane all over what they have in common, and its area.

    What two triangles have in common is bounded by those pieces of the edges of each that lie inside the other.
    """
    areas = []
    for begin in range(0, pairs.shape[1], _CHUNK // 4):
        one, other = (rows[chosen] for chosen in pairs[:, begin : begin + _CHUNK // 4])
        # Of edges that lie on each other those of one count and those of the other do not.
        pieces = np.concatenate([_inside(one, other, _HAIR), _inside(other, one, -_HAIR)], axis=1)
        (u0, v0), (u1, v1) = (pieces[:, :, end].transpose(2, 0, 1) for end in range(2))
        turn = np.repeat(np.stack([one.winding, other.winding], axis=1), 3, axis=1)
        area = ((u0 * v1 - v0 * u1) * turn).sum(axis=1) / 2 * one.stretch
        gap = (one.plane - other.plane)[:, None]
        distance = np.abs(gap[..., 0] * u0 + gap[..., 1] * v0 + gap[..., 2])  # 0 0 0 where there is no piece
        near = np.where((u0 != u1) | (v0 != v1), distance, 0).max(axis=1) <= TOLERANCE * one.stretch
        areas.append(np.where(near, area, 0.0))
    area = np.concatenate(areas)
    return Overlaps(numbers[0, area > 0], numbers[1, area > 0], area[area > 0])


def _inside(one: _Rows, other: _Rows, margin: float) -> Floats:
    """[P,3,2,2] the pieces of the edges of `one` that lie in `other` or less than `margin` beside it, 0 for none."""
    low: Floats = np.zeros((len(one.outline), 3))
    high: Floats = np.ones((len(one.outline), 3))
    for edge in range(3):
        inward = other.inward[:, edge]
        along = inward[:, :1] * one.outline[..., 0] + inward[:, 1:2] * one.outline[..., 1]
        begin = along - inward[:, 2:] + margin
        end = _following(begin)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = begin / (begin - end)
        low = np.where(begin < 0, np.where(end < 0, np.inf, np.maximum(low, crossing)), low)
        high = np.where((begin >= 0) & (end < 0), np.minimum(high, crossing), high)
    some = (low < high)[..., None]
    start, step = one.outline, one.outline[:, [1, 2, 0]] - one.outline
    with np.errstate(invalid="ignore"):
        ends = [np.where(some, start + step * place[..., None], 0.0) for place in (low, high)]
    return np.stack(ends, axis=2)
