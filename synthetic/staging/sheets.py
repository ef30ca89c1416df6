"""Triangles of one plane, part and material that are joined by their edges, and how much such sheets overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic.staging.overlaps import TOLERANCE, Overlaps
from synthetic.staging.surface import Floats, Indices, Surface, components

Codes = npt.NDArray[np.uint64]
_MOST_AT_EDGE = 16  # triangles that meet in an edge; beyond, none are joined there


@dataclass(frozen=True)
class Sheets:
    """`sheet` [F] of every triangle; of each sheet its `first` [S] triangle and its `area` [S].

    `pairs` [2,P] of them overlap, by `common` [P] areas.
    """

    sheet: Indices
    first: Indices
    area: Floats
    pairs: Indices
    common: Floats


def place_codes(corners: Floats) -> Codes:
    """[F,3] a number for every corner [F,3,3], the same for those at one place."""
    places = np.rint(corners / TOLERANCE).astype(np.int64).view(np.uint64)
    return mixed(mixed(mixed(places[..., 0]) + places[..., 1]) + places[..., 2])


def mixed(bits: Codes) -> Codes:
    """64 bits that all depend on all bits given (the last steps of SplitMix64)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def join_sheets(surface: Surface, corners: Floats, overlaps: Overlaps) -> Sheets:
    """The sheets of a surface with corners [F,3,3] in a box of diagonal 1; none overlaps with itself."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normal, axis=1)
    first, second = _joined(surface, corners, normal / area[:, None])
    count = len(corners)
    sheet = components(count, first, second)
    folded = np.isin(sheet, sheet[overlaps.first][sheet[overlaps.first] == sheet[overlaps.second]])
    sheet = np.where(folded, count + np.arange(count), sheet)  # each of its triangles for itself
    _, start, sheet = np.unique(sheet, return_index=True, return_inverse=True)
    ends = np.sort(sheet[np.stack([overlaps.first, overlaps.second])], axis=0)
    key, place = np.unique(ends[0] * len(start) + ends[1], return_inverse=True)
    return Sheets(
        sheet,
        start,
        np.bincount(sheet, area / 2).astype(np.float64),
        np.stack(np.divmod(key, len(start))),
        np.bincount(place, overlaps.area).astype(np.float64),
    )


def _joined(surface: Surface, corners: Floats, normal: Floats) -> tuple[Indices, Indices]:
    """Pairs of triangles with a common edge that lie in one plane on its two sides, each at most once an edge.

    Where more than two meet, as in sheets that lie on each other, those are joined that stand nearest in the file.
    """
    first, second = _meeting(surface, corners)
    places, normals = np.ascontiguousarray(corners.reshape(-1, 3).T), np.ascontiguousarray(normal.T)
    opposite = (
        np.arange(corners.shape[0] * 3).reshape(-1, 3)[:, [2, 0, 1]].ravel()
    )  # corner, by slot of an edge
    for turned in range(2):
        plane, across = (second, first) if turned else (first, second)
        aside = places.take(opposite[across], axis=1) - places.take(first, axis=1)
        flat = np.abs((aside * normals.take(plane // 3, axis=1)).sum(axis=0)) <= 2 * TOLERANCE
        first, second = first[flat], second[flat]
    one, other = first // 3, second // 3
    foot, edge = corners[one, first % 3], corners[one, (first + 1) % 3] - corners[one, first % 3]
    tip, far = corners[one, (first + 2) % 3], corners[other, (second + 2) % 3]
    inward = np.cross(normal[one], edge)
    sides = np.einsum("pk,pk->p", inward, tip - foot) * np.einsum("pk,pk->p", inward, far - foot)
    chosen = np.flatnonzero(sides < 0)
    chosen = chosen[np.argsort(np.abs(one - other)[chosen], kind="stable")]
    ends = np.stack([first[chosen], second[chosen]], axis=1)
    _, best = np.unique(ends, return_index=True)  # of every slot the first place it stands at
    leading = np.bincount(best // 2, minlength=len(chosen)) == 2
    return one[chosen[leading]], other[chosen[leading]]


def _in_groups(codes: Codes) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Places in `codes`, those of one code side by side in their order, and whether each has the code before it.

    With the place in the low bits a plain sort does it, which is many times as fast as a stable one of places.
    """
    low = np.uint64(max(1, len(codes)).bit_length())
    in_order = np.sort((codes >> low << low) + np.arange(len(codes), dtype=np.uint64))
    order = (in_order & ((np.uint64(1) << low) - np.uint64(1))).astype(np.int64)
    return order, codes[order[1:]] == codes[order[:-1]]


def _meeting(surface: Surface, corners: Floats) -> tuple[Indices, Indices]:
    """Pairs of slots (3 × triangle + corner at which an edge begins) with the same edge, part and material."""
    place = place_codes(corners)
    kind = (surface.part.astype(np.uint64) << np.uint64(32)) + surface.material.astype(np.uint64)
    edge = (mixed(place + place[:, [1, 2, 0]]) + mixed(kind)[:, None]).reshape(-1)
    order, same = _in_groups(edge)
    group = np.concatenate([[0], np.cumsum(~same)])
    small = np.bincount(group)[group] <= _MOST_AT_EDGE
    firsts, seconds = [], []
    for step in range(1, _MOST_AT_EDGE):
        begin = np.flatnonzero((group[step:] == group[:-step]) & small[step:])
        if not len(begin):
            break
        firsts.append(order[begin])
        seconds.append(order[begin + step])
    if not firsts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(firsts), np.concatenate(seconds)
