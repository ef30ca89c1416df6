"""Meshes to files, by the suffix of their names, and the recipe that made them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json
from gp3d_core.meshing.files.glb import save_glb
from gp3d_core.meshing.files.npz import save_npz
from gp3d_core.meshing.files.obj import save_obj
from gp3d_core.meshing.files.ply import save_ply
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.options import VERSION


def save_mesh(mesh: Mesh, path: str | Path, recipe: Mapping[str, Any] | None = None) -> list[Path]:
    """Writes `mesh` in the format that the suffix of `path` names and returns the files written, `path` first.

    .obj: with `<stem>.mtl` and `<stem>.png`. Without a texture, vertex colours stand behind the coordinates
    and the material has their average, so that importers that ignore them show no grey (trimesh needs
    skip_materials=True to read them). .glb: one file, texture or else vertex colours. .ply: vertex colours,
    read off the texture if there are none. .npz: all arrays as they are. `recipe` (what made the mesh, JSON
    values) goes into the OBJ header, the GLB scene extras and the npz. Missing folders are made. Files appear
    whole or not at all. Raises MeshError for another suffix, OSError if the folder cannot be written.
    """
    path = Path(path)
    writers = {".obj": save_obj, ".glb": save_glb, ".ply": save_ply, ".npz": save_npz}
    if path.suffix.lower() not in writers:
        raise MeshError(f"{path}: expected a name ending in {', '.join(writers)}, found '{path.suffix}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    return writers[path.suffix.lower()](mesh, path, dict(recipe or {}))


def save_recipe(recipe: Mapping[str, Any], path: str | Path) -> Path:
    """Writes `recipe`, what made the meshes beside it, as JSON to `path` and returns the path.

    `recipe` holds JSON values only; "format" and "version" are added. Raises TypeError for other values.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": "gp3d-recipe", "version": VERSION, **recipe})
    return path
