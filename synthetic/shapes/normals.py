"""Corner normals: soft across gentle bends, hard across sharp edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CREASE = np.cos(np.deg2rad(50.0))  # faces that meet at a sharper angle keep their own normals


def corner_normals(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Unit normal [F, 3, 3] of every face corner.

    It is the area-weighted mean over the faces around that vertex whose own normal is within 50 degrees of the face's.
    """
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    weighted = np.cross(b - a, c - a)
    unit = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-20)
    corner_vertex = faces.ravel()
    order = np.argsort(corner_vertex, kind="stable")
    counts = np.bincount(corner_vertex, minlength=len(vertices))
    starts = np.cumsum(counts) - counts
    fans = counts[corner_vertex[order]]  # for each sorted corner: how many faces stand around its vertex
    mine = np.repeat(order, fans)
    slot = np.arange(len(mine)) - np.repeat(np.cumsum(fans) - fans, fans)
    theirs = order[np.repeat(starts[corner_vertex[order]], fans) + slot] // 3
    near = np.einsum("ij,ij->i", unit[mine // 3], unit[theirs]) >= CREASE
    share = weighted[theirs] * near[:, None]
    total = np.stack([np.bincount(mine, share[:, axis], len(corner_vertex)) for axis in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    smooth = np.where(length > 1e-15, total / np.maximum(length, 1e-15), np.repeat(unit, 3, axis=0))
    return smooth.reshape(-1, 3, 3)
