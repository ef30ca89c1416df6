"""A mushroom: made by `gp3d mesh`, imported, lit and rendered in Blender."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import bpy


def make(out: Path) -> Path:
    """The GLB file of a mushroom, made in a process of its own."""
    options = [
        "--class",
        "mushroom",
        "--seeds",
        "3",
        "--grid",
        "96",
        "--format",
        "glb",
        "--texture-size",
        "256",
    ]
    command = [sys.executable, "-m", "gp3d_core.cli", "mesh", *options, "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return out / "mushroom-0003.glb"


def draw(model: Path, out: Path) -> None:
    """Imports `model` into an empty scene, lights and renders it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(model))
    mushroom = bpy.context.selected_objects[0]
    print(
        mushroom.name,
        len(mushroom.data.polygons),
        "faces,",
        tuple(round(side, 2) for side in mushroom.dimensions),
    )

    scene = bpy.context.scene
    bpy.ops.object.light_add(type="SUN", rotation=(0.7, 0.2, -0.5))
    bpy.context.object.data.energy = 3.0
    bpy.ops.object.camera_add(location=(0, -2.2, 0.9), rotation=(math.radians(68), 0, 0))
    scene.camera = bpy.context.object
    scene.world = bpy.data.worlds.new("sky")
    scene.world.color = (0.4, 0.4, 0.4)

    scene.render.engine, scene.cycles.samples = "CYCLES", 8
    scene.render.resolution_x = scene.render.resolution_y = 128
    scene.render.filepath = str(out / "mushroom.png")
    bpy.ops.render.render(write_still=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "mushroom.blend"))


if __name__ == "__main__":
    try:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/examples").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        draw(make(folder), folder)
    except KeyboardInterrupt:
        sys.exit("stopped")
    sys.stdout.flush()
    os._exit(0)  # Blender as a module crashes when the interpreter takes it apart
