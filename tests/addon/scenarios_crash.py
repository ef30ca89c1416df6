"""Scenarios in Blender with the real `gp3d serve`, which is killed while it works. Run by blender_child.py."""

from __future__ import annotations

import json
import os
import signal
import threading

import bpy


def scenario_real_engine_killed_at_work_is_said_in_one_line_and_the_next_one_works(tools):
    tools.use_real()
    with tools.window() as state:
        pid = tools.busy_engine(state)
        os.killpg(pid, signal.SIGKILL)
        assert tools.until(lambda: state.session.status.problem is not None, 10)
        problem = state.session.status.problem
        assert (problem.code, problem.button) == ("E_CRASHED", "RESTART")
        assert "killed from outside" in problem.sentence
        assert "\n" not in problem.sentence
        assert not state.session.status.at_work
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=30) == {"FINISHED"}
    assert json.loads(bpy.context.active_object["gp3d"])["recipe"]["seed"] == 30
    assert tools.state().session.status.problem is None
    assert tools.state().session.engine.pid != pid


def scenario_real_engine_killed_while_a_script_waits_is_said_in_one_line(tools):
    tools.use_real()
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=31) == {"FINISHED"}
    pid = tools.state().session.engine.pid
    os.killpg(pid, signal.SIGSTOP)
    killing = threading.Timer(1.0, os.killpg, (pid, signal.SIGKILL))
    killing.start()
    said = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.generate(class_name="mushroom", seed=32))
    assert "killed from outside" in said
    assert len(said.strip().splitlines()) == 1
    assert bpy.ops.gp3d.generate(class_name="mushroom", seed=33) == {"FINISHED"}
    assert json.loads(bpy.context.active_object["gp3d"])["recipe"]["seed"] == 33
