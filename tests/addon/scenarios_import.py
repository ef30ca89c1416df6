"""Scenarios in Blender: from bundles to objects. Run by blender_child.py, never imported by pytest."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

TEXTURE_ABOVE, TEXTURE_BELOW = (200, 30, 10), (10, 60, 220)


def points(obj) -> np.ndarray:
    """World coordinates of the vertices."""
    bpy.context.view_layer.update()
    co = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", co)
    matrix = np.array(obj.matrix_world)
    return co.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def make(**options):
    """The object that one call of the operator makes."""
    before = set(bpy.data.objects)
    assert bpy.ops.gp3d.generate(**options) == {"FINISHED"}
    (obj,) = set(bpy.data.objects) - before
    return obj


def principled_source(obj):
    """The node that feeds the base colour of the object's only material."""
    (material,) = obj.data.materials
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    output = next(node for node in material.node_tree.nodes if node.type == "OUTPUT_MATERIAL")
    assert output.inputs["Surface"].links[0].from_node == shader
    return shader.inputs["Base Color"].links[0].from_node


def scenario_geometry_is_welded_upright_and_looks_to_minus_y(tools):
    obj = make(class_name="coffee mug", seed=4)
    mesh = obj.data
    assert (len(mesh.vertices), len(mesh.polygons)) == (9, 14)  # eight corners and the nose, seams closed
    assert not mesh.validate()
    where = points(obj)
    np.testing.assert_allclose(
        where.max(axis=0) - where.min(axis=0), (0.5, 0.5, 1.0), atol=1e-6
    )  # 0.4 0.4 0.8
    assert abs(where[:, 2].min()) < 1e-6  # rests on the ground
    nose = where[where[:, 1].argmin()]
    np.testing.assert_allclose(nose[[0, 2]], (0, 0.5 + 0.2 / 0.8), atol=1e-5)  # front at -y, on its height
    normals = np.array([polygon.normal for polygon in mesh.polygons])
    centres = np.array([polygon.center for polygon in mesh.polygons]) - (0, 0.05, 0.5)
    assert (np.einsum("ij,ij->i", normals, centres) > 0).all()  # faces look outwards
    assert all(polygon.use_smooth for polygon in mesh.polygons)


def scenario_texture_and_its_coordinates_arrive_the_right_way_up(tools):
    obj = make(class_name="coffee mug", seed=1)
    image = principled_source(obj).image
    assert image.packed_file is not None
    assert image.colorspace_settings.name == "sRGB"
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    pixels = np.rint(pixels.reshape(8, 16, 4)[..., :3] * 255)
    assert (pixels[:4] == TEXTURE_BELOW).all()  # Blender's rows grow upwards
    assert (pixels[4:] == TEXTURE_ABOVE).all()
    uv = np.empty(len(obj.data.loops) * 2, np.float32)
    obj.data.uv_layers.active.data.foreach_get("uv", uv)
    uv, mesh = uv.reshape(-1, 2), obj.data
    for polygon in mesh.polygons[:10]:  # side k+1 has its own square of the atlas: seams stay seams
        square = uv[list(polygon.loop_indices)].mean(axis=0) * 3
        side = 1 + polygon.index // 2
        assert (int(square[0]), int(square[1])) == (side % 3, side // 3), (polygon.index, square)


def scenario_solid_color_is_that_of_the_surface(tools):
    """Of the faces, not of the texture: most of it is padding."""
    bpy.ops.gp3d.sample(name="coffee_mug")
    (material,) = bpy.context.active_object.data.materials
    np.testing.assert_allclose(material.diffuse_color[:3], (0.87, 0.57, 0.39), atol=0.03)


def scenario_vertex_colors_arrive_with_a_material_that_shows_them(tools):
    obj = make(class_name="coffee mug", seed=1, color="vertex")
    node, mesh = principled_source(obj), obj.data
    assert node.type == "VERTEX_COLOR"
    assert node.layer_name == mesh.color_attributes.active_color.name
    colors = np.empty(len(mesh.vertices) * 4, np.float32)
    mesh.color_attributes.active_color.data.foreach_get("color_srgb", colors)
    colors = np.rint(colors.reshape(-1, 4)[:, :3] * 255)
    above = points(obj)[:, 2] > 0.5
    assert above.any()
    assert (colors[above] == (220, 120, 10)).all()
    assert (colors[~above] == (20, 40, 200)).all()


def scenario_unlit_material_shines_by_itself(tools):
    bpy.context.scene.gp3d.shader = "UNLIT"
    (material,) = make(class_name="coffee mug", seed=1).data.materials
    emission = next(node for node in material.node_tree.nodes if node.type == "EMISSION")
    assert emission.inputs["Color"].links[0].from_node.type == "TEX_IMAGE"


def scenario_placement_follows_the_choices(tools):
    settings = bpy.context.scene.gp3d
    bpy.context.scene.cursor.location = (3, 4, 5)
    settings.size, settings.front, settings.collection = 2.5, "POS_X", True
    obj = make(class_name="coffee mug", seed=1)
    where = points(obj)
    assert abs((where[:, 2].max() - where[:, 2].min()) - 2.5) < 1e-5
    assert abs(where[:, 2].min() - 5) < 1e-5
    assert where[:, 0].argmax() == points(obj)[:, 0].argmax()
    nose = where[where[:, 0].argmax()]
    assert abs(nose[1] - 4) < 1e-4  # the front looks to +x now
    assert obj.users_collection[0].name == "GP3D"
    settings.on_ground, settings.place_at = False, "ORIGIN"
    where = points(make(class_name="coffee mug", seed=1))
    np.testing.assert_allclose(where.max(axis=0) + where.min(axis=0), 0, atol=1e-5)


def scenario_crop_keeps_the_middle(tools):
    bpy.context.scene.gp3d.crop, bpy.context.scene.gp3d.keep_largest = 0.5, False
    bpy.ops.gp3d.sample(name="mushroom")
    cropped = len(bpy.context.active_object.data.polygons)
    bpy.context.scene.gp3d.crop = 1.0
    bpy.ops.gp3d.sample(name="mushroom")
    assert 0 < cropped < len(bpy.context.active_object.data.polygons)


def scenario_recipe_is_whole_and_regenerates_the_same_mesh(tools):
    obj = make(class_name="teapot", seed=5, truncation=0.5)
    recipe = json.loads(obj["gp3d"])
    assert recipe["request"]["class"] == "n04398044"
    assert recipe["request"]["seed"] == recipe["recipe"]["seed"] == 5
    assert recipe["model"]["sha256"] == "0123456789ab"
    assert recipe["engine"]["gp3d"] == "0.1.0-fake"
    assert (obj["gp3d_class"], obj["gp3d_seed"]) == ("teapot", "5")
    obj.location.x = 7
    before, name = points(obj), obj.name
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    np.testing.assert_array_equal(points(bpy.data.objects[name]), before)
    assert json.loads(bpy.data.objects[name]["gp3d"]) == recipe
    assert (len(bpy.data.meshes), len(bpy.data.materials), len(bpy.data.images)) == (
        1,
        1,
        1,
    )  # nothing old is left
    assert bpy.ops.gp3d.regenerate(higher=True) == {"FINISHED"}
    higher = json.loads(bpy.data.objects[name]["gp3d"])["request"]
    assert (higher["grid"], higher["faces"], higher["texture_size"]) == (256, 60000, "auto")
    assert bpy.ops.gp3d.use_recipe() == {"FINISHED"}
    assert (bpy.context.scene.gp3d.class_name, bpy.context.scene.gp3d.seed) == ("teapot", 5)


def scenario_one_step_undoes_one_object(tools):
    bpy.ops.ed.undo_push(message="before")
    make(class_name="teapot", seed=1)
    make(class_name="teapot", seed=2)
    assert len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    assert [obj["gp3d_seed"] for obj in bpy.data.objects] == ["1"]
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 0


def scenario_samples_stand_in_the_scene_and_say_what_they_are(tools):
    assert set(tools.state().samples) == {"coffee_mug", "mushroom", "teapot"}
    for name in tools.state().samples:
        assert bpy.ops.gp3d.sample(name=name) == {"FINISHED"}
        obj = bpy.context.active_object
        assert obj.select_get()
        assert max(obj.dimensions) == 1.0 or abs(max(obj.dimensions) - 1) < 1e-5
        assert "procedural" in obj["gp3d_model"]
        assert principled_source(obj) is not None
        before = points(obj)
        assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
        np.testing.assert_array_equal(points(bpy.context.active_object), before)


def scenario_assets_have_catalogue_tags_and_preview(tools):
    bpy.context.scene.gp3d.tags = "kitchen, red"
    blend = tools.folder / "project" / "scene.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    obj = make(class_name="coffee mug", seed=7, as_asset=True)
    data = obj.asset_data
    assert {"imagenet", "coffee mug", "n03063599", "kitchen", "red"} == set(data.tags.keys())
    lines = (blend.parent / "blender_assets.cats.txt").read_text().splitlines()
    assert f"{data.catalog_id}:GP3D/coffee mug:GP3D-coffee mug" in lines
    assert "VERSION 1" in lines
    preview = obj.preview
    assert tuple(preview.image_size) == (256, 256)
    pixels = np.array(preview.image_pixels_float[:], np.float32).reshape(256, 256, 4)
    np.testing.assert_allclose(pixels[-1, 0], (250 / 255, 0, 0, 1), atol=0.01)  # red above
    np.testing.assert_allclose(pixels[0, 0], (47 / 255, 47 / 255, 47 / 255, 1), atol=0.01)
    library = tools.folder / "library"
    assert bpy.ops.gp3d.save_to_library(folder=str(library)) == {"FINISHED"}
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(library / f"{blend_name(library)}.blend"), assets_only=True) as (
        found,
        wanted,
    ):
        wanted.objects = found.objects
    (loaded,) = wanted.objects
    assert loaded.asset_data.catalog_id in (library / "blender_assets.cats.txt").read_text()
    assert tuple(loaded.preview.image_size) == (256, 256)
    assert loaded.data.materials[0].node_tree.nodes


def blend_name(folder: Path) -> str:
    """The only .blend there."""
    (file,) = folder.glob("*.blend")
    return file.stem


def scenario_catalogue_file_of_others_is_kept(tools):
    folder = tools.folder / "shelf"
    folder.mkdir()
    other = "VERSION 1\n\n3fa85f64-5717-4562-b3fc-2c963f66afa6:Mine:Mine"
    (folder / "blender_assets.cats.txt").write_text(other)
    library = tools.part("objects.library")
    for _ in range(2):
        library.add_catalog(folder, library.catalog_path("teapot"))
    text = (folder / "blender_assets.cats.txt").read_text()
    assert text.startswith(other + "\n")
    assert text.count("GP3D/teapot") == 1


def scenario_batch_fills_a_scene(tools):
    done = bpy.ops.gp3d.batch(batch_classes="coffee mug, teapot", batch_seeds="1-2, 5", size=1.0)
    assert done == {"FINISHED"}
    made = [(obj["gp3d_class"], obj["gp3d_seed"]) for obj in bpy.data.objects]
    assert sorted(made) == [(name, seed) for name in ("coffee mug", "teapot") for seed in "125"]
    assert len({tuple(obj.location) for obj in bpy.data.objects}) == 6


def scenario_wrong_bundles_are_refused_in_one_sentence(tools):
    bundle = tools.part("mesh_bundle")
    good = {"format": "gp3d-mesh", "version": 1, "recipe": "{}", "vertices": np.eye(3, dtype=np.float32)}
    good["faces"] = np.array([[0, 1, 2]], np.int32)
    cases = {
        "nothing": None,
        "text": b"hello",
        "format": {**good, "format": "other"},
        "version": {**good, "version": 2},
        "faces": {**good, "faces": np.array([[0, 1, 3]], np.int32)},
        "negative": {**good, "faces": np.array([[0, 1, -1]], np.int32)},
        "empty": {**good, "faces": np.zeros((0, 3), np.int32)},
        "nan": {**good, "vertices": np.full((3, 3), np.nan, np.float32)},
        "uv": {**good, "uv": np.zeros((2, 2), np.float32)},
        "recipe": {**good, "recipe": "{"},
    }
    for name, content in cases.items():
        path = tools.folder / f"{name}.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.savez(path, **content)
        assert "\n" not in tools.refusal(bundle.BundleError, lambda path=path: bundle.read_bundle(path))
    np.savez(tools.folder / "good.npz", **good)
    assert len(bundle.read_bundle(tools.folder / "good.npz").faces) == 1


def scenario_timing_building_is_quick(tools):
    """30 k and 300 k triangles, textured; the figures stand in build.json."""
    bundle, scene = tools.part("mesh_bundle"), tools.part("objects.scene")
    options = {"size": 1.0, "on_ground": True, "smooth": True, "shader": "PRINCIPLED", "roughness": 0.9}
    seconds = {}
    for faces in (30_000, 300_000):
        side = round((faces / 2) ** 0.5)
        u, v = np.meshgrid(np.linspace(0, 1, side + 1), np.linspace(0, 1, side + 1))
        corners = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)
        a, b, c, d = (
            x.reshape(-1) for x in (corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1])
        )
        path = tools.folder / f"{faces}.npz"
        np.savez_compressed(
            path, format="gp3d-mesh", version=1, recipe="{}",
            vertices=np.stack([u, v, np.sin(9 * u * v)], -1).reshape(-1, 3).astype(np.float32),
            faces=np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32),
            uv=np.stack([u, v], -1).reshape(-1, 2).astype(np.float32), texture=np.zeros((512, 512, 3), np.uint8),
        )  # fmt: skip
        began = time.process_time()
        big = bundle.read_bundle(path)
        scene.build_mesh(big, "big", options, bundle.placement(big, 1.0, True))
        seconds[faces] = time.process_time() - began
    (tools.folder / "build.json").write_text(json.dumps(seconds))
    assert seconds[30_000] < 0.6
    assert seconds[300_000] < 4.0


def scenario_levels_and_hull_belong_to_their_object(tools):
    bundle, results = tools.part("mesh_bundle"), tools.part("results")
    obj = make(class_name="teapot", seed=5, size=2.0)
    recipe = json.loads(obj["gp3d"])
    first = results.sample_asset("teapot").mesh
    coarse = replace(first, faces=first.faces[::2], uv=None, texture=None)
    asset = bundle.Asset(first, (coarse, coarse), (coarse,))
    results.rebuild(obj, asset, recipe)
    name = obj.name.removesuffix("_LOD0")
    assert [child.name for child in tools.part("objects.parts").parts_of(obj)] == [
        f"UCX_{name}_LOD0_00",
        f"{name}_LOD1",
        f"{name}_LOD2",
    ]
    (collection,) = obj.users_collection
    assert collection.name == name
    assert {other.name for other in collection.objects} == {obj.name, *(child.name for child in obj.children)}
    assert not obj.hide_render
    assert not obj.hide_get()
    assert all(child.hide_render and child.hide_get() for child in obj.children)
    obj.location.x += 3
    np.testing.assert_allclose(points(bpy.data.objects[f"{name}_LOD1"]), points(obj), atol=1e-6)
    assert not bpy.data.objects[f"UCX_{name}_LOD0_00"].data.materials
    results.rebuild(obj, asset, recipe)
    assert (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.materials)) == (4, 4, 3)
    results.rebuild(obj, bundle.Asset(first), recipe)
    assert (len(bpy.data.objects), len(bpy.data.meshes), len(bpy.data.materials)) == (1, 1, 1)


def scenario_quads_arrive_as_quads(tools):
    bundle, scene = tools.part("mesh_bundle"), tools.part("objects.scene")
    vertices = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = np.array([row for a, b, c, d in sides for row in ((a, b, c), (a, c, d))], np.int32)
    cube = bundle.Bundle(vertices, faces, {}, quads=np.arange(12, dtype=np.int32).reshape(6, 2))
    options = {"size": 2.0, "on_ground": True, "smooth": False, "shader": "PRINCIPLED", "roughness": 0.9}
    mesh = scene.build_mesh(cube, "cube", options, bundle.placement(cube, 2.0, True))
    assert [len(polygon.vertices) for polygon in mesh.polygons] == [4] * 6
    assert not mesh.validate()
    assert abs(sum(polygon.area for polygon in mesh.polygons) - 24) < 1e-5
    centre = np.array([0, 0, 1])
    assert all(np.dot(polygon.normal, np.array(polygon.center) - centre) > 0 for polygon in mesh.polygons)


def scenario_real_size_comes_in_metres(tools):
    settings = bpy.context.scene.gp3d
    settings.real_size = True
    obj = make(class_name="coffee mug", seed=1)
    assert json.loads(obj["gp3d"])["request"]["size"] == "real"
    where = points(obj)
    np.testing.assert_allclose(where[:, 2].max(), 0.8, atol=1e-6)  # as the fake engine made it, not 1
    bpy.context.scene.unit_settings.scale_length = 0.01  # a scene in centimetres
    np.testing.assert_allclose(points(make(class_name="coffee mug", seed=2))[:, 2].max(), 80, rtol=1e-6)
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    np.testing.assert_allclose(points(bpy.context.active_object)[:, 2].max(), 80, rtol=1e-6)
    bpy.context.scene.unit_settings.system = "NONE"
    np.testing.assert_allclose(points(make(class_name="coffee mug", seed=3))[:, 2].max(), 0.8, rtol=1e-6)
    refusal = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.generate(class_name="gadget", seed=1))
    assert "How large 'gadget' is in the world is not known" in refusal


def scenario_levels_and_hull_are_asked_for_and_come_back_when_made_again(tools):
    settings = bpy.context.scene.gp3d
    settings.lods, settings.collision = 3, 8
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=1) == {"FINISHED"}
    obj = bpy.context.active_object
    assert obj.name == "gp3d_teapot_1_LOD0"
    request = json.loads(obj["gp3d"])["request"]
    assert (request["lods"], request["collision"]) == (3, 8)
    wanted = [
        "UCX_gp3d_teapot_1_LOD0_00",
        "UCX_gp3d_teapot_1_LOD0_01",
        "gp3d_teapot_1_LOD1",
        "gp3d_teapot_1_LOD2",
    ]
    parts_of = tools.part("objects.parts").parts_of
    assert [child.name for child in parts_of(obj)] == wanted
    assert "3 LODs, a hull of 2" in tools.state().notice
    for part in parts_of(obj)[:2]:
        assert len(part.data.polygons) == 14
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    assert [child.name for child in parts_of(obj)] == wanted
    settings.lods = settings.collision = 0
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=2) == {"FINISHED"}
    assert bpy.context.active_object.name == "gp3d_teapot_2"


def scenario_quads_that_fail_leave_triangles_and_a_line(tools):
    tools.use("torn-budget")
    bpy.context.scene.gp3d.quads = 500
    obj = make(class_name="teapot", seed=1)
    assert {len(polygon.vertices) for polygon in obj.data.polygons} == {3}
    assert "no quads could be had; the triangles stay" in tools.state().notice
