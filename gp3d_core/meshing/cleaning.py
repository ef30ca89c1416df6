"""From raw surfaces to meshes worth keeping: decimation that keeps them closed, normals, a report.

Conventions. Faces are counter-clockwise seen from outside; a surface is watertight if every edge belongs to two
faces, wound one way. V vertices, F faces, E edges.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import fast_simplification
import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.components import face_areas, label_components, label_linked, signed_volumes
from gp3d_core.meshing.isosurface import drop_degenerate
from gp3d_core.meshing.mesh import Mesh, merge_positions
from gp3d_core.meshing.self_intersections import crossing_faces

# How fast the collapse lets errors grow, best shape first. Where surfaces are noisy a slow one ends before it has come
# down to the budget, and a fast one may tear what a slow one does not: none is best, so that others are tried.
_AGGRESSIVENESS = (5.0, 6.0, 7.0, 8.0, 10.0)
_SHEET_GAP = 1e-3  # of the way to the neighbouring faces: how far separated sheets withdraw


@dataclass(frozen=True)
class MeshReport:
    """What there is to know about a surface; positions that coincide count as one vertex.

    `euler` = V - E + F (2 for a sphere, 0 for a torus); `volume` is positive if faces look outwards.
    `self_intersections` counts pairs of faces that cross without sharing a vertex.
    """

    vertices: int
    faces: int
    components: int
    watertight: bool
    euler: int
    area: float
    volume: float
    self_intersections: int
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]]


def simplify(mesh: Mesh, faces: int) -> Mesh:
    """`mesh` with at most `faces` faces, or one more, by quadric edge collapse; without colours.

    Sheets that the collapse glues together are separated again. If no collapse both keeps a watertight mesh closed and
    comes down to the budget, the smallest closed mesh stays, or, where all are torn, one of twice the budget; a
    warning says which it was. Bounds do not grow.
    """
    target = faces
    while target < len(mesh.faces):
        if found := _collapsed(mesh, target):
            small = found[-1]
            if len(small.faces) > faces + 1:
                stopped = len(small.faces) > target + 1
                reason = (
                    "edge collapse comes no lower"
                    if stopped
                    else f"a budget of {faces} would tear the surface"
                )
                warnings.warn(f"kept {len(small.faces)} faces: {reason}", stacklevel=2)
            return small
        target *= 2
    if len(mesh.faces) > faces + 1:
        warnings.warn(
            f"kept {len(mesh.faces)} faces: a budget of {faces} would tear the surface", stacklevel=2
        )
    return mesh


def _collapsed(mesh: Mesh, target: int) -> list[Mesh]:
    """What edge collapse makes of `mesh` without tearing it, larger ones first; ends with the first in the budget."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    closed, kept = is_watertight(mesh.faces), list[Mesh]()
    for aggressiveness in _AGGRESSIVENESS:
        points, triangles = fast_simplification.simplify(
            mesh.vertices, mesh.faces, target_count=target, agg=aggressiveness
        )
        points, triangles = drop_degenerate(
            np.clip(points, low, high, dtype=np.float32), triangles.astype(np.int64)
        )
        for flip in (False, True):
            if closed and len(triangles) and not is_watertight(triangles):
                points, triangles = _separate_sheets(points, triangles, flip)
        if len(triangles) and (not closed or is_watertight(triangles)):
            kept.append(Mesh(points, triangles))
            if len(triangles) <= target + 1:
                return kept
    return sorted(kept, key=lambda small: -len(small.faces))


def vertex_normals(mesh: Mesh) -> NDArray[Any]:
    """Unit normals float32 [V,3], the area-weighted mean over adjacent faces; +y where no face has an area."""
    first, second, third = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    weighted = np.cross(second - first, third - first)
    total = np.stack(
        [np.bincount(mesh.faces.reshape(-1), weighted[:, i].repeat(3), len(mesh.vertices)) for i in range(3)],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    normals = np.where(length > 0, total / np.where(length > 0, length, 1), (0.0, 1.0, 0.0))
    return normals.astype(np.float32)


def mesh_report(mesh: Mesh) -> MeshReport:
    """Size, health and measure of `mesh`."""
    vertices, faces = merge_positions(mesh)
    count, _ = label_components(len(vertices), faces)
    start, end = faces.astype(np.int64), faces[:, [1, 2, 0]].astype(np.int64)
    edges = np.unique(np.minimum(start, end) * len(vertices) + np.maximum(start, end))
    return MeshReport(
        vertices=len(vertices),
        faces=len(faces),
        components=count,
        watertight=is_watertight(faces),
        euler=len(vertices) - len(edges) + len(faces),
        area=float(face_areas(vertices, faces).sum()),
        volume=float(signed_volumes(vertices, faces).sum()),
        self_intersections=len(crossing_faces(vertices, faces)),
        bounds=(tuple(vertices.min(axis=0).tolist()), tuple(vertices.max(axis=0).tolist())),
    )


def is_watertight(faces: NDArray[Any]) -> bool:
    """Whether every directed edge occurs once and once the other way round: closed, manifold, one way wound."""
    if len(faces) == 0:
        return False
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    size = int(faces.max()) + 1
    forward, backward = edges[:, 0] * size + edges[:, 1], edges[:, 1] * size + edges[:, 0]
    unique = np.unique(forward)
    return len(unique) == len(edges) and np.array_equal(unique, np.unique(backward))


def _separate_sheets(
    vertices: NDArray[Any], faces: NDArray[Any], flip: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The closed surface cut into two sheets along every edge at which four faces meet.

    Pairs of faces back to back vanish. Across every edge, faces that run along it in opposite directions are
    joined in pairs; corners that are still connected share a vertex, the others get copies, set a little
    apart. Four faces make two pairs in two ways, one of which may separate nothing: `flip` takes the other.
    A surface with holes stays as it is.
    """
    _, group, count = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True)
    faces = faces[count[group.reshape(-1)] == 1]
    start = faces.reshape(-1).astype(np.int64)
    end, corner = faces[:, [1, 2, 0]].reshape(-1).astype(np.int64), np.arange(len(start))
    following = corner.reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    order = -corner if flip else corner
    key = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
    there, back = np.flatnonzero(start < end), np.flatnonzero(start > end)
    there, back = there[np.argsort(key[there], kind="stable")], back[np.lexsort((order[back], key[back]))]
    if not np.array_equal(key[there], key[back]):
        return vertices, faces.astype(np.int32)
    links = np.concatenate([there, following[there]]), np.concatenate([following[back], back])
    labels = label_linked(len(start), *links)
    count = labels.max(initial=-1) + 1
    source, near = np.zeros(count, np.int64), np.zeros((count, 3))
    source[labels] = start
    centres = vertices[faces].mean(axis=1).repeat(3, axis=0)
    for axis in range(3):
        near[:, axis] = np.bincount(labels, centres[:, axis]) / np.bincount(labels)
    copied = (np.bincount(source, minlength=len(vertices)) > 1)[source]
    apart = vertices[source] + _SHEET_GAP * copied[:, None] * (near - vertices[source])
    return apart.astype(np.float32), labels.reshape(-1, 3).astype(np.int32)
