"""Scenarios in Blender with the real `gp3d serve`: a photograph is what the camera of its relief sees.

Run by blender_child.py.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np


def coordinates(obj) -> np.ndarray:
    values = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", values)
    return values


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """A picture without sharp edges or symmetry, [height,width,channels] from 0 to 1."""
    coarse = np.random.default_rng(3).random((5, 6, channels))
    for axis, size in ((0, height), (1, width)):
        place = np.linspace(0, coarse.shape[axis] - 1.001, size)
        low, share = place.astype(int), place % 1
        share = share.reshape([-1 if k == axis else 1 for k in range(3)])
        coarse = np.take(coarse, low, axis) * (1 - share) + np.take(coarse, low + 1, axis) * share
    return coarse


def rendered(scene, path: Path) -> np.ndarray:
    """What Cycles sees, [height,width,3] from 0 to 1, top row first."""
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 8
    scene.cycles.use_denoising = False
    scene.render.image_settings.file_format, scene.render.filepath = "PNG", str(path)
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    width, height = image.size
    return pixels.reshape(height, width, 4)[::-1, :, :3]


def scenario_real_engine_lifts_a_photograph_that_its_camera_sees_as_it_was(tools):
    tools.use_real()
    for name, height, width in (("wide", 60, 80), ("high", 80, 60)):
        bpy.ops.wm.read_homefile(use_empty=True)
        photograph, depth = smooth(height, width, 3), np.full((height, width), 3.0)
        depth[height // 3 : 2 * height // 3, width // 4 : width // 2] = 1.0
        path = tools.folder / f"{name}.png"
        image = bpy.data.images.new(name, width, height)
        pixels = np.concatenate([photograph[::-1], np.ones((height, width, 1))], axis=2)
        image.pixels.foreach_set(pixels.astype(np.float32).reshape(-1))
        image.filepath_raw, image.file_format = str(path), "PNG"
        image.save()
        np.save(tools.folder / f"{name}.npy", depth)
        files = {"picture": str(path), "depth": str(tools.folder / f"{name}.npy")}
        assert bpy.ops.gp3d.picture(**files, method="RELIEF", size=2.0) == {"FINISHED"}
        obj = bpy.context.active_object
        assert abs(max(obj.dimensions) - 2) > 0.01  # with what is filled in around it
        obj.location, obj.rotation_euler = (3, -2, 1), (0.2, 0.1, 0.7)  # the camera comes along
        assert bpy.ops.gp3d.look_through() == {"FINISHED"}
        seen = rendered(bpy.context.scene, tools.folder / f"{name}-seen.png")
        assert seen.shape == (height, width, 3)
        assert np.abs(seen - photograph).mean() < 1.5 / 255, np.abs(seen - photograph).mean() * 255
        before = coordinates(obj)
        assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
        np.testing.assert_array_equal(coordinates(obj), before)
