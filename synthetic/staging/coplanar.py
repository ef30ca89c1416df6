"""Faces that lie on each other: doubles are dropped, labels are raised, so that no two are hit at one place.

A ray that meets two faces at one distance takes either, and the light that should fall on the one is blocked by the
other: the picture shows black or speckles.

Of two triangles with the same corners one stays: one with a texture before a plain one, else the first. Of two sheets
(triangles joined by their edges, of one part, material and plane) that cover each other, likewise. Where sheets overlap
otherwise, the smaller is a label: it is drawn twice, a little before and a little behind the larger. A face that is cut
by its alpha hides nothing, so it is a label too, unless both are of one material.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from synthetic.staging.overlaps import Overlaps, find_overlaps
from synthetic.staging.sheets import Sheets, join_sheets, mixed, place_codes
from synthetic.staging.surface import Floats, Surface, face_normals

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

LIFT = 2e-5  # of the diagonal, between the layers of labels: more than the noise, less than what depth may be wrong
_MOST_LAYERS = 32
_COVERS = 1 - 1e-3  # of the area: sheets that have so much in common are doubles
_UNDER = 0.49  # of a label's area: by how much a face has to bear it to be below it


def separate_coplanar(surface: Surface, notes: Counter[str]) -> Surface:
    """The surface, in which no two triangles of one plane overlap; dropped and raised ones are counted in `notes`.

    Where none do it is the same. Raises BrokenModelError where there are more than can be sorted out.
    """
    corners = surface.positions.take(surface.triangles, axis=0)
    # Many times as fast as along the last axis but one.
    along = np.ascontiguousarray(corners.reshape(-1, 3).T)
    low, high = along.min(axis=1), along.max(axis=1)
    diagonal = float(np.linalg.norm(high - low))
    corners = (corners - (low + high) / 2) / diagonal
    whole, kept = surface, _first_of_doubles(surface, corners)
    if len(kept) < len(surface):
        surface, corners = surface.subset(_mask(kept, len(surface))), corners[kept]
    overlaps = find_overlaps(corners)
    single = ~_mask(_doubles(surface, corners, overlaps), len(surface))
    if not single.all():
        surface, corners, overlaps = surface.subset(single), corners[single], overlaps.among(single)
    if len(surface) < len(whole):
        notes["doubled faces dropped"] += len(whole) - len(surface)
    if not len(overlaps.first):
        return surface
    sheets = join_sheets(surface, corners, overlaps)
    layer = _layers(surface, sheets)[sheets.sheet]
    doubled, buried = layer == _DOUBLE, layer == _BURIED
    for phrase, which in (
        ("doubled faces dropped", doubled),
        (f"faces above {_MOST_LAYERS} others in one plane dropped", buried),
        ("faces lying in others raised", layer > 0),
    ):
        if which.any():
            notes[phrase] += int(which.sum())
    return _raised(surface, layer, LIFT * diagonal)


_DOUBLE, _BURIED = -1, -2  # instead of a layer


def _mask(chosen: Indices, count: int) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[chosen] = True
    return mask


def _kinds(surface: Surface) -> npt.NDArray[np.int64]:
    """[F] 0 for what hides all behind it, else a number of the material that is cut."""
    numbers = {material: number for number, material in reversed(list(enumerate(surface.materials, 1)))}
    kinds = [0 if m.alpha == "opaque" else numbers[m] for m in surface.materials]
    return np.array(kinds, np.int64)[surface.material]


def _plain(surface: Surface) -> Mask:
    """[F] whether the material has no texture."""
    return np.array([m.color_texture is None for m in surface.materials])[surface.material]


def _first_of_doubles(surface: Surface, corners: Floats) -> Indices:
    """Triangles without those whose corners are those of another one of their kind, in whatever order."""
    key = place_codes(corners).sum(axis=1)
    key += mixed(_kinds(surface).view(np.uint64))
    in_order = np.sort(key)
    if (in_order[1:] != in_order[:-1]).all():
        return np.arange(len(surface))
    order = np.lexsort([_plain(surface), key])  # stable: the first in the file stays the first
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = key[order[1:]] != key[order[:-1]]
    return np.sort(order[fresh])


def _doubles(surface: Surface, corners: Floats, overlaps: Overlaps) -> Indices:
    """Those to be dropped for the same reason, though their corners differ by noise: they cover what another does."""
    ends = np.stack([overlaps.first, overlaps.second])
    if not ends.size:
        return np.empty(0, np.int64)
    one, two, three = corners[ends].transpose(2, 0, 1, 3)
    area = np.linalg.norm(np.cross(two - one, three - one), axis=-1) / 2
    kinds = _kinds(surface)[ends]
    same = (overlaps.area >= _COVERS * area.max(axis=0)) & (kinds[0] == kinds[1])
    later = (ends + _plain(surface)[ends] * len(surface)).argmax(axis=0)
    return np.asarray(ends[later, np.arange(len(later))][same])


def _layers(surface: Surface, sheets: Sheets) -> Indices:
    """[S] for every sheet: 0 where it stays, the layer it is raised to, _DOUBLE or _BURIED where it goes."""
    kinds = _kinds(surface)[sheets.first]
    order = np.lexsort([sheets.first, _plain(surface)[sheets.first], kinds > 0, -_rounded(sheets.area)])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    layers = np.zeros(len(order), np.int64)
    below: dict[
        int, list[tuple[int, float]]
    ] = {}  # by sheet: those before it by rank, with what they have in common
    for one, other, common in zip(*sheets.pairs.tolist(), sheets.common.tolist(), strict=True):
        first, second = (one, other) if rank[one] < rank[other] else (other, one)
        below.setdefault(second, []).append((first, common))
    for sheet in sorted(below, key=rank.__getitem__):
        others = [(other, common) for other, common in below[sheet] if layers[other] >= 0]
        area = sheets.area[sheet]
        if any(
            kinds[other] == kinds[sheet] and common >= _COVERS * max(area, sheets.area[other])
            for other, common in others
        ):
            layers[sheet] = _DOUBLE
            continue
        taken = {int(layers[other]) for other, _ in others}
        bearing = [int(layers[other]) for other, common in others if common >= _UNDER * area]
        layer = max(bearing, default=-1) + 1
        while layer in taken:
            layer += 1
        layers[sheet] = layer if layer <= _MOST_LAYERS else _BURIED
    return layers


def _rounded(area: Floats) -> Floats:
    """Areas, of which those that differ by noise are mostly the same."""
    return np.asarray(np.rint(np.log(area) * 1000))


def _raised(surface: Surface, layer: Indices, lift: float) -> Surface:
    """The surface with those triangles twice, on both sides, whose `layer` [F] is above 0, without those below 0."""
    up = np.flatnonzero(layer > 0)
    rest = surface.subset(layer == 0)
    shift = face_normals(surface.positions, surface.triangles[up]) * (layer[up] * lift)[:, None]
    corners = surface.positions[surface.triangles[up]]
    raised = np.concatenate([corners + shift[:, None], corners - shift[:, None]]).reshape(-1, 3)
    twice = np.concatenate([up, up])
    triangles = len(rest.positions) + np.arange(len(raised)).reshape(-1, 3)
    return replace(
        rest,
        positions=np.concatenate([rest.positions, raised]),
        triangles=np.concatenate([rest.triangles, triangles]),
        material=np.concatenate([rest.material, surface.material[twice]]),
        part=np.concatenate([rest.part, surface.part[twice]]),
        uvs=tuple(
            np.concatenate([kept, layer[twice]]) for kept, layer in zip(rest.uvs, surface.uvs, strict=True)
        ),
        colors=None
        if rest.colors is None or surface.colors is None
        else np.concatenate([rest.colors, surface.colors[twice]]),
        normals=None
        if rest.normals is None or surface.normals is None
        else np.concatenate([rest.normals, surface.normals[twice]]),
    )
