"""The files of an asset besides its mesh: levels of detail, collision hull, and all of them in one GLB.

For an object NAME, in the formats of its mesh: `NAME_LOD1`, `NAME_LOD2` … hold the coarser levels, `NAME_collision` the
hull (OBJ, GLB and npz; a GLB where none of these is asked for), and `NAME_asset.glb`, where a GLB is, holds everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gp3d_core.assets.finishing import Asset
from gp3d_core.meshing.files.description import asset_name
from gp3d_core.meshing.files.glb.scenes import write_glb_parts
from gp3d_core.meshing.files.obj import write_obj_parts
from gp3d_core.meshing.files.writing import write_mesh
from gp3d_core.meshing.mesh import Mesh

_HULL_FORMATS = ("obj", "glb", "npz")


def write_parts(
    asset: Asset, folder: Path, stem: str, formats: Sequence[str], recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes what belongs to the mesh `stem` in `folder` besides it; the names of the files, by what they are.

    "lods" has a mapping from format to name for each level from 1 on, "collision" one for the hull, "asset" the name of
    the GLB with everything; what there is not has no key.
    """
    names: dict[str, Any] = {}
    if asset.lods:
        names["lods"] = []
        for number, level in enumerate(asset.lods, 1):
            names["lods"].append({suffix: f"{stem}_LOD{number}.{suffix}" for suffix in formats})
            for name in names["lods"][-1].values():
                write_mesh(level, folder / name, {**recipe, "lod": number})
    if asset.hull:
        suffixes = [suffix for suffix in formats if suffix in _HULL_FORMATS] or ["glb"]
        names["collision"] = {suffix: f"{stem}_collision.{suffix}" for suffix in suffixes}
        for name in names["collision"].values():
            _write_hull(_hull_parts(asset, stem), folder / name, recipe)
    if names and "glb" in formats:
        names["asset"] = f"{stem}_asset.glb"
        write_glb_parts(_everything(asset, stem), folder / names["asset"], dict(recipe))
    return names


def _everything(asset: Asset, stem: str) -> dict[str, Mesh]:
    """All meshes of the asset by the names that engines know.

    Levels are siblings called NAME_LOD0, NAME_LOD1 …, which importers group by these names. The extension MSFT_lod,
    which few readers know, takes levels out of the scene: readers that do not know it would lose them.
    """
    name = asset_name(stem)
    levels = {f"{name}_LOD{number}": level for number, level in enumerate([asset.mesh, *asset.lods])}
    return (levels if asset.lods else {name: asset.mesh}) | _hull_parts(asset, stem)


def _hull_parts(asset: Asset, stem: str) -> dict[str, Mesh]:
    """The convex parts by the names that Unreal Engine takes for collision: UCX_, the mesh's name, a number."""
    base = f"{asset_name(stem)}_LOD0" if asset.lods else asset_name(stem)
    return {f"UCX_{base}_{number:02d}": part for number, part in enumerate(asset.hull)}


def _write_hull(parts: Mapping[str, Mesh], path: Path, recipe: Mapping[str, Any]) -> None:
    if path.suffix == ".glb":
        write_glb_parts(parts, path, dict(recipe))
    elif path.suffix == ".obj":
        write_obj_parts(parts, path, dict(recipe))
    else:
        write_mesh(_joined(list(parts.values())), path, recipe)


def _joined(parts: Sequence[Mesh]) -> Mesh:
    """All parts as one mesh, whose components they are."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = [part.faces + start for part, start in zip(parts, starts, strict=True)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces).astype(np.int32))
