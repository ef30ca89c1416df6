"""Reliefs as files: GLB with the camera that took the photograph, and films."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gp3d_core.atomic import check_writable, replacing
from gp3d_core.errors import GP3DError
from gp3d_core.generation.outputs import check_film
from gp3d_core.lifting.relief import Relief
from gp3d_core.meshing.files.description import asset_name
from gp3d_core.meshing.files.glb import Viewpoint, write_glb_parts

FILLED = "filled"  # what the part behind the photograph, and around it, is called after the name of the file


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
    name = asset_name(path.stem)
    parts = {name: relief.seen}
    if relief.filled is not None:
        parts[f"{name}_{FILLED}"] = relief.filled
    width, height = relief.size
    camera = Viewpoint(relief.distance, relief.fov, width / height)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        write_glb_parts(parts, temporary, dict(recipe), unlit=True, camera=camera)
