"""Quads: a triangle mesh drawn anew as quadrilaterals by Instant Meshes, and checked before it is believed.

A field-aligned remesher may tear, fold or swallow thin parts, and says nothing. What it makes is therefore measured
against the triangles it was made from; where that fails, the triangles are what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.assets.distance import SurfaceDistance, face_vectors, nearest_on, surface_distance
from gp3d_core.assets.native import NativeError, call
from gp3d_core.meshing.cleaning import is_watertight
from gp3d_core.meshing.mesh import Mesh, merge_positions
from gp3d_core.signals import Progress, no_progress

COUNT_TOLERANCE = 0.2  # of the number that is asked for
FARTHEST = 0.02  # of the diagonal: two-sided distance between samples of both surfaces
_PURE = 4  # Instant Meshes cuts each face of its first draft into four
_SECONDS = 300.0
# Whether smoothness is measured in space, and the share of the number that is asked of the library, one after the other
# until the quads pass: which of them leaves a hole is chance.
_TRIES = ((True, 1.0), (False, 1.0), (True, 1.1), (False, 0.9))


class QuadError(NativeError):
    """Quads that could not be made, or are no good; the message says what failed."""


@dataclass(frozen=True, eq=False)
class Quads:
    """Quadrilaterals: `vertices` float32 [V,3], `faces` int32 [Q,4], counter-clockwise from outside.

    `distance` is how far they are from the triangles they were made from.
    """

    vertices: NDArray[Any]
    faces: NDArray[Any]
    distance: SurfaceDistance

    def triangles(self) -> Mesh:
        """As a mesh whose faces 2i and 2i + 1 are the halves (a, b, c) and (a, c, d) of quad i, which `quads` says."""
        quads = _turned(self.vertices, self.faces)
        halves = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], axis=1)
        pairs = np.arange(2 * len(quads), dtype=np.int32).reshape(-1, 2)
        return Mesh(self.vertices, halves.reshape(-1, 3).astype(np.int32), quads=pairs)

    def facts(self) -> dict[str, Any]:
        """What a recipe says of them."""
        return {"faces": len(self.faces), "distance": self.distance.facts()}


def quad_mesh(mesh: Mesh, count: int, progress: Progress = no_progress) -> Quads:
    """About `count` quads in the place of the triangles of `mesh`, without colours.

    Checked: their number is within a fifth of `count`; they are closed if `mesh` was; none looks inwards, against the
    normal of the nearest triangle; no sample of either surface is farther than 2 % of the diagonal from the other.
    Raises LibraryError without the library, NativeError where it fails, QuadError where a check does.
    `progress` hears of the stage quads.
    """
    vertices, faces = merge_positions(mesh)
    source, failed = Mesh(vertices, faces), QuadError("no quads")
    for extrinsic, share in _TRIES:
        arrays = {
            "vertices": vertices,
            "faces": faces,
            "target": max(4, round(share * count / _PURE)),
            "extrinsic": extrinsic,
        }
        made = call("quads", arrays, _SECONDS, progress)
        try:
            return _checked(source, *_quads_of(made), count)
        except QuadError as error:
            failed = error
    raise failed


def _turned(vertices: NDArray[Any], quads: NDArray[Any]) -> NDArray[Any]:
    """The quads [Q,4], those turned by a corner whose other diagonal cuts them into better triangles.

    Two quads around a corner of valence two have one diagonal in common, which may be that of one of them alone.
    """
    corners = vertices[quads].astype(np.float64)
    a, b, c, d = (corners[:, i] for i in range(4))
    normal = np.cross(c - a, d - b)

    def flattest(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        return np.minimum(np.einsum("qd,qd->q", first, normal), np.einsum("qd,qd->q", second, normal))

    usual = flattest(np.cross(b - a, c - a), np.cross(c - a, d - a))
    other = flattest(np.cross(c - b, d - b), np.cross(d - b, a - b))
    turned = other > usual * 1.05  # of equal ones the first: a hair decides nothing
    quads = np.where(turned[:, None], np.roll(quads, -1, axis=1), quads)
    key = np.sort(quads[:, [0, 2]].astype(np.int64), axis=1) @ np.array([len(vertices), 1])
    _, first, group, number = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    again = (number[group] > 1) & (first[group] != np.arange(len(quads)))
    return np.where(again[:, None], np.roll(quads, -1, axis=1), quads)


def _quads_of(made: dict[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices and quads [Q,4] of what the library returns: quads, or pairs of triangles (a, b, c), (d, a, c).

    Raises QuadError for anything else.
    """
    faces = made["faces"].astype(np.int32)
    if faces.ndim == 2 and faces.shape[1] == 3 and len(faces) % 2 == 0 and len(faces):
        first, second = faces[0::2], faces[1::2]
        if np.array_equal(second[:, 1:], first[:, [0, 2]]):
            faces = np.concatenate([first, second[:, :1]], axis=1)
    if faces.ndim != 2 or faces.shape[1] != 4 or len(faces) == 0:
        raise QuadError(f"no quads: the library returned faces {list(faces.shape)}")
    return made["vertices"].astype(np.float32), faces


def _checked(source: Mesh, vertices: NDArray[Any], quads: NDArray[Any], count: int) -> Quads:
    """The quads, if they pass; raises QuadError."""
    if abs(len(quads) - count) > COUNT_TOLERANCE * count:
        raise QuadError(f"no quads: {len(quads)} came out, expected {count} within {COUNT_TOLERANCE:.0%}")
    if not np.isfinite(vertices).all() or quads.min() < 0 or quads.max() >= len(vertices):
        raise QuadError("no quads: a corner is missing or at infinity")
    if (np.diff(np.sort(quads, axis=1), axis=1) == 0).any():
        raise QuadError("no quads: faces of fewer than four corners came out")
    drawn = Quads(vertices, quads, SurfaceDistance(0.0, 0.0)).triangles()
    if is_watertight(source.faces) and not is_watertight(drawn.faces):
        raise QuadError("no quads: the surface was closed, and they leave holes")
    if flipped := int(flipped_quads(source, vertices, quads).sum()):
        raise QuadError(f"no quads: {flipped} of {len(quads)} look inwards")
    distance = surface_distance(source, drawn)
    if distance.largest > FARTHEST:
        raise QuadError(
            f"no quads: they are up to {distance.largest:.1%} of the diagonal away from the triangles, "
            f"expected at most {FARTHEST:.0%}"
        )
    return Quads(vertices, quads, distance)


def flipped_quads(source: Mesh, vertices: NDArray[Any], quads: NDArray[Any]) -> NDArray[Any]:
    """Whether each quad [Q] looks against the surface `source` at its middle.

    Its normal is that of its diagonals. On a thin wall the nearest triangle may be on the other side, which turns a
    right quad into a wrong one: the nearest triangle of each of its corners is asked, too, and one that agrees is
    enough.
    """
    corners = vertices[quads].astype(np.float64)
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    points = np.concatenate([corners.mean(axis=1)[:, None], corners], axis=1)
    _, face = nearest_on(source, points.reshape(-1, 3))
    facing = np.einsum("qcd,qd->qc", face_vectors(source)[face].reshape(-1, 5, 3), normal)
    return (facing <= 0).all(axis=1)
