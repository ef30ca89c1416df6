"""Meshes to files, by the suffix of their names, and the recipe that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gp3d_core.atomic import transaction, write_json
from gp3d_core.meshing.files.description import license_of
from gp3d_core.meshing.files.glb.scenes import write_glb
from gp3d_core.meshing.files.npz import write_npz
from gp3d_core.meshing.files.obj import write_obj
from gp3d_core.meshing.files.ply import write_ply
from gp3d_core.meshing.files.printing import write_3mf, write_stl
from gp3d_core.meshing.files.usdz import write_usdz
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.options import VERSION
from gp3d_core.strict_json import finite

_WRITERS = {
    ".obj": write_obj,
    ".glb": write_glb,
    ".ply": write_ply,
    ".npz": write_npz,
    ".stl": write_stl,
    ".3mf": write_3mf,
    ".usdz": write_usdz,
}


def save_mesh(mesh: Mesh, path: str | Path, recipe: Mapping[str, Any] | None = None) -> list[Path]:
    """Writes `mesh` in the format that the suffix of `path` names and returns the files written, `path` first.

    .obj: with `<stem>.mtl` and `<stem>.png`. Without a texture, vertex colours stand behind the coordinates
    and the material has their average, so that importers that ignore them show no grey (trimesh needs
    skip_materials=True to read them). .glb: one file, texture or else vertex colours. .ply: vertex colours,
    read off the texture if there are none. .npz: all arrays as they are. .stl and .3mf: a closed solid in
    millimetres, z up. .usdz: as .glb, for Apple's viewers. `recipe` (what made the mesh, JSON values) goes into
    all of them but PLY and STL; what it says of files is listed in `files.description`. Missing folders are made.
    Files appear together, or none of them. Raises MeshError for another suffix, or for a surface that is not
    closed and is to be printed, LibraryError without the library that a format needs, OSError if the folder
    cannot be written.
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
    try:
        return _writer(path)(mesh, path, {**finite(recipe), "license": license_of(recipe)})
    except OSError as error:
        error.filename = error.filename or str(
            path
        )  # a full disk is found out by a write, which knows no name
        raise


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
