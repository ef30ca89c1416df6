"""Scenarios in Blender: where the engine is found, and the add-on as it is enabled and disabled.

Run by blender_child.py, never imported by pytest.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import bpy


def scenario_engine_is_found_in_the_promised_order(tools):
    find, missing = tools.part("engine.process").find_engine, tools.part("engine.process").EngineNotFoundError
    project = tools.folder / "a project"
    program = project / ".venv/bin/gp3d"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    assert find("", [project]) is None  # no program as long as it may not be run
    program.chmod(0o755)
    assert find("", [project]) == [str(program)]
    assert find(str(project), []) == [str(program)]
    on_path = tools.folder / "bin" / "gp3d"
    on_path.parent.mkdir()
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{on_path.parent}:{before}"
    assert find("", [project]) == [str(on_path)]
    assert find(str(program), [project]) == [str(program)]
    os.environ["PATH"] = before
    for wrong in (str(tools.folder / "nowhere"), str(on_path.parent.parent / "engines"), __file__):
        assert wrong in tools.refusal(missing, lambda wrong=wrong: find(wrong, [project]))


def scenario_no_engine_leaves_samples_and_a_sentence(tools):
    tools.use("")
    tools.state().look_for_engine("")
    assert tools.state().command is None
    assert {entry.name for entry in tools.state().classes} == {"coffee mug", "mushroom", "teapot"}
    assert "no engine" in tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.generate(class_name="teapot"))
    assert bpy.ops.gp3d.sample(name="teapot") == {"FINISHED"}


def scenario_choosing_another_model_starts_another_engine(tools):
    bpy.ops.gp3d.generate(class_name="teapot", seed=1)
    first = tools.state().session.engine.pid
    bpy.ops.gp3d.generate(class_name="teapot", seed=2)
    assert tools.state().session.engine.pid == first  # it stays warm
    assert bpy.ops.gp3d.choose_snapshot(filepath=str(tools.folder / "model")) == {"FINISHED"}
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=3) == {"FINISHED"}
    assert tools.state().session.engine.pid != first
    assert str(tools.folder / "model") in tools.state().session.engine.command
    assert tools.until(lambda: not tools.alive(first), 8)
    tools.preferences().snapshot = ""


def scenario_whole_family_of_an_engine_is_ended(tools):
    with tools.window():
        tools.use("family")
        bpy.ops.gp3d.generate(class_name="coffee mug", seed=1)
        session, pid = tools.state().session, tools.state().session.engine.pid
        note = Path(os.environ["GP3D_FAKE_CHILD"])
        assert tools.until(
            lambda: session.status.state == "READY" and note.exists() and note.read_text() != ""
        )
        child = int(note.read_text())
        assert tools.alive(child)
        session.engine.kill()
        assert tools.until(lambda: not tools.alive(pid) and not tools.alive(child), 5)


def scenario_without_numpy_there_is_a_line_that_says_what_to_type(tools):
    names = [name for name in sys.modules if name == "numpy" or name.startswith(("numpy.", tools.module))]
    bpy.ops.preferences.addon_disable(module=tools.module)
    held = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules["numpy"] = None  # as if it were not there
    try:
        assert bpy.ops.preferences.addon_enable(module=tools.module) == {"FINISHED"}
        kinds = [name for name in dir(bpy.types) if name.startswith("GP3D_")]
        assert kinds == ["GP3D_PT_without_numpy"]
        said: list[str] = []
        column = SimpleNamespace(label=lambda *, text, icon="NONE": said.append(text))
        panel = SimpleNamespace(layout=SimpleNamespace(column=lambda: column))
        bpy.types.GP3D_PT_without_numpy.draw(panel, bpy.context)
        assert "sudo apt install python3-numpy" in said
        assert bpy.ops.preferences.addon_disable(module=tools.module) == {"FINISHED"}
    finally:
        del sys.modules["numpy"]
        for name in [name for name in sys.modules if name.startswith(tools.module)]:
            del sys.modules[name]
        sys.modules.update(held)
        assert bpy.ops.preferences.addon_enable(module=tools.module) == {"FINISHED"}
    tools.use("good")
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=1) == {"FINISHED"}


def scenario_engine_beside_a_blend_keeps_its_place(tools):
    blend = tools.folder / "a scene" / "scene.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    relative = bpy.path.relpath(str(Path(tools.settings["engines"]) / "good" / "gp3d"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Blender 4.5 and newer do not like it either
        tools.preferences().engine_path = relative
    assert tools.preferences().engine_path == str(Path(tools.settings["engines"]) / "good" / "gp3d")
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=1) == {"FINISHED"}


def scenario_disabling_ends_everything_and_enabling_works_again(tools):
    for _ in range(2):
        with tools.window():
            tools.use("slow")
            bpy.ops.gp3d.generate(class_name="coffee mug", seed=1)
            pid = tools.state().session.engine.pid
        kinds = {name for name in dir(bpy.types) if name.startswith("GP3D_")}
        assert kinds
        menu = len(bpy.types.VIEW3D_MT_mesh_add._dyn_ui_initialize())
        assert bpy.ops.preferences.addon_disable(module=tools.module) == {"FINISHED"}
        end = time.monotonic() + 10
        while tools.alive(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not tools.alive(pid)
        assert not [name for name in dir(bpy.types) if name.startswith("GP3D_")]
        assert not hasattr(bpy.types.Scene, "gp3d")
        assert not hasattr(bpy.types.WindowManager, "gp3d")
        assert len(bpy.types.VIEW3D_MT_mesh_add._dyn_ui_initialize()) == menu - 1
        for handlers in (bpy.app.handlers.load_pre, bpy.app.handlers.load_post):
            assert not [h for h in handlers if h.__module__.startswith(tools.module)]
        assert bpy.ops.preferences.addon_enable(module=tools.module) == {"FINISHED"}
        assert {name for name in dir(bpy.types) if name.startswith("GP3D_")} == kinds
        assert tools.module in sys.modules
    tools.use("good")
    assert bpy.ops.gp3d.generate(class_name="teapot", seed=1) == {"FINISHED"}
