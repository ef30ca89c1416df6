"""Scenarios in Blender: volumes of objects, with the real `gp3d serve` and an untrained micro model."""

from __future__ import annotations

import json

import bpy
import numpy as np
from mathutils import Vector


def library(tools):
    """Blender's OpenVDB, None where this one has none."""
    return tools.part("objects.volume").openvdb()


def made(tools):
    """A mesh of a mushroom, with the level that cuts the micro model's fog in two."""
    tools.use_real()
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=3) == {"FINISHED"}
    return bpy.context.active_object


def scenario_a_volume_takes_the_place_of_its_mesh(tools):
    mesh, vdb = made(tools), tools.folder / "mushroom.vdb"
    if library(tools) is None:
        said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.volume(filepath=str(vdb), grid=24))
        assert "This Blender has no OpenVDB for Python" in said
        assert "\n" not in said.strip().removeprefix("Error: ")
        assert not vdb.exists()
        return
    assert bpy.ops.gp3d.volume(filepath=str(vdb), grid=24) == {"FINISHED"}
    obj = bpy.context.active_object
    assert obj.type == "VOLUME"
    assert obj.data.filepath == str(vdb)
    assert obj.data.grids.load()
    assert sorted((grid.name, grid.data_type) for grid in obj.data.grids) == [
        ("color", "VECTOR_FLOAT"),
        ("density", "FLOAT"),
    ]
    assert mesh.hide_get()
    assert mesh.hide_render
    assert "The mesh is hidden" in tools.state().notice
    assert [path.name for path in tools.folder.iterdir() if path.suffix == ".vdb"] == ["mushroom.vdb"]
    assert obj.data.materials[0].node_tree.nodes["Volume Absorption"].inputs["Density"].links


def scenario_grids_in_the_file_are_the_engines(tools):
    if library(tools) is None:
        return
    mesh, vdb = made(tools), tools.folder / "grids.vdb"
    request = json.loads(mesh["gp3d"])["request"]
    kept = {}
    reading = tools.part("results").read_grids
    tools.part("results").read_grids = lambda path: kept.setdefault("grids", reading(path))
    try:
        assert bpy.ops.gp3d.volume(filepath=str(vdb), grid=24) == {"FINISHED"}
    finally:
        tools.part("results").read_grids = reading
    grids, openvdb = kept["grids"], library(tools)
    density, color = openvdb.read(str(vdb), "density"), openvdb.read(str(vdb), "color")
    back = np.zeros((24, 24, 24), np.float32)
    density.copyToArray(back)
    np.testing.assert_array_equal(back, grids.density)
    assert (back > 0).any()
    shown = np.zeros((24, 24, 24, 3), np.float32)
    color.copyToArray(shown)
    np.testing.assert_array_equal(shown, grids.color)
    for index in ((0, 0, 0), (23, 5, 11)):  # where samples lie
        place = np.array(density.transform.indexToWorld(index))
        np.testing.assert_allclose(place, np.array(index) * grids.step - grids.box, atol=1e-6)
    assert request["seed"] == 3


def scenario_a_volume_lies_where_the_mesh_lay(tools):
    if library(tools) is None:
        return
    mesh = made(tools)
    mesh.location, mesh.rotation_euler, mesh.scale = (1.0, 2.0, 3.0), (0.0, 0.0, 0.7), (2.0, 2.0, 2.0)
    bpy.context.view_layer.update()
    was = np.array([mesh.matrix_world @ vertex.co for vertex in mesh.data.vertices])
    level = json.loads(mesh["gp3d"])["recipe"]["level"]
    vdb = tools.folder / "place.vdb"
    assert bpy.ops.gp3d.volume(filepath=str(vdb), grid=48) == {"FINISHED"}
    bpy.context.view_layer.update()
    obj = bpy.context.active_object
    values = np.zeros((48, 48, 48), np.float32)
    grid = library(tools).read(str(vdb), "density")
    grid.copyToArray(values)
    index = np.argwhere(values > level)
    world = [obj.matrix_world @ Vector(grid.transform.indexToWorld(tuple(map(float, i)))) for i in index]
    step = 2.5 * 2.0 / 47  # of a mesh whose longest side is 1, made twice as large
    np.testing.assert_allclose(np.min(world, axis=0), was.min(axis=0), atol=step)
    np.testing.assert_allclose(np.max(world, axis=0), was.max(axis=0), atol=step)


def scenario_without_a_library_one_line_says_so_and_nothing_is_made(tools):
    mesh, volume = made(tools), tools.part("objects.volume")
    names, beside = volume._NAMES, volume._beside_blender
    volume._NAMES, volume._beside_blender = ("no_such_library",), lambda: None
    try:
        vdb = tools.folder / "none.vdb"
        said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.volume(filepath=str(vdb)))
    finally:
        volume._NAMES, volume._beside_blender = names, beside
    assert "This Blender has no OpenVDB for Python" in said
    assert not vdb.exists()
    assert not mesh.hide_get()
    assert not [obj for obj in bpy.data.objects if obj.type == "VOLUME"]


def scenario_blender_has_the_library_from_4_4_on(tools):
    """What the scenarios above need: they would pass for nothing without it."""
    if bpy.app.version >= (4, 4):
        assert library(tools) is not None
