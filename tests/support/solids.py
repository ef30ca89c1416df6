"""Closed solids whose volumes, hulls and distances have closed forms, by trimesh, and what can be made of them here."""

from __future__ import annotations

from typing import Any

import numpy as np
import trimesh

from gp3d_core.meshing.files.formats import LibraryError, check_libraries
from gp3d_core.meshing.mesh import Mesh


def has(option: str) -> bool:
    """Whether the library of an option of meshes is installed."""
    try:
        check_libraries([option])
    except LibraryError:
        return False
    return True


def mesh_of(body: Any) -> Mesh:
    """A mesh of a trimesh object."""
    return Mesh(np.asarray(body.vertices, np.float32), np.asarray(body.faces, np.int32))


def box(*sides: float) -> Mesh:
    """A box around the origin with these sides."""
    return mesh_of(trimesh.creation.box(sides))


def ball(radius: float = 0.5, fine: int = 4) -> Mesh:
    """A ball around the origin, 20 · 4^fine faces."""
    return mesh_of(trimesh.creation.icosphere(fine, radius))


def torus(major: float = 0.5, minor: float = 0.2) -> Mesh:
    """A torus around z, 8192 faces."""
    return mesh_of(trimesh.creation.torus(major, minor, major_sections=64, minor_sections=64))


def corner() -> Mesh:
    """An L of three unit cubes, extruded along z: volume 3, and 3.5 of its convex hull; about 6000 faces."""
    outline = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], np.float64)
    around = np.arange(6)
    lower, upper = np.insert(outline, 2, 0, axis=1), np.insert(outline, 2, 1, axis=1)
    cap = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]])
    after = np.roll(around, -1)
    sides = np.concatenate(
        [np.stack([around, after, after + 6], 1), np.stack([around, after + 6, around + 6], 1)]
    )
    body = trimesh.Trimesh(
        np.concatenate([lower, upper]), np.concatenate([cap[:, ::-1], cap + 6, sides]), process=False
    )
    for _ in range(4):
        body = body.subdivide()
    return mesh_of(body)
