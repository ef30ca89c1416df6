"""Reliefs as files: GLB with the camera that took the photograph, and films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from gp3d_core.atomic import check_writable, replacing
from gp3d_core.errors import GP3DError
from gp3d_core.generation.outputs import check_film
from gp3d_core.lifting.relief import Relief
from gp3d_core.meshing.files.description import asset_name
from gp3d_core.meshing.files.glb.scenes import Viewpoint, write_glb_parts
from gp3d_core.meshing.files.writing import save_recipe, write_mesh

FILLED = "filled"  # what the part behind the photograph, and around it, is called after the name of the file

_QUICK = 1  # zlib's level: photographs hardly become smaller by more


def check_outputs(out: Path, film: Path | None, inputs: list[Path]) -> None:
    """Raises GP3DError unless a relief can be written to `out`, and a film of it to `film`, and neither is read."""
    if out.suffix.lower() != ".glb" or out.is_dir():
        raise GP3DError(f"`out` expects a name in .glb, which keeps textures and camera, found {out}")
    check_writable(out.parent)
    if film is not None:
        check_film(film)
    read = {path.resolve() for path in inputs}
    for path in (out, film):
        if path is not None and path.resolve() in read:
            raise GP3DError(f"the result would replace {path}, which is an input; give another name")


def save_relief(relief: Relief, path: Path, recipe: Mapping[str, Any]) -> None:
    """Writes `relief` to `path` as GLB: its parts, unlit as light is in the photograph, and its camera.

    `recipe`, JSON values, goes into the extras of the scene.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        _write_glb(relief, temporary, path.stem, recipe)


def write_relief(
    relief: Relief, folder: Path, stem: str, formats: Sequence[str], recipe: Mapping[str, Any]
) -> None:
    """Writes `relief` into a folder that is there, under the names of `relief_files`, and its recipe beside it.

    npz: both parts as bundles of their own (docs/serve.md), the photograph as a picture and not as an array.
    """
    names = relief_files(relief, stem, formats)
    if "glb" in formats:
        _write_glb(relief, folder / names["glb"], stem, recipe)
    if "npz" in formats:
        write_mesh(replace(relief.seen, texture=None), folder / names["npz"], recipe)
        if relief.filled is not None:
            write_mesh(relief.filled, folder / names["filled"], recipe)
        if relief.seen.texture is not None:
            photograph = Image.fromarray(relief.seen.texture)
            photograph.save(folder / names["texture"], format="PNG", compress_level=_QUICK)
    save_recipe(recipe, folder / names["recipe"])


def relief_files(relief: Relief, stem: str, formats: Sequence[str]) -> dict[str, str]:
    """Names of the files of a relief in these `formats`, npz and glb: of these, filled, texture and recipe."""
    names = {kind: f"{stem}.{kind}" for kind in formats}
    if "npz" in formats:
        names["texture"] = f"{stem}.texture.png"
        if relief.filled is not None:
            names["filled"] = f"{stem}_{FILLED}.npz"
    return names | {"recipe": f"{stem}.recipe.json"}


def _write_glb(relief: Relief, path: Path, stem: str, recipe: Mapping[str, Any]) -> None:
    """Writes to `path` a GLB whose objects are called after `stem`."""
    name = asset_name(stem)
    parts = {name: relief.seen}
    if relief.filled is not None:
        parts[f"{name}_{FILLED}"] = relief.filled
    width, height = relief.size
    camera = Viewpoint(relief.distance, relief.fov, width / height)
    write_glb_parts(parts, path, dict(recipe), unlit=True, camera=camera)
