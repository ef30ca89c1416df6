"""How far two surfaces are apart, both ways, in shares of the first one's diagonal.

A point's distance to a surface is the exact one to the nearest of some triangles around it: those that hold the nearest
of many samples, edges sampled as densely as the insides. It can therefore only be too large, by less than the samples
are apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import Mesh

_SAMPLES = 20_000  # of each surface
_CANDIDATES = 12  # nearest samples of a point, whose triangles are looked at
_SEED = 0


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two sampled surfaces in shares of the first one's diagonal.

    `mean` is the mean of both ways, `largest` the larger of both ways: the Hausdorff distance of the samples.
    """

    mean: float
    largest: float

    def facts(self) -> dict[str, float]:
        """Both, as recipes hold them."""
        return {"mean": self.mean, "largest": self.largest}


def surface_distance(first: Mesh, second: Mesh, samples: int = _SAMPLES) -> SurfaceDistance:
    """How far `second` is from `first`: `samples` points of each, and its corners, against the other's triangles."""
    there = distances_to(second, _points(first, samples))
    back = distances_to(first, _points(second, samples))
    scale = diagonal(first.vertices)
    return SurfaceDistance(
        float((there.mean() + back.mean()) / 2 / scale), float(max(there.max(), back.max()) / scale)
    )


def distances_to(mesh: Mesh, points: NDArray[Any]) -> NDArray[Any]:
    """Distance float64 [N] of each of the `points` [N,3] from the surface."""
    return nearest_on(mesh, points)[0]


def nearest_on(mesh: Mesh, points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Distance float64 [N] of each of the `points` [N,3] from the surface, and the face [N] that is nearest."""
    import trimesh
    from scipy.spatial import cKDTree

    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    samples, face = _everywhere(mesh)
    _, near = cKDTree(samples).query(points, k=_CANDIDATES)
    best, which = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    for candidate in face[near].T:
        reached = trimesh.triangles.closest_point(triangles[candidate], points)
        distance = np.linalg.norm(reached - points, axis=1)
        closer = distance < best
        best[closer], which[closer] = distance[closer], candidate[closer]
    return best, which


def sample(mesh: Mesh, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """`count` points float64 [count,3], evenly over the surface and always the same, and the face [count] of each."""
    random = np.random.default_rng(_SEED)
    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    area = np.linalg.norm(face_vectors(mesh), axis=1)
    total = np.cumsum(area)
    face = np.searchsorted(total, (np.arange(count) + random.random(count)) / count * total[-1])
    face = np.minimum(face, len(area) - 1)
    along = random.random((count, 2))
    folded = along.sum(axis=1) > 1
    along[folded] = 1 - along[folded]
    corner, first, second = (triangles[face][:, i] for i in range(3))
    return corner + along[:, :1] * (first - corner) + along[:, 1:] * (second - corner), face


def _everywhere(mesh: Mesh) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points [P,3] inside and along the edges of all triangles, equally dense, and the face [P] of each."""
    triangles = mesh.vertices[mesh.faces].astype(np.float64)
    inside, face = sample(mesh, _SAMPLES)
    apart = np.sqrt(np.linalg.norm(face_vectors(mesh), axis=1).sum() / 2 / _SAMPLES)
    start, end = triangles.reshape(-1, 3), np.roll(triangles, -1, axis=1).reshape(-1, 3)
    count = (
        np.ceil(np.linalg.norm(end - start, axis=1) / max(apart, 1e-300)).astype(np.int64).clip(1, _SAMPLES)
    )
    edge = np.repeat(np.arange(len(start)), count)
    along = (np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)) / count[edge]
    points = start[edge] + along[:, None] * (end - start)[edge]
    return (
        np.concatenate([inside, points, triangles.mean(axis=1)]),
        np.concatenate([face, edge // 3, np.arange(len(triangles))]),
    )


def face_vectors(mesh: Mesh) -> NDArray[Any]:
    """For each triangle its outward normal times twice its area, float64 [F,3]."""
    first, second, third = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return np.cross(second - first, third - first)


def diagonal(points: NDArray[Any]) -> float:
    """Length of the diagonal of the points' box."""
    return float(np.linalg.norm(np.ptp(points.astype(np.float64), axis=0)))


def _points(mesh: Mesh, count: int) -> NDArray[Any]:
    corners = mesh.vertices[np.unique(mesh.faces)].astype(np.float64)
    return np.concatenate([sample(mesh, count)[0], corners])
