"""Scenarios in Blender: Relief from Depth, with a fake engine. Run by blender_child.py, never imported by pytest."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import bpy
import numpy as np


def files(tools, *names: str) -> list[Path]:
    """Files that only a fake engine takes for pictures, depth maps and masks."""
    made = [tools.folder / name for name in names]
    for file in made:
        file.write_bytes(f"this is {file.name}".encode())
    return made


def lifted(tools, **more):
    """The relief that the operator makes of owl.png and its depth.npy."""
    photograph, depth = files(tools, "owl.png", "depth.npy")
    options = {"picture": str(photograph), "depth": str(depth), "method": "RELIEF", **more}
    assert bpy.ops.gp3d.picture(**options) == {"FINISHED"}
    return bpy.context.active_object


def request_of(obj) -> dict:
    return json.loads(obj["gp3d"])["request"]


def spread(obj) -> np.ndarray:
    """World coordinates of the vertices."""
    bpy.context.view_layer.update()
    return np.array([obj.matrix_world @ vertex.co for vertex in obj.data.vertices])


def scenario_a_relief_is_one_object_with_its_camera(tools):
    obj = lifted(tools)
    assert obj.name == "gp3d_owl_relief"
    assert sorted(other.name for other in bpy.data.objects) == ["gp3d_owl_relief", "gp3d_owl_relief_camera"]
    photograph, filled = obj.data.materials
    for material, size in ((photograph, (32, 32)), (filled, (2, 2))):
        (shader,) = [node for node in material.node_tree.nodes if node.type == "EMISSION"]
        image = shader.inputs["Color"].links[0].from_node.image
        assert tuple(image.size) == size
        assert image.packed_file is not None
        assert image.filepath == ""
    assert [face.material_index for face in obj.data.polygons] == [0, 0, 1, 1]
    np.testing.assert_allclose(photograph.diffuse_color[:3], (0.5, 0.01, 0.01), atol=0.03)  # red over grey 40
    where = spread(obj)
    np.testing.assert_allclose(
        where[:4].min(axis=0), (-0.5, 0, 0), atol=1e-6
    )  # 1 wide, upright, on the ground
    np.testing.assert_allclose(where[:4].max(axis=0), (0.5, 0, 1), atol=1e-6)
    assert where[4:, 1].min() > 0.4  # what is behind lies behind
    assert "4 faces" in tools.state().notice
    assert "assumed" in tools.state().notice


def scenario_its_camera_stood_where_the_photograph_was_taken(tools):
    obj = lifted(tools, size=3.0)
    bpy.context.view_layer.update()
    (camera,) = obj.children
    assert camera.type == "CAMERA"
    np.testing.assert_allclose(camera.matrix_world.translation, (0, -3, 1.5), atol=1e-5)  # 2 before 2 wide
    np.testing.assert_allclose(-np.array(camera.matrix_world)[:3, 2], (0, 1, 0), atol=1e-6)  # looks along +y
    np.testing.assert_allclose(np.array(camera.matrix_world)[:3, 1], (0, 0, 1), atol=1e-6)  # upright
    assert abs(math.degrees(camera.data.angle) - 53.1301) < 1e-3
    assert camera.data.clip_start < 3 < 4.5 < camera.data.clip_end
    assert bpy.context.scene.camera is None  # nothing of the scene is changed
    assert bpy.ops.gp3d.look_through() == {"FINISHED"}
    render = bpy.context.scene.render
    assert bpy.context.scene.camera == camera
    assert (render.resolution_x, render.resolution_y) == (32, 32)
    assert bpy.context.scene.view_settings.view_transform == "Standard"


def scenario_a_relief_is_made_again_in_its_place(tools):
    obj = lifted(tools)
    obj.location = (1, 2, 3)
    camera = obj.children[0]
    bpy.context.scene.camera = camera
    assert bpy.ops.gp3d.regenerate(higher=True) == {"FINISHED"}
    assert len(bpy.data.objects) == 2
    assert (len(bpy.data.meshes), len(bpy.data.materials), len(bpy.data.images)) == (1, 2, 2)
    assert bpy.context.scene.camera == camera == obj.children[0]
    assert tuple(obj.location) == (1, 2, 3)
    assert request_of(obj)["grid"] == 512
    bpy.data.objects.remove(camera)
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    assert obj.children[0].type == "CAMERA"


def scenario_a_changed_photograph_depth_or_mask_is_not_lifted_again(tools):
    photograph, depth, mask = files(tools, "owl.png", "depth.npy", "mask.png")
    lifted(tools, mask=str(mask))
    for file, words in ((photograph, "picture at"), (depth, "depth map at"), (mask, "mask at")):
        before = file.read_bytes()
        file.write_bytes(b"another")
        said = tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
        assert words in said
        assert "has changed since" in said
        file.unlink()
        assert "is no longer at" in tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
        file.write_bytes(before)
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}


def scenario_choices_become_a_request(tools):
    (mask,) = files(tools, "mask.png")
    settings = bpy.context.scene.gp3d
    settings.method, settings.quality = "RELIEF", "HIGH"
    assert request_of(lifted(tools)) | {"picture": "", "depth": ""} == {
        "picture": "",
        "depth": "",
        "grid": 512,
        "formats": ["npz"],
        "kind": "depth",
        "border": 0.2,
    }
    settings.depth_kind, settings.depth_ratio, settings.fov, settings.border = (
        "DISPARITY",
        3.0,
        math.radians(40),
        0.1,
    )
    asked = request_of(lifted(tools, quality="DRAFT"))
    assert {key: asked[key] for key in ("grid", "kind", "ratio", "fov", "border")} == {
        "grid": 128,
        "kind": "disparity",
        "ratio": 3.0,
        "fov": 40.0,
        "border": 0.1,
    }
    asked = request_of(lifted(tools, mask=str(mask), depth_kind="METRIC"))
    assert asked["mask"] == str(mask)
    assert not {"border", "ratio"} & asked.keys()


def scenario_metres_stay_metres(tools):
    obj = lifted(tools, depth_kind="METRIC", size=7.0)
    np.testing.assert_allclose(np.ptp(spread(obj)[:4], axis=0), (2, 0, 2), atol=1e-6)
    camera = obj.children[0].matrix_local.translation.copy()
    bpy.context.scene.unit_settings.scale_length = 0.01  # a scene in centimetres
    obj = lifted(tools, depth_kind="METRIC", size=7.0)
    np.testing.assert_allclose(np.ptp(spread(obj)[:4], axis=0), (200, 0, 200), atol=1e-4)
    np.testing.assert_allclose(obj.children[0].matrix_local.translation, 100 * camera, rtol=1e-5, atol=1e-4)


def scenario_depth_comes_from_a_model_of_this_machine(tools):
    photograph, model = files(tools, "owl.png", "depth.pt")
    options = {"picture": str(photograph), "method": "RELIEF"}
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.picture(**options))
    assert "Choose a depth map of the picture, or a depth model in the panel Engine" in said
    assert bpy.ops.gp3d.choose_depth_model(filepath=str(model)) == {"FINISHED"}
    assert tools.preferences().depth_model == str(model)
    assert bpy.ops.gp3d.picture(**options) == {"FINISHED"}
    obj = bpy.context.active_object
    assert request_of(obj)["depth_model"] == str(model)
    assert "kind" not in request_of(obj)
    assert obj["gp3d_model"] == "depth.pt"
    model.write_bytes(b"another")
    assert "the depth model at" in tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
    tools.preferences().depth_model = str(files(tools, "other.pt")[0])
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.picture(**options))
    assert "other.pt: expected weights of TCMonoDepth small" in said
    assert tools.state().session.status.problem.button == "CHOOSE_DEPTH_MODEL"
    tools.preferences().depth_model = ""


def scenario_files_that_are_not_there_are_named(tools):
    photograph, depth = files(tools, "owl.png", "depth.npy")
    good = {"picture": str(photograph), "depth": str(depth), "method": "RELIEF"}
    for changes, words in (
        ({"picture": ""}, "Choose a picture first"),
        ({"picture": str(tools.folder / "none.png")}, "There is no picture at"),
        ({"depth": str(tools.folder / "none.npy")}, "There is no depth map at"),
        ({"mask": str(tools.folder / "none.png")}, "There is no mask at"),
        ({"mask": str(tools.folder)}, "There is no mask at"),
        ({"depth": "//depth.npy"}, "save the .blend first"),
        ({"method": "SCENE", "mask": str(tools.folder / "none.png")}, "There is no mask at"),
        ({"picture": str(files(tools, "bad.png")[0])}, "bad.png is no picture in a format that is read"),
    ):
        options = good | changes
        said = tools.refusal(RuntimeError, lambda options=options: bpy.ops.gp3d.picture(**options))
        assert words in said, said
    assert not bpy.data.objects


def scenario_a_mask_goes_to_the_scene_model_too(tools):
    photograph, mask, model = files(tools, "owl.png", "mask.png", "tok.safetensors")
    tools.preferences().vq3d = str(model)
    assert bpy.ops.gp3d.picture(picture=str(photograph), mask=str(mask)) == {"FINISHED"}
    assert request_of(bpy.context.active_object)["mask"] == str(mask)
    mask.write_bytes(b"another")
    assert "the mask at" in tools.refusal(RuntimeError, bpy.ops.gp3d.regenerate)
    tools.preferences().vq3d = ""


def scenario_a_cancelled_relief_leaves_nothing(tools):
    tools.use("slow")
    photograph, depth = files(tools, "owl.png", "depth.npy")
    with tools.window() as state:
        bpy.ops.gp3d.picture(picture=str(photograph), depth=str(depth), method="RELIEF")
        assert tools.until(lambda: state.session.status.overall > 0.21)
        folder = Path(state.session.status.current.request["dir"])
        assert folder.is_dir()
        bpy.ops.gp3d.cancel()
        assert tools.until(lambda: not state.session.status.at_work)
    assert not folder.exists()
    assert not bpy.data.objects
    assert state.session.status.problem is None


def scenario_use_its_choices_and_export_know_reliefs(tools):
    obj = lifted(tools)
    settings = bpy.context.scene.gp3d
    settings.picture = settings.depth = ""
    assert settings.method == "SCENE"
    assert bpy.ops.gp3d.use_recipe() == {"FINISHED"}
    assert (settings.method, Path(settings.depth).name) == ("RELIEF", "depth.npy")
    where = tools.folder / "out.glb"
    assert bpy.ops.gp3d.export(filepath=str(where)) == {"FINISHED"}
    assert json.loads(where.read_text())["formats"] == ["glb"]
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.export(filepath=str(where.with_suffix(".stl"))))
    assert "A relief is exported as glTF" in said
    assert obj.name in bpy.data.objects


def scenario_the_panel_says_what_each_method_is_good_for(tools):
    spec = importlib.util.spec_from_file_location("panel", Path(__file__).with_name("scenarios_panel.py"))
    panel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(panel)
    settings = bpy.context.scene.gp3d
    said, names = {}, {}
    for method in ("SCENE", "RELIEF"):
        settings.method = method
        record = panel.draw(tools)
        said[method] = panel.texts(record).replace("\n", " ")
        names[method] = {entry[1] for entry in record if entry[0] == "prop"}
    assert "a soft object" in said["SCENE"]
    assert "Keeps the photograph sharp" in said["RELIEF"]
    assert {"picture", "method", "mask", "backdrop"} <= names["SCENE"]
    assert {"picture", "method", "mask", "depth", "depth_ratio", "fov", "border"} <= names["RELIEF"]
    assert "depth_kind" not in names["RELIEF"]
    choose = ("operator", "gp3d.choose_depth_model", "Choose Depth Model…")
    assert choose in panel.draw(tools)
    settings.depth = "depth.npy"
    record = panel.draw(tools)
    assert ("prop", "depth_kind") in record
    assert choose not in record
    settings.depth_kind, settings.mask = "METRIC", "mask.png"
    record = panel.draw(tools)
    assert ("prop", "depth_ratio") not in record
    assert ("prop", "border") not in record
    settings.mask = ""
    through = ("operator", "gp3d.look_through", None)
    assert through not in record
    lifted(tools)
    assert through in panel.draw(tools)


def scenario_a_relief_survives_its_file(tools):
    lifted(tools)
    path = str(tools.folder / "relief.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    obj = bpy.data.objects["gp3d_owl_relief"]
    image = obj.data.materials[0].node_tree.nodes["Image Texture"].image
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    np.testing.assert_allclose(pixels.reshape(32, 32, 4)[31, 0, :3], (250 / 255, 0, 0), atol=1e-3)
    assert obj.children[0].type == "CAMERA"
