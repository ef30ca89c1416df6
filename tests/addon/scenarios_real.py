"""Scenarios in Blender with the real `gp3d serve` and an untrained micro model. Run by blender_child.py."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def coordinates(obj) -> np.ndarray:
    values = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", values)
    return values


def scenario_real_engine_makes_the_same_textured_mesh_twice(tools):
    tools.use_real()
    began = time.monotonic()
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=3) == {"FINISHED"}
    first = time.monotonic() - began
    obj = bpy.context.active_object
    assert len(obj.data.polygons) > 100
    assert obj.data.uv_layers
    assert obj.data.materials[0].node_tree.nodes["Image Texture"].image.size[0] == 256
    assert abs(max(obj.dimensions) - 1) < 1e-4
    recipe, before = json.loads(obj["gp3d"]), coordinates(obj)
    assert recipe["recipe"]["class"]["name"] == "coffee mug"
    began = time.monotonic()
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    again = time.monotonic() - began
    np.testing.assert_array_equal(coordinates(bpy.context.active_object), before)
    (tools.folder / "real.json").write_text(json.dumps({"first": first, "again": again}))


def scenario_real_engine_examines_the_very_mesh_that_it_made(tools):
    tools.use_real()
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=3, size=2.0) == {"FINISHED"}
    obj = bpy.context.active_object
    layers = tools.part("trust.layers")
    place, read = layers.show, []
    layers.show = lambda *given: read.append((given, place(*given))) or read[-1][1]
    try:
        assert bpy.ops.gp3d.show_trust() == {"FINISHED"}
    finally:
        layers.show = place
    [((_, values, where), far)] = read
    assert far == 0
    own = coordinates(obj).reshape(-1, 3)
    found = where(values.mesh.vertices)
    assert {tuple(row) for row in np.round(own, 4).tolist()} == {
        tuple(row) for row in np.round(found, 4).tolist()
    }  # every vertex, to a ten-thousandth of half its size
    assert 0 <= obj["gp3d_trust_never_seen"] < 1
    assert tools.state().notice == f"Examined {obj.name}."


def scenario_real_engine_previews_and_knows_its_classes(tools):
    tools.use_real()
    bpy.context.scene.gp3d.previews = 2
    bpy.context.scene.gp3d.class_name = "mushroom"
    assert bpy.ops.gp3d.preview() == {"FINISHED"}
    assert [picture.class_name for picture in tools.state().pictures] == ["mushroom", "mushroom"]
    assert all(Path(picture.path).is_file() for picture in tools.state().pictures)
    assert [entry.name for entry in tools.state().classes] == ["coffee mug", "mushroom"]


def scenario_real_engine_makes_a_mesh_of_a_photograph(tools):
    tools.use_real()
    photograph = tools.folder / "red owl.png"
    image = bpy.data.images.new("owl", 40, 30)
    image.pixels.foreach_set(np.tile(np.array([0.8, 0.1, 0.1, 1.0], np.float32), 1200))
    image.filepath_raw, image.file_format = str(photograph), "PNG"
    image.save()
    made = lambda: bpy.ops.gp3d.picture(picture=str(photograph))  # noqa: E731
    assert "brings no VQ3D tokenizer" in tools.refusal(RuntimeError, made)
    assert tools.state().session.status.problem.button == "CHOOSE_VQ3D"
    tools.preferences().vq3d = str(Path(tools.settings["run"]).with_name("vq3d.safetensors"))
    assert bpy.ops.gp3d.picture(picture=str(photograph), size=2.0) == {"FINISHED"}
    obj = bpy.context.active_object
    assert len(obj.data.polygons) > 10
    assert abs(max(obj.dimensions) - 2) < 1e-4
    recipe, before = json.loads(obj["gp3d"]), coordinates(obj)
    assert recipe["recipe"]["scene"] == "red owl.png"
    assert (recipe["model"]["name"], obj["gp3d_model"]) == ("vq3d.safetensors", "vq3d.safetensors")
    assert recipe["recipe"]["tokenizer"].startswith(obj["gp3d_model_sha256"])
    assert not {"class", "seed", "truncation"} & recipe["recipe"].keys()
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    np.testing.assert_array_equal(coordinates(bpy.context.active_object), before)
    (tools.folder / "letter.png").write_text("Dear sir")
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.picture(picture=str(tools.folder / "letter.png")))
    assert "letter.png is no picture" in said
    assert tools.state().session.status.problem.code == "E_PICTURE"
    tools.preferences().vq3d = ""


def scenario_real_engine_is_cancelled(tools):
    tools.use_real()
    with tools.window() as state:
        pid = tools.busy_engine(state)
        bpy.ops.gp3d.cancel()
        assert tools.until(lambda: not state.session.status.at_work, 10)
        assert state.session.status.problem is None
        assert tools.alive(pid) == (state.session.engine is not None)


def scenario_example_of_the_manual_fills_a_scene(tools):
    tools.use_real()
    manual = (ROOT / "docs/addon.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(# ten objects.*?)```", manual, re.DOTALL)
    script = tools.folder / "example.py"
    script.write_text(example.replace("ten_objects.blend", str(tools.folder / "ten_objects.blend")))
    bpy.utils.execfile(str(script))
    bpy.ops.wm.open_mainfile(filepath=str(tools.folder / "ten_objects.blend"))
    made = [obj for obj in bpy.data.objects if "gp3d" in obj]
    assert len(made) == 10
    assert all(obj.data.color_attributes for obj in made)


def scenario_real_engine_ends_with_blender(tools):
    tools.use_real()
    bpy.ops.gp3d.generate(class_name="mushroom", seed=1)
    session = tools.state().session
    engine, pid = session.engine, session.engine.pid
    session.stop()
    until = time.monotonic() + 8
    while engine.exit_code is None and time.monotonic() < until:
        time.sleep(0.02)
    assert engine.exit_code is not None
    assert not tools.alive(pid)


def scenario_without_a_chosen_model_the_one_in_the_box_works(tools):
    tools.use_real()
    tools.preferences().snapshot = ""
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=2) == {"FINISHED"}
    recipe = json.loads(bpy.context.active_object["gp3d"])
    assert (recipe["model"]["name"], recipe["recipe"]["snapshot"]) == ("box", "box")
    state = tools.state()
    assert [(entry.name, entry.badge) for entry in state.classes] == [
        ("coffee mug", "good"),
        ("mushroom", "rough"),
        ("horse", "good"),
    ]
    offered = dict(tools.part("properties").suggest_classes(None, bpy.context, "mushroom"))
    assert offered["mushroom"].startswith("rough")
    assert tools.part("ui.main_panel").model_name(state.session.status.ready) == "pretrained models"
    state.session.stop()


def scenario_a_class_of_the_second_model_brings_its_credits(tools):
    tools.use_real()
    tools.preferences().snapshot = ""
    assert bpy.ops.gp3d.generate(class_name="horse", seed=2) == {"FINISHED"}
    obj = bpy.context.active_object
    made = json.loads(obj["gp3d"])
    assert (made["model"]["name"], made["recipe"]["snapshot"]) == ("zoo", "zoo")
    assert made["recipe"]["license"] == "CC-BY-SA-4.0"
    assert "Wildfire Games (CC-BY-SA-3.0)" in made["recipe"]["credits"]
    before = [tuple(vertex.co) for vertex in obj.data.vertices]
    assert bpy.ops.gp3d.regenerate(higher=False) == {"FINISHED"}
    assert [tuple(vertex.co) for vertex in obj.data.vertices] == before
    tools.preferences().snapshot = "zoo"  # alone, also by its name
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=2) == {"FINISHED"}
    assert json.loads(bpy.context.active_object["gp3d"])["model"]["name"] == "zoo"
    made["recipe"]["snapshot_sha256"] = "0" * 64  # of a model that is not here
    obj["gp3d"] = json.dumps(made)
    bpy.context.view_layer.objects.active = obj
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.regenerate(higher=False))
    assert "the model with SHA-256 000000000000… is not here; here are zoo, box" in said
    tools.state().session.stop()
