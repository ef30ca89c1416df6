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

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.surface import Floats, Indices

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
    """Triangles over the axes that they face least; one that faces two axes alike stands here for each of them.

    The last axis of every array counts the rows R: NumPy goes along it many times as fast as along one of 2 or 3. For
    the same reason rows are taken by `take`, which is several times as fast as an index there.
    """

    triangle: Indices
    axis: Indices
    outline: Floats  # [2,3,R]: u and v of the corners
    plane: Floats  # [3,R]: a, b, c
    stretch: Floats  # of areas and distances by the slope
    slack: Floats  # how wrong a and b may be
    winding: Floats  # 1 where the corners go round from u to v, else -1
    inward: Floats  # [3,3,R]: u and v of a unit vector to the inner side of each edge, and the edge's offset along it

    @cached_property
    def middle(self) -> Floats:
        """[2,R]."""
        return np.asarray((self.outline[:, 0] + self.outline[:, 1] + self.outline[:, 2]) / 3)

    @cached_property
    def box(self) -> tuple[Floats, Floats]:
        """The least and the greatest coordinates [2,R]."""
        return self.outline.min(axis=1), self.outline.max(axis=1)

    @cached_property
    def reach(self) -> Floats:
        """[2,R]: farthest from the middle."""
        low, high = self.box
        return np.asarray(np.maximum(self.middle - low, high - self.middle))

    def __getitem__(self, chosen: Indices) -> _Rows:
        return _Rows(*(getattr(self, field.name).take(chosen, axis=-1) for field in fields(self)))


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
    places = np.ascontiguousarray(corners.transpose(2, 1, 0))  # [3,3,F]: axis, corner
    dx, dy, dz = (_following(k) - k for k in places)
    normal = np.stack(
        [dy[0] * dz[1] - dz[0] * dy[1], dz[0] * dx[1] - dx[0] * dz[1], dx[0] * dy[1] - dy[0] * dx[1]]
    )
    double_area = np.sqrt((normal * normal).sum(axis=0))
    longest = np.sqrt((dx * dx + dy * dy + dz * dz).max(axis=0))
    normal /= double_area
    facing = np.abs(normal)
    turn = np.minimum(2 * _NOISE * longest / double_area, _STEEPEST)  # how wrong the normal may be
    faced = facing >= facing.max(axis=0) - 2 * turn
    by_axis = [np.flatnonzero(faced[axis]) for axis in range(3)]
    triangle = np.concatenate(by_axis)
    u, v, w = (
        np.concatenate(
            [places[_AXES[axis][k]].take(those, axis=1) for axis, those in enumerate(by_axis)], axis=1
        )
        for k in range(3)
    )
    nu, nv, nw = (
        np.concatenate([normal[_AXES[axis][k]][those] for axis, those in enumerate(by_axis)])
        for k in range(3)
    )
    a, b = -nu / nw, -nv / nw
    steepness = 1 + a * a + b * b
    inward_u, inward_v = _following(v) - v, u - _following(u)
    length = np.copysign(np.sqrt(inward_u * inward_u + inward_v * inward_v), -nw)
    inward_u, inward_v = inward_u / length, inward_v / length
    height = w - a * u - b * v
    return _Rows(
        triangle,
        np.repeat(np.arange(3), [len(those) for those in by_axis]),
        np.stack([u, v]),
        np.stack([a, b, (height[0] + height[1] + height[2]) / 3]),
        np.sqrt(steepness),
        np.minimum(turn[triangle] * steepness, _STEEPEST),
        np.sign(nw),
        np.stack([inward_u, inward_v, inward_u * u + inward_v * v]),
    )


def _following(corner: Floats) -> Floats:
    """Of corners [3,R] those that come next."""
    return np.asarray(corner[[1, 2, 0]])


def _cells(rows: _Rows) -> tuple[Indices, Indices]:
    """Rows, and numbers of their cells, few others with the same; a row near a border is in the cell beyond, too."""
    slack = np.stack([rows.slack, rows.slack, _LEVER * rows.slack + TOLERANCE * rows.stretch])
    size = _SMALLEST_CELL
    while (widened := 1 + 2 * rows.slack / size) @ (widened * widened) > _MOST_COPIES * len(widened):
        size *= 2
    plane = rows.plane + size / 2  # slopes of 0 and 1 are common, and in the middle of a cell
    low = np.floor((plane - slack) / size).astype(np.int64)
    count = np.floor((plane + slack) / size).astype(np.int64) - low + 1
    copies = count[0] * count[1] * count[2]
    row = np.repeat(np.arange(len(copies)), copies)
    number = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
    across, down = count[0][row], count[1][row]
    number, i = np.divmod(number, across)
    k, j = np.divmod(number, down)
    i, j, k = i + low[0][row], j + low[1][row], k + low[2][row]
    mixed = i * 73856093 ^ j * 19349663 ^ k * 83492791 ^ rows.axis[row] * 1610612741
    return row, mixed % _TABLE


def _neighbours(rows: _Rows) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of rows of one cell whose boxes overlap, some at a time."""
    low, high = rows.box[0] + NARROWEST / 2, rows.box[1] - NARROWEST / 2
    row, cell = _cells(rows)
    start = cell + (low[0][row] + 1) / 4  # the fraction sorts the rows of a cell from left to right
    order = np.argsort(start)
    row, cell, start = row[order], cell[order], start[order]
    after = np.searchsorted(start, cell + (high[0][row] + 1) / 4) - np.arange(len(row)) - 1
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
        meeting = (low[1][second] < high[1][first]) & (low[1][first] < high[1][second])
        yield first[meeting], second[meeting]


def _in_crowd(members: Indices, low: Floats, high: Floats) -> Iterator[tuple[Indices, Indices]]:
    """The same for many rows of one cell, by a tree."""
    import shapely  # of few models; what all need not import makes every process start sooner

    low, high = low[:, members], high[:, members]
    low, high = np.minimum(low, high), np.maximum(low, high)
    boxes = shapely.box(*low, *high)
    tree = shapely.STRtree(boxes)
    for begin in range(0, len(boxes), 2000):
        found, other = tree.query(boxes[begin : begin + 2000])
        found += begin
        once = np.flatnonzero(other > found)
        for part in np.split(once, range(_CHUNK, len(once), _CHUNK)):
            yield members[found[part]], members[other[part]]


def _overlapping(rows: _Rows, first: Indices, second: Indices) -> tuple[Indices, Indices]:
    """The pairs that may share a plane, and in which no edge of either has the other all on its outer side."""
    a, b, c = (plane[first] - plane[second] for plane in rows.plane)
    (u, v), (reach_u, reach_v) = rows.middle, rows.reach
    between = np.abs(a * u[first] + b * v[first] + c)
    reach = np.abs(a) * reach_u[first] + np.abs(b) * reach_v[first]
    near = np.flatnonzero(between <= reach + TOLERANCE * rows.stretch[first])
    first, second = first[near], second[near]
    for turned in range(2):
        one, other = (second, first) if turned else (first, second)
        u, v = rows.outline.take(other, axis=2)
        inside = np.ones(len(one), np.bool_)
        for edge in range(3):
            inward_u, inward_v, offset = (along[one] for along in rows.inward[:, edge])
            inside &= (inward_u * u + inward_v * v).max(axis=0) - offset > NARROWEST
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
        pieces = np.concatenate([_inside(one, other, _HAIR), _inside(other, one, -_HAIR)], axis=2)
        (u0, v0), (u1, v1) = pieces  # each [6,P]
        turn = np.repeat(np.stack([one.winding, other.winding]), 3, axis=0)
        area = ((u0 * v1 - v0 * u1) * turn).sum(axis=0) / 2 * one.stretch
        a, b, c = one.plane - other.plane
        distance = np.abs(a * u0 + b * v0 + c)
        some = (u0 != u1) | (v0 != v1)
        near = np.where(some, distance, 0).max(axis=0) <= TOLERANCE * one.stretch
        areas.append(np.where(near, area, 0.0))
    area = np.concatenate(areas)
    return Overlaps(numbers[0, area > 0], numbers[1, area > 0], area[area > 0])


def _inside(one: _Rows, other: _Rows, margin: float) -> Floats:
    """[2,2,3,P] both ends, u and v, of the pieces of the edges of `one` that lie in `other` or less than `margin`
    beside it, 0 for none.
    """
    u, v = one.outline
    low, high = np.zeros_like(u), np.ones_like(u)
    for edge in range(3):
        inward_u, inward_v, offset = other.inward[:, edge]
        begin = inward_u * u + inward_v * v - offset + margin
        end = _following(begin)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = begin / (begin - end)
        low = np.where(begin < 0, np.where(end < 0, np.inf, np.maximum(low, crossing)), low)
        high = np.where((begin >= 0) & (end < 0), np.minimum(high, crossing), high)
    with np.errstate(invalid="ignore"):
        return np.stack(
            [
                [np.where(low < high, k + (_following(k) - k) * place, 0.0) for k in (u, v)]
                for place in (low, high)
            ]
        )
