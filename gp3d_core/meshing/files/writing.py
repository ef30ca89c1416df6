"""Meshes to files, by the suffix of their names, and the recipe that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gp3d_core.atomic import transaction, write_json
from gp3d_core.meshing.files.glb import write_glb
from gp3d_core.meshing.files.npz import write_npz
from gp3d_core.meshing.files.obj import write_obj
from gp3d_core.meshing.files.ply import write_ply
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.options import VERSION

_WRITERS = {".obj": write_obj, ".glb": write_glb, ".ply": write_ply, ".npz": write_npz}


def save_mesh(mesh: Mesh, path: str | Path, recipe: Mapping[str, Any] | None = None) -> list[Path]:
    """Writes `mesh` in the format that the suffix of `path` names and returns the files written, `path` first.

    .obj: with `<stem>.mtl` and `<stem>.png`. Without a texture, vertex colours stand behind the coordinates
    and the material has their average, so that importers that ignore them show no grey (trimesh needs
    skip_materials=True to read them). .glb: one file, texture or else vertex colours. .ply: vertex colours,
    read off the texture if there are none. .npz: all arrays as they are. `recipe` (what made the mesh, JSON
    values) goes into the OBJ header, the GLB scene extras and the npz. Missing folders are made. Files appear
    together, or none of them. Raises MeshError for another suffix, OSError if the folder cannot be written.
    """
    path = Path(path)
    _writer(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with transaction(path.parent) as files:
        written = write_mesh(mesh, files.path / path.name, recipe or {})
        files.publish()
    return [path.with_name(part.name) for part in written]


def write_mesh(mesh: Mesh, path: Path, recipe: Mapping[str, Any]) -> list[Path]:
    """As `save_mesh`, into a folder that is there, and file by file: for what is to appear with other files."""
    return _writer(path)(mesh, path, dict(recipe))


def _writer(path: Path) -> Callable[[Mesh, Path, dict[str, Any]], list[Path]]:
    if path.suffix.lower() not in _WRITERS:
        raise MeshError(f"{path}: expected a name ending in {', '.join(_WRITERS)}, found '{path.suffix}'")
    return _WRITERS[path.suffix.lower()]


def save_recipe(recipe: Mapping[str, Any], path: str | Path) -> Path:
    """Writes `recipe`, what made the meshes beside it, as JSON to `path` and returns the path.

    `recipe` holds JSON values only; "format" and "version" are added. Raises TypeError for other values.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": "gp3d-recipe", "version": VERSION, **recipe})
    return path
