"""Polygons that are not convex, cut into triangles: trimesh 5.2.0 joins every corner to the first, which covers the
outside of such a polygon, too, and parts of it several times (findings/trimesh_cuts_all_polygons_from_one_corner.sh).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import MeshError

_OTHER_DIAGONAL = np.array([[1, 2, 3], [1, 3, 0]])  # of a quad
_MOST_WORK = 4e9  # squared corners, which the time of cutting grows with at worst: some ten seconds


def cut_up(positions: NDArray[np.float64], polygons: Sequence[Sequence[int]]) -> dict[int, NDArray[np.int64]]:
    """By number of a polygon [T,3] its corners, counted from 0, that triangles join; only of those which triangles
    around their first corner do not cover.

    `positions` are [V,3], of `polygons` each names at least three of them. Polygons without area, or with more than
    four corners that cross themselves so that nothing is inside, are not cut. Raises MeshError where that would take
    for ever.
    """
    sizes, work = np.array([len(polygon) for polygon in polygons], np.int64), 0.0
    found: dict[int, NDArray[np.int64]] = {}
    for size in np.unique(sizes[sizes > 3]).tolist():
        those = np.flatnonzero(sizes == size)
        corners = positions[np.array([polygons[number] for number in those.tolist()])]
        with np.errstate(over="ignore", invalid="ignore"):  # a Mesh refuses what is not finite
            arms = corners[:, 1:] - corners[:, :1]
            areas = np.cross(arms[:, :-1], arms[:, 1:])
            if (
                size == 4
            ):  # one diagonal of a plane quad lies inside; one that is bent or crosses itself keeps two triangles
                folded = np.einsum("nc,nc->n", areas[:, 0], areas[:, 1]) < 0
                found |= dict.fromkeys(those[folded].tolist(), _OTHER_DIAGONAL)
                continue
            normals = areas.sum(axis=1)
            lengths = np.linalg.norm(normals, axis=1)
            against = np.einsum("nkc,nc->nk", areas, normals).min(axis=1) < -1e-9 * lengths**2
        against &= np.isfinite(lengths)
        work += int(against.sum()) * size**2
        if work > _MOST_WORK:
            raise MeshError(f"it has faces of {size} corners that are too intricate to be cut into triangles")
        for row in np.flatnonzero(against).tolist():
            triangles = _ears(arms[row], normals[row] / lengths[row])
            if len(triangles):
                found[int(those[row])] = triangles
    return found


def _ears(arms: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.int64]:
    """The triangles [T,3], wound as the polygon is, whose first corner the others stand off by `arms` [K-1,3]."""
    import mapbox_earcut  # few files need it

    right = np.cross(np.eye(3)[np.abs(normal).argmin()], normal)
    flat = np.pad(arms @ np.stack([right, np.cross(normal, right)], axis=1), ((1, 0), (0, 0)))
    triangles = mapbox_earcut.triangulate_float64(flat, np.array([len(flat)], np.uint32))
    corners: NDArray[np.int64] = triangles.reshape(-1, 3).astype(np.int64)
    (ax, ay), (bx, by) = (flat[corners[:, k]].T - flat[corners[:, 0]].T for k in (1, 2))
    return np.where((ax * by < ay * bx)[:, None], corners[:, ::-1], corners)
