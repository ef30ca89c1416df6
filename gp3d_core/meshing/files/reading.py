"""Meshes from files, by the suffix of their names."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gp3d_core.hashing import DAMAGE
from gp3d_core.meshing.files.glb.scenes import load_glb
from gp3d_core.meshing.files.npz import load_npz
from gp3d_core.meshing.files.obj import load_obj
from gp3d_core.meshing.files.ply import load_ply
from gp3d_core.meshing.mesh import Mesh, MeshError

_LONGEST_REASON = 200  # characters


def load_mesh(path: str | Path) -> Mesh:
    """Reads an .obj (with its material and texture), .glb, .ply or .npz file; several parts become one mesh.

    Raises MeshError if the file is missing, truncated, of another kind, or names a material or texture that
    is missing.
    """
    path = Path(path)
    loaders = {".obj": load_obj, ".glb": load_glb, ".ply": load_ply, ".npz": load_npz}
    if path.suffix.lower() not in loaders:
        endings = ", ".join(loaders)
        raise MeshError(
            f"{path}: expected a name ending in {endings}, found '{path.suffix}'; Blender saves most others as .glb"
        )
    if not path.is_file():
        raise MeshError(f"{path}: no such file")
    try:
        return loaders[path.suffix.lower()](path)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from None
    except (*DAMAGE, Image.DecompressionBombError) as error:
        said = " ".join(str(error).split())[:_LONGEST_REASON]
        reason = f"{type(error).__name__}{': ' * bool(said)}{said}"
        raise MeshError(f"{path}: not a readable {path.suffix} file ({reason})") from None
