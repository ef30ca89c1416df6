"""The opaque surface of a model file in the world frame, read and asked without Blender.

Reads OBJ files by itself, so that an error of Blender's importer would show, and GLB and PLY through trimesh.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import open3d
import trimesh

Array = npt.NDArray[np.float64]
_OPAQUE = 0.999


class SurfaceError(ValueError):
    """A model whose surface cannot be told without Blender; the message is the reason."""


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

    def distance(self, points: Array) -> Array:
        """How far points [N,3] are from the surface."""
        query = open3d.core.Tensor(points.astype(np.float32))
        return np.asarray(self._scene.compute_distance(query).numpy(), dtype=np.float64)


def read_surface(path: Path, to_world: Array) -> Surface:
    """The opaque part of a mesh file, moved by the [4,4] matrix `to_world`. Raises SurfaceError."""
    vertices, triangles = _read_obj(path) if path.suffix.lower() == ".obj" else _read_other(path)
    if not len(triangles):
        raise SurfaceError("has no opaque faces")
    return Surface(vertices @ to_world[:3, :3].T + to_world[:3, 3], triangles)


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
    try:
        mesh = trimesh.load(path, force="mesh", process=False)
    except (ValueError, KeyError, IndexError) as error:
        raise SurfaceError(f"cannot be read ({error})") from None
    return np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
