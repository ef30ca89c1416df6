"""Faces that lie on each other drawn by Cycles, as they are and made separate: run with a folder for the pictures.

Everything is of one white, so that a scene has to look like its clean counterpart. Prints as JSON, by scene, the shares
of pixels that are darker than there, before and after.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector
from PIL import Image

from synthetic.staging.coplanar import separate_coplanar
from synthetic.staging.surface import Part, Surface, merge
from tests.synthetic.staging.test_coplanar import CUBE, MATERIALS, OTHER, QUADS, cut, part, sheet

EYES = ((1.3, -1.6, 1.0), (-1.2, -1.5, 1.4), (3.0, -2.5, 2.0))
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


def scenes() -> dict[str, tuple[list[Part], list[Part]]]:
    """Parts with faces that lie on each other, and the same without."""
    box, table = part(CUBE, cut(QUADS)), part(*sheet(0, 0, 1, 1))
    label = part(*sheet(0.2, 0.3, 0.5, 0.4, 3), OTHER)
    top = replace(label, positions=label.positions + np.array([0, 0, 1.0]))
    return {
        "other winding": ([box, part(CUBE, cut(QUADS)[:, ::-1])], [box]),
        "other diagonal": ([box, part(CUBE, cut(QUADS, 1), OTHER)], [box]),
        "own vertices": ([box, part(CUBE[cut(QUADS)].reshape(-1, 3), np.arange(36).reshape(-1, 3))], [box]),
        "label": ([box, top], [box]),
        "labels": (
            [box, top, part(*sheet(0.3, 0.35, 0.2, 0.2)), replace(top, material=top.material * 0)],
            [box],
        ),
        "crossing sheets": (
            [table, part(*sheet(0.3, -0.4, 0.4, 1.8, 2))],
            [table, part(*sheet(0.3, -0.4, 0.4, 0.4)), part(*sheet(0.3, 1, 0.4, 0.4))],
        ),
    }


def surface_of(parts: list[Part]) -> Surface:
    """Turned, and in single precision, as Blender has it."""
    surface = merge(parts, MATERIALS)
    turned = ((surface.positions - 0.5) / math.sqrt(3)) @ TURN
    return replace(surface, positions=turned.astype(np.float32).astype(np.float64))


def set_up() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 16, False
    scene.cycles.use_adaptive_sampling = False
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.film_transparent = True
    scene.view_settings.view_transform = "Standard"
    scene.world = bpy.data.worlds.new("sky")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.5, 0.5, 0.5, 1)
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.data.angle = 1.6, math.radians(12)
    sun.rotation_euler = Vector((-0.55, -0.6, 0.75)).to_track_quat("Z", "Y").to_euler()
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    for item in (sun, scene.camera):
        scene.collection.objects.link(item)
    return scene


def draw(surface: Surface, folder: Path) -> np.ndarray:
    """[N] the brightness of all pixels inside the outlines, from all sides."""
    scene, mesh = set_up(), bpy.data.meshes.new("model")
    mesh.from_pydata(surface.positions.tolist(), [], surface.triangles.tolist())
    scene.collection.objects.link(bpy.data.objects.new("model", mesh))
    seen = []
    for eye in EYES:
        scene.camera.location = eye
        scene.camera.rotation_euler = (-Vector(eye)).to_track_quat("-Z", "Y").to_euler()
        scene.render.filepath = str(folder / "view.png")
        bpy.ops.render.render(write_still=True)
        with Image.open(folder / "view.png") as picture:
            seen.append(np.asarray(picture.convert("RGBA")).astype(int))
    return np.concatenate([view[..., 1] * (view[..., 3] == 255) for view in seen]).reshape(-1)


def main(folder: Path) -> None:
    found = {}
    for name, (parts, clean) in scenes().items():
        right, surface = draw(surface_of(clean), folder), surface_of(parts)
        pictures = [draw(one, folder) for one in (surface, separate_coplanar(surface, Counter()))]
        inside = (right > 0) & (pictures[0] > 0) & (pictures[1] > 0)
        found[name] = [float((picture < right - 25)[inside].mean()) for picture in pictures]
    (folder / "dark.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
