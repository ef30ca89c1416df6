"""The mesh bundle: every array of a mesh as it is, and the recipe. The add-on reads it (docs/serve.md)."""

from __future__ import annotations

import json
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.meshing.options import VERSION

FORMAT = "gp3d-mesh"
_MOST_BYTES = 4 * 2**30  # unpacked; a mesh of 10 million faces with all its arrays has 1.2 GiB


def write_npz(mesh: Mesh, path: Path, recipe: dict[str, Any]) -> list[Path]:
    """Writes the arrays of `mesh` and its recipe to `path`; the file written."""
    arrays = {f.name: getattr(mesh, f.name) for f in fields(mesh) if getattr(mesh, f.name) is not None}
    with path.open("wb") as file:  # of a name alone numpy would make another one
        np.savez_compressed(file, format=FORMAT, version=VERSION, recipe=json.dumps(recipe), **arrays)
    return [path]


def load_npz(path: Path) -> Mesh:
    """The mesh of an npz file. Raises MeshError if it is of another kind or version, or gigantic."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > _MOST_BYTES:
        raise MeshError(f"it unpacks to {size / 2**30:.1f} GiB, more than {_MOST_BYTES >> 30}")
    with np.load(path, allow_pickle=False) as data:
        arrays = {name: data[name] for name in data.files}
    if str(arrays.get("format")) != FORMAT or not {"vertices", "faces"} <= set(arrays):
        raise MeshError(f"not a {FORMAT} file")
    if int(arrays["version"]) != VERSION:
        raise MeshError(f"expected {FORMAT} version {VERSION}, found {int(arrays['version'])}")
    return Mesh(**{f.name: arrays[f.name] for f in fields(Mesh) if f.name in arrays})
