"""The opaque surface of a model file in the world frame, read and measured without Blender.

Reads OBJ files by itself, so that an error of Blender's importer would show, and GLB and PLY through trimesh.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d
import trimesh

from synthetic.library.shapenet import UNIT_BALL, Placement

Array = npt.NDArray[np.float64]
_OPAQUE = 0.999


class SurfaceError(ValueError):
    """A model whose surface cannot be read without Blender; the message is the reason."""


class Surface:
    """Triangles that rays can be cast at."""

    def __init__(self, vertices: Array, triangles: npt.NDArray[np.int64]) -> None:
        """`vertices` [V,3] in the world frame, `triangles` [F,3]."""
        self.vertices, self.triangles = vertices, triangles
        self._scene = open3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(vertices.astype(np.float32), triangles.astype(np.uint32))

    def cast(self, origin: Array, directions: Array) -> tuple[Array, Array]:
        """Where rays hit, in multiples of `directions` [...,3] (inf: nowhere), and the unit normals there [...,3]."""
        rays = np.concatenate([np.broadcast_to(origin, directions.shape), directions], axis=-1)
        found = self._scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)))
        return found["t_hit"].numpy().astype(np.float64), found["primitive_normals"].numpy().astype(
            np.float64
        )

    def first_hits(self, rays: npt.NDArray[Any]) -> Array:
        """Where rays [N,6] (origin, direction) hit, in multiples of their directions (inf: nowhere)."""
        hits = self._scene.cast_rays(open3d.core.Tensor(rays.astype(np.float32)), nthreads=1)["t_hit"]
        return np.asarray(hits.numpy(), dtype=np.float64)

    def blocked(self, rays: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Whether rays [N,6] (origin, direction) hit anything."""
        query = open3d.core.Tensor(rays.astype(np.float32))
        return np.asarray(self._scene.test_occlusions(query, nthreads=1).numpy())

    def distance(self, points: npt.NDArray[Any]) -> Array:
        """How far points [N,3] are from the surface."""
        query = open3d.core.Tensor(points.astype(np.float32))
        return np.asarray(self._scene.compute_distance(query, nthreads=1).numpy(), dtype=np.float64)


def read_surface(path: Path, to_world: Array) -> Surface:
    """The opaque part of a mesh file, moved by the [4,4] matrix `to_world`. Raises SurfaceError."""
    vertices, triangles = _read(path)
    return _move(vertices, triangles, to_world)


def place_surface(path: Path, placement: Placement) -> Surface:
    """The same, moved to the world frame by what its library says of it. Raises SurfaceError."""
    vertices, triangles = _read(path)
    to_world = np.eye(4)
    to_world[:3, :3] = placement.rotation()
    if placement.normalise:
        to_world = to_world @ _normalise(vertices)
    surface = _move(vertices, triangles, to_world)
    farthest = float(np.linalg.norm(surface.vertices[triangles], axis=-1).max())
    if not farthest <= UNIT_BALL:
        raise SurfaceError(
            f"a vertex lies {farthest:.3g} from the origin, expected at most {UNIT_BALL:g}: "
            "normalise the model to a box of diagonal 1"
        )
    return surface


def _read(path: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    try:
        vertices, triangles = _read_obj(path) if path.suffix.lower() == ".obj" else _read_other(path)
    except SurfaceError:
        raise
    except (ValueError, KeyError, IndexError) as error:
        raise SurfaceError(f"cannot be read ({error})") from None
    if not len(triangles):
        raise SurfaceError("has no opaque faces")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise SurfaceError(f"has a face with a corner that is none of its {len(vertices)} vertices")
    return vertices, triangles


def _move(vertices: Array, triangles: npt.NDArray[np.int64], to_world: Array) -> Surface:
    return Surface(vertices @ to_world[:3, :3].T + to_world[:3, 3], triangles)


def _normalise(vertices: Array) -> Array:
    """[4,4] that centres the box around vertices [V,3] and scales its diagonal to 1."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if not (np.isfinite(diagonal) and diagonal > 0):
        raise SurfaceError(f"the box around it has a diagonal of {diagonal}")
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([np.eye(3), -(low + high) / 2]) / diagonal
    return matrix


def _read_obj(path: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    transparent = _transparent_materials(path.parent / _material_file(path))
    vertices: list[list[float]] = []
    triangles: list[list[int]] = []
    visible = True
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ["usemtl"]:
            visible = " ".join(words[1:]) not in transparent
        elif words[:1] == ["f"] and visible:
            numbers = [int(word.partition("/")[0]) for word in words[1:]]
            corners = [number - 1 if number > 0 else len(vertices) + number for number in numbers]
            if len(corners) > 4:
                raise SurfaceError(
                    "has faces of more than four corners, which may be cut into triangles in many ways"
                )
            triangles += [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
    return np.array(vertices, dtype=np.float64).reshape(-1, 3), np.array(triangles, dtype=np.int64).reshape(
        -1, 3
    )


def _material_file(path: Path) -> str:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("mtllib "):
            return line[7:].strip()
    return path.with_suffix(".mtl").name


def _transparent_materials(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    found, name = set(), ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[:1] == ["newmtl"]:
            name = " ".join(words[1:])
        elif len(words) > 1 and _opacity(words[0], words[1]) < _OPAQUE:
            found.add(name)
    return found


def _opacity(keyword: str, value: str) -> float:
    if keyword in ("d", "Tr"):
        return float(value) if keyword == "d" else 1 - float(value)
    return 0.0 if keyword == "map_d" else 1.0


def _read_other(path: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    mesh = trimesh.load(path, force="mesh", process=False)
    if not isinstance(mesh, trimesh.Trimesh):
        raise SurfaceError("holds no triangles")
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
