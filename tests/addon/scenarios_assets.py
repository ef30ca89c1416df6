"""Scenarios in Blender with the real `gp3d serve`: exports, levels of detail, hulls, quads, real sizes.

Run by blender_child.py, never imported by pytest.
"""

from __future__ import annotations

import json

import bpy
import numpy as np


def scenario_real_engine_exports_what_it_offers(tools):
    tools.use_real()
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=3) == {"FINISHED"}
    formats = [name for name, *_ in tools.part("ui.file_operators").offered(None, bpy.context)]
    assert {"glb", "obj", "ply", "stl"} <= set(formats)
    folder = tools.folder / "exported"
    for kind in formats:
        assert bpy.ops.gp3d.export(filepath=str(folder / f"shroom.{kind}"), print_height=60.0) == {"FINISHED"}
        assert (folder / f"shroom.{kind}").stat().st_size > 1000
    assert {"shroom.mtl", "shroom.png"} <= {path.name for path in folder.iterdir()}
    assert len(bpy.data.objects) == 1
    bpy.ops.wm.stl_import(filepath=str(folder / "shroom.stl"))
    assert abs(bpy.context.active_object.dimensions.z - 60) < 0.1  # millimetres as Blender's units, upright
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(folder / "shroom.glb"))
    (obj,) = (obj for obj in bpy.data.objects if obj.type == "MESH")
    assert obj.data.materials


def scenario_real_engine_makes_levels_a_hull_and_a_real_size(tools):
    tools.use_real()
    settings = bpy.context.scene.gp3d
    settings.lods, settings.collision, settings.real_size = 3, 4, True
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=3, color="vertex") == {"FINISHED"}
    obj = bpy.context.active_object
    parts = tools.part("objects.parts").parts_of(obj)
    hull = [part for part in parts if part.name.startswith(f"UCX_{obj.name}_")]
    levels = [part for part in parts if "_LOD" in part.name and part not in hull]
    assert (obj.name, len(levels)) == ("gp3d_coffee_mug_3_LOD0", 2)
    assert 1 <= len(hull) <= 4
    faces = [len(part.data.polygons) for part in (obj, *levels)]
    assert faces[0] > faces[1] > faces[2]
    assert 0.05 < max(obj.dimensions) < 0.2  # metres
    low, high = (np.array([*map(edge, zip(*obj.bound_box, strict=True))]) for edge in (min, max))
    for part in (*levels, *hull):  # all in one frame
        corners = np.array(part.bound_box)
        assert (corners >= low - 0.1 * (high - low)).all()
        assert (corners <= high + 0.1 * (high - low)).all()


def scenario_real_engine_makes_checked_quads_or_says_why_not(tools):
    tools.use_real()
    bpy.context.scene.gp3d.quads = 1000
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=3, color="vertex") == {"FINISHED"}
    corners = [len(polygon.vertices) for polygon in bpy.context.active_object.data.polygons]
    if "quads_failed" in json.loads(bpy.context.active_object["gp3d"])["recipe"]:
        assert set(corners) == {3}
        assert "the triangles stay" in tools.state().notice
    else:
        assert set(corners) == {4}
        assert 800 <= len(corners) <= 1200
