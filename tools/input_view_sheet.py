"""Draws docs/vq3d-picture.jpg, what the mesh of a photograph looks like: python tools/input_view_sheet.py OUT PHOTO …

A row for each photograph, with the pretrained model: what it sees, its mesh in the model's colours, the same mesh with
the picture on it, and that turned to both sides.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core import ScenePipeline
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.vq3d.scenes.mesh import mesh_of
from gp3d_core.vq3d.scenes.scenefile import Scene

TILE, FINER = 144, 4  # pixels, and how many times as many are drawn
YAWS = (-30.0, -15.0, 15.0, 30.0)


def row(scene: Scene) -> NDArray[Any]:
    """The row [TILE,7·TILE,3] of a scene of one picture."""
    (one,) = scene.inputs
    plain, _ = mesh_of(replace(scene, inputs=()), SceneMeshOptions())
    mesh, _ = mesh_of(scene, SceneMeshOptions())
    photograph = Image.fromarray(one.rgb).resize((TILE, TILE), Image.Resampling.BOX)
    views = [_view(plain, scene, 0.0), *(_view(mesh, scene, yaw) for yaw in (0.0, *YAWS))]
    return np.concatenate([np.asarray(photograph), *views], axis=1)


def _view(mesh: Mesh, scene: Scene, yaw: float) -> NDArray[Any]:
    camera = replace(scene.inputs[0], yaw=yaw).photograph(scene.camera, scene.resolution, scene.pivot).camera
    drawn = Image.fromarray(render_mesh(mesh, camera, FINER * TILE).rgb)
    return np.asarray(drawn.resize((TILE, TILE), Image.Resampling.BOX))


def main() -> None:
    """Draws the sheet."""
    out, *photographs = map(Path, sys.argv[1:])
    pipeline = ScenePipeline.from_pretrained(device="cpu")
    rows = [row(pipeline.reconstruct(path).scene) for path in photographs]
    Image.fromarray(np.concatenate(rows)).save(out, quality=78)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
