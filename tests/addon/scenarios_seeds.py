"""Scenarios in Blender: the seed browser with the real `gp3d serve` and an untrained micro model."""

from __future__ import annotations

import json
import os
import subprocess

import bpy
import numpy as np


def coordinates(obj) -> np.ndarray:
    values = np.empty(len(obj.data.vertices) * 3, np.float32)
    obj.data.vertices.foreach_get("co", values)
    return values.reshape(-1, 3)


def fitted(points: np.ndarray) -> np.ndarray:
    """Points moved and scaled into the unit box, their longest side 1."""
    low = points.min(axis=0)
    return (points - low) / (points.max(axis=0) - low).max()


def scenario_a_blend_across_classes_is_made_again_in_blender_and_in_a_terminal(tools):
    tools.use_real()
    choices = bpy.context.scene.gp3d
    choices.color, choices.seed, choices.class_name = "vertex", 3, "coffee mug"
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    browser = tools.state().browser
    bpy.ops.gp3d.browser_choose(number=browser.page[0].number)
    choices.class_name = "mushroom"
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    assert all(tile.shots for tile in browser.page)
    bpy.ops.gp3d.browser_choose(number=browser.page[1].number)
    assert bpy.ops.gp3d.browser_blend(at=0.3) == {"FINISHED"}
    blend = browser.page[0]
    assert [(p["seed"], p["early"]) for p in blend.wanted["parents"]] == [(3, 0.7), (3, 0.3)]
    for tile in list(browser.picked):
        bpy.ops.gp3d.browser_choose(number=tile.number)
    bpy.ops.gp3d.browser_choose(number=blend.number)
    assert bpy.ops.gp3d.browser_generate() == {"FINISHED"}
    obj = bpy.context.active_object
    recipe, before = json.loads(obj["gp3d"]), coordinates(obj)
    assert recipe["recipe"]["version"] == 2
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    np.testing.assert_array_equal(coordinates(bpy.context.active_object), before)
    path = tools.folder / "blend.recipe.json"
    path.write_text(json.dumps({"format": "gp3d-recipe", **recipe["recipe"]}))
    program, run = tools.settings["engine"], tools.settings["run"]
    command = [program, "mesh", run, "--recipe", path, "--format", "npz", "--out", tools.folder / "again"]
    subprocess.run(command, check=True, timeout=200, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    (made,) = (tools.folder / "again").glob("*.npz")
    with np.load(made) as arrays:
        x, y, z = arrays["vertices"].T
    np.testing.assert_allclose(fitted(before), fitted(np.stack([x, -z, y], axis=1)), atol=1e-5)


def scenario_variations_and_mixes_are_drawn_and_made(tools):
    tools.use_real()
    assert bpy.ops.gp3d.browse() == {"FINISHED"}
    browser = tools.state().browser
    first, second = browser.page[:2]
    bpy.ops.gp3d.browser_choose(number=first.number)
    bpy.context.scene.gp3d_seeds.variations = 2
    assert bpy.ops.gp3d.browser_vary() == {"FINISHED"}
    bpy.ops.gp3d.browser_choose(number=second.number)
    assert bpy.ops.gp3d.browser_mix() == {"FINISHED"}
    mixed, *varied = browser.page[:3]
    assert [p["late"] for p in mixed.wanted["parents"]] == [0.0, 1.0]
    assert all(tile.shots[0].pixels == 96 for tile in (mixed, *varied))
    assert len({tile.shots[0].file for tile in (mixed, *varied, first, second)}) == 5
