"""Two surfaces compared point by point: density-aware Chamfer distance, concordance of normals, F-scores.

Points are drawn evenly over the area, centred on their mean and scaled so that the farthest has distance 1, each
surface by itself: all distances here are in that unit, the radius of an object. Legend: P and Q points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray
from trimesh import sample

POINTS = 10_000  # of a surface
ALPHA = 10.0  # of the density-aware Chamfer distance, per unit of distance
F_SCORE_AT = (0.02, 0.05)


@dataclass(frozen=True, eq=False)
class OrientedPoints:
    """Points float64 [P,3] of a surface and the unit normals [P,3] of the faces that they lie on."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]


def oriented_points(
    vertices: NDArray[Any], faces: NDArray[Any], seed: int, count: int = POINTS
) -> OrientedPoints | None:
    """`count` points of a triangle mesh in the unit of this module, the same for one seed; None without any area."""
    mesh = trimesh.Trimesh(np.asarray(vertices, np.float64), faces, process=False)
    if len(faces) == 0 or not mesh.area > 0:
        return None
    drawn, index = sample.sample_surface(mesh, count, seed=seed)
    points = np.asarray(drawn, np.float64) - np.mean(drawn, axis=0)
    radius = float(np.linalg.norm(points, axis=1).max())
    corners = np.asarray(mesh.triangles, np.float64)[np.asarray(index)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    return OrientedPoints(points / max(radius, 1e-12), normals)


@dataclass(frozen=True, eq=False)
class Matching:
    """Of each of P points the nearest of Q others, `there` [P] and `there_distance` [P]; `back` [Q] the reverse."""

    there: NDArray[np.intp]
    there_distance: NDArray[np.float64]
    back: NDArray[np.intp]
    back_distance: NDArray[np.float64]


def match(first: NDArray[Any], second: NDArray[Any]) -> Matching:
    """The nearest neighbours of points [P,3] and [Q,3] in each other. ValueError if one has no points."""
    from scipy.spatial import cKDTree  # slow to import

    for points in (first, second):
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(f"expected points [P,3], at least one, found {list(points.shape)}")
    there_distance, there = cKDTree(second).query(first)
    back_distance, back = cKDTree(first).query(second)
    return Matching(there, there_distance, back, back_distance)


def density_aware_chamfer(matching: Matching, alpha: float = ALPHA) -> float:
    """Density-aware Chamfer distance, from 0 for equal clouds to 1 (Wu et al., NeurIPS 2021, arXiv 2111.12702).

    The mean over both clouds of mean(1 − exp(−α ‖x − ŷ‖) / n): ŷ is the nearest point of the other cloud, n the number
    of points that have ŷ as their nearest. The distance is not squared, as the paper prints it; implementations that
    square it quote other numbers. For clouds of different sizes it is the same sum, without the paper's weights.
    """

    def one_way(nearest: NDArray[np.intp], distance: NDArray[np.float64]) -> float:
        shared = np.bincount(nearest)[nearest]
        return float(np.mean(1 - np.exp(-alpha * distance) / shared))

    return (
        one_way(matching.there, matching.there_distance) + one_way(matching.back, matching.back_distance)
    ) / 2


def normal_concordance(matching: Matching, first: NDArray[Any], second: NDArray[Any]) -> float:
    """Mean |cosine| between unit normals [P,3] and [Q,3] of nearest points, both ways: 1 for parallel, 0 for upright.

    This is the normal consistency of Mescheder et al. (CVPR 2019), with normals of faces. Which side of a face is its
    front does not count, as meshes are wound either way.
    """
    there = np.abs(np.einsum("pd,pd->p", first, second[matching.there]))
    back = np.abs(np.einsum("qd,qd->q", second, first[matching.back]))
    return float((there.mean() + back.mean()) / 2)


def f_score(matching: Matching, distance: float) -> float:
    """Harmonic mean of the shares of points, of either cloud, within `distance` of the other; 0 if both are 0."""
    precision = float(np.mean(matching.there_distance <= distance))
    recall = float(np.mean(matching.back_distance <= distance))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def pair_measures(
    first: OrientedPoints, second: OrientedPoints, *, alpha: float = ALPHA, at: Sequence[float] = F_SCORE_AT
) -> dict[str, float]:
    """All measures of this module by name: dcd, normal_concordance, and f-score@<distance> for every distance."""
    found = match(first.points, second.points)
    return {
        "dcd": density_aware_chamfer(found, alpha),
        "normal_concordance": normal_concordance(found, first.normals, second.normals),
        **{f"f-score@{distance:g}": f_score(found, distance) for distance in at},
    }
