"""Scenarios in Blender: jobs, and everything that goes wrong. Run by blender_child.py, never imported by pytest.

Operators start jobs without waiting here, as in a window: `tools.window` turns the waiting of background mode off.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import bpy


def started(tools, mode: str, **options):
    """A job on its way: the session, its engine's process id."""
    tools.use(mode)
    assert bpy.ops.gp3d.generate(**{"class_name": "coffee mug", "seed": 1, **options}) == {"FINISHED"}
    return tools.state().session, tools.state().session.engine.pid


def ends_with(tools, mode: str, code: str, button: str, words: str = "") -> None:
    """A job fails in one sentence with a button that exists; no object is made and the engine is gone or usable."""
    with tools.window():
        session, pid = started(tools, mode)
        assert tools.until(lambda: session.status.problem is not None), session.status.state
        problem = session.status.problem
        assert (problem.code, problem.button) == (code, button), problem
        assert words in problem.sentence, problem
        assert "\n" not in problem.sentence
        assert button in tools.part("ui.main_panel").REMEDIES
        assert not bpy.data.objects
        assert not session.status.at_work
        if session.engine is None:
            assert tools.until(lambda: not tools.alive(pid), 5)


def scenario_timing_nothing_waits_for_the_engine(tools):
    with tools.window() as state:
        began = time.monotonic()
        session, _ = started(tools, "slow")
        longest = time.monotonic() - began
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 2)
        for call in (tools.part("engine_control").tick, tools.part("engine_control").cancel, session.stop):
            began = time.process_time()
            call()
            longest = max(longest, time.process_time() - began)
        (tools.folder / "longest.txt").write_text(str(longest))
        assert longest < 0.25  # 0.05 on an idle machine; starting a process is most of it
        assert state.session.engine is None


def scenario_progress_is_shown(tools):
    with tools.window():
        session, _ = started(tools, "slow")
        seen = set()
        assert tools.until(
            lambda: seen.add(session.status.current and session.status.current.overall) or len(seen) > 4
        )
        assert session.status.current.stage == "density"
        assert session.status.state == "BUSY"
        shares = sorted(share for share in seen if share)
        assert 0 < shares[0] < shares[-1] < 0.6
        before = session.status.current
        assert before.advanced("polishing", 0, 5).overall == before.overall  # a stage of a newer engine
        assert session.seconds > 0


def scenario_cancel_ends_the_job_and_keeps_the_engine(tools):
    with tools.window() as state:
        session, pid = started(tools, "slow")
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 2)
        folder = Path(session.status.current.request["dir"])
        assert folder.is_dir()
        assert bpy.ops.gp3d.cancel() == {"FINISHED"}
        assert tools.until(lambda: not session.status.at_work, 5)
        assert tools.alive(pid)
        assert session.status.state == "READY"
        assert session.status.problem is None
        assert not bpy.data.objects
        assert not folder.exists()
        assert state.notice == ""


def scenario_cancel_ends_an_engine_that_does_not_listen(tools):
    with tools.window():
        session, pid = started(tools, "deaf")
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 2)
        bpy.ops.gp3d.cancel()
        assert tools.until(lambda: not session.status.at_work, 5)
        assert tools.until(lambda: not tools.alive(pid), 5)
        assert session.status.state == "OFF"
        assert session.status.problem is None


def scenario_cancel_of_a_batch_forgets_the_rest(tools):
    with tools.window():
        tools.use("slow")
        bpy.ops.gp3d.batch(batch_classes="teapot", batch_seeds="1-50")
        session = tools.state().session
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 1)
        folders = [Path(job.request["dir"]) for job in session.status.waiting]
        assert len(folders) == 49
        bpy.ops.gp3d.cancel()
        assert tools.until(lambda: not session.status.at_work, 5)
        assert not any(folder.exists() for folder in folders)
        assert not bpy.data.objects


def scenario_cancel_while_starting_ends_the_engine(tools):
    with tools.window():
        session, pid = started(tools, "mute")
        bpy.ops.gp3d.cancel()
        assert session.status.state == "OFF"
        assert tools.until(lambda: not tools.alive(pid), 5)


def scenario_killed_engine_is_noticed_and_starts_again(tools):
    with tools.window():
        session, pid = started(tools, "slow")
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 1)
        os.killpg(pid, signal.SIGKILL)
        assert tools.until(lambda: session.status.problem is not None, 5)
        assert session.status.problem.code == "E_CRASHED"
        assert "killed from outside" in session.status.problem.sentence
        tools.preferences().engine_path = str(Path(tools.settings["engines"]) / "good" / "gp3d")
        assert bpy.ops.gp3d.remedy(what="RESTART") == {"FINISHED"}
        assert tools.until(lambda: session.status.state == "READY")
        assert session.status.problem is None


def scenario_crash_shows_its_last_words(tools):
    ends_with(tools, "crash", "E_CRASHED", "RESTART", "exit code 3")
    assert tools.state().session.status.problem.hint == "ValueError: the fault"
    assert "ValueError: the fault" in tools.part("ui.engine_operators").diagnostics(bpy.context)


def scenario_silence_is_noticed(tools):
    ends_with(tools, "silent", "E_SILENT", "RESTART")


def scenario_engine_that_never_answers_is_noticed(tools):
    ends_with(tools, "mute", "E_SILENT", "RESTART")


def scenario_garbage_instead_of_a_greeting_is_noticed(tools):
    ends_with(tools, "garbage", "E_GARBAGE", "CHOOSE_ENGINE")


def scenario_garbage_during_a_job_is_noticed(tools):
    ends_with(tools, "garbage-later", "E_GARBAGE", "CHOOSE_ENGINE")


def scenario_other_protocol_is_refused(tools):
    ends_with(tools, "future", "E_VERSION", "CHOOSE_ENGINE", "protocol 99")


def scenario_engine_without_serve_is_refused(tools):
    ends_with(tools, "old", "E_VERSION", "CHOOSE_ENGINE", "too old")


def scenario_missing_model_names_the_remedy(tools):
    ends_with(tools, "empty-handed", "E_NO_WEIGHTS", "CHOOSE_SNAPSHOT", "…/model.safetensors")
    assert tools.state().session.status.state == "EMPTY"


def scenario_empty_mesh_offers_another_seed(tools):
    ends_with(tools, "empty", "E_EMPTY_MESH", "OTHER_SEED")
    seed = bpy.context.scene.gp3d.seed
    bpy.ops.gp3d.remedy(what="OTHER_SEED")
    assert bpy.context.scene.gp3d.seed == seed + 1
    assert tools.state().session.status.problem is None


def scenario_torn_bundle_is_a_problem_and_no_crash(tools):
    ends_with(tools, "torn", "E_BAD_MESH", "COPY_DIAGNOSTICS")


def scenario_out_of_memory_tries_a_coarser_grid_and_says_so(tools):
    with tools.window() as state:
        session, _ = started(tools, "oom", quality="HIGH")
        assert tools.until(lambda: not session.status.at_work)
        assert session.status.problem is None
        assert "64 instead of 128" in state.notice
        (obj,) = bpy.data.objects
        assert '"grid": 64' in obj["gp3d"]


def scenario_warnings_and_cuts_go_through(tools):
    tools.use("torn-budget")
    settings = bpy.context.scene.gp3d
    settings.depth_cut, settings.keep_largest = 0.25, True
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=1) == {"FINISHED"}
    assert tools.state().notice == "the surface would have torn"
    request = json.loads(bpy.context.active_object["gp3d"])["request"]
    assert (request["keep"], request["crop_depth"]) == (1, 0.25)


def scenario_stray_lines_of_libraries_are_tolerated(tools):
    tools.use("chatty")
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=1) == {"FINISHED"}
    assert len(bpy.data.objects) == 1


def scenario_program_that_cannot_start_is_a_problem(tools):
    program = tools.folder / "broken"
    program.write_bytes(b"\x7fELF no program")
    program.chmod(0o755)
    tools.preferences().engine_path = str(program)
    message = tools.refusal(RuntimeError, lambda: bpy.ops.gp3d.generate(class_name="coffee mug"))
    assert "cannot be started" in message
    assert tools.state().session.status.problem.button == "CHOOSE_ENGINE"


def scenario_new_file_during_a_job_takes_nothing_along(tools):
    with tools.window():
        session, pid = started(tools, "slow")
        assert tools.until(lambda: session.status.current is not None and session.status.current.done > 2)
        bpy.ops.wm.read_homefile(use_empty=True)
        assert not bpy.app.timers.is_registered(tools.part("engine_control").tick)
        assert tools.until(lambda: not session.status.at_work, 5)
        assert not bpy.data.objects
        assert tools.alive(pid)
        assert session.status.state == "READY"  # it goes on being used in the new file
    assert bpy.context.scene.gp3d.seed == 1


def scenario_target_that_is_deleted_meanwhile_does_no_harm(tools):
    assert bpy.ops.gp3d.generate(class_name="coffee mug", seed=1) == {"FINISHED"}
    with tools.window() as state:
        bpy.ops.gp3d.regenerate()
        bpy.data.objects.remove(bpy.context.active_object)
        assert tools.until(lambda: not state.session.status.at_work)
        assert state.session.status.problem is None


def scenario_previews_arrive_one_by_one_and_can_be_picked(tools):
    bpy.context.scene.gp3d.seed = 11
    with tools.window() as state:
        tools.use("slow")
        assert bpy.ops.gp3d.preview() == {"FINISHED"}
        assert tools.until(lambda: len(state.pictures) == 1)
        assert state.session.status.at_work
        assert tools.until(lambda: not state.session.status.at_work)
        assert [picture.seed for picture in state.pictures] == [11, 12, 13, 14]
    assert bpy.ops.gp3d.pick(number=1) == {"FINISHED"}
    assert bpy.context.scene.gp3d.seed == 12
    assert bpy.ops.gp3d.pick(number=3, several=True) == {"FINISHED"}
    assert bpy.ops.gp3d.pick(number=9) == {"CANCELLED"}
    tools.preferences().engine_path = str(Path(tools.settings["engines"]) / "good" / "gp3d")
    assert bpy.ops.gp3d.generate() == {"FINISHED"}
    assert sorted(obj["gp3d_seed"] for obj in bpy.data.objects) == ["12", "14"]


def scenario_dice_respects_the_lock(tools):
    settings = bpy.context.scene.gp3d
    settings.seed = 5
    seeds = set()
    for _ in range(8):
        bpy.ops.gp3d.dice()
        seeds.add(settings.seed)
    assert len(seeds) > 5
    settings.seed, settings.seed_locked = 5, True
    assert bpy.ops.gp3d.dice() == {"CANCELLED"}
    assert settings.seed == 5


def scenario_wrong_choices_are_refused_in_one_sentence(tools):
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=1)
    for call, words in (
        (lambda: bpy.ops.gp3d.generate(class_name="nonsense"), "no 'nonsense'"),
        (lambda: bpy.ops.gp3d.generate(class_name=" "), "expected a class, found an empty text"),
        (lambda: bpy.ops.gp3d.batch(batch_seeds="1-x"), "Seeds are numbers"),
        (lambda: bpy.ops.gp3d.batch(batch_seeds="9-1"), "Seeds are numbers"),
        (lambda: bpy.ops.gp3d.batch(batch_seeds="0-400, 0-400"), "objects at a time"),
        (lambda: bpy.ops.gp3d.sample(name="nothing"), "no sample"),
    ):
        refusal = tools.refusal(RuntimeError, call)
        assert words in refusal, (words, refusal)


def scenario_known_classes_are_those_of_the_model(tools):
    bpy.ops.gp3d.generate(class_name="gadget", seed=1)  # outside ImageNet, asked for by its name
    state, properties = tools.state(), tools.part("properties")
    assert [entry.name for entry in state.classes] == ["coffee mug", "teapot", "gadget"]
    names = [name for name, _ in properties.suggest_classes(None, bpy.context, "")]
    assert names[0] == "gadget"  # the recent one first
    bpy.ops.gp3d.generate(class_name="849", seed=1)
    assert bpy.context.active_object["gp3d_class"] == "teapot"
    assert [name for name, _ in properties.suggest_classes(None, bpy.context, "")][:2] == [
        "teapot",
        "gadget",
    ]
    assert properties.suggest_classes(None, bpy.context, "zebra") == []


def scenario_seconds_are_measured_here(tools):
    tools.preferences().timings = "{}"

    def estimate(grid: int):
        return tools.part("timings").estimate(
            tools.preferences().measured(), tools.state().last_ready, grid, "texture"
        )

    assert estimate(128) is None
    bpy.ops.gp3d.generate(class_name="teapot", seed=1)
    assert estimate(128).measured
    assert 0 < estimate(128).seconds < 20
    assert not estimate(256).measured
    assert estimate(256).seconds > estimate(128).seconds


def scenario_engine_exports_the_object_and_leaves_the_file(tools):
    bpy.ops.gp3d.generate(class_name="teapot", seed=5)
    file = tools.folder / "exported" / "tea.stl"
    assert bpy.ops.gp3d.export(filepath=str(file), print_height=42.0) == {"FINISHED"}
    assert [path.name for path in file.parent.iterdir()] == ["tea.stl"]
    asked, recipe = json.loads(file.read_text()), json.loads(bpy.context.active_object["gp3d"])
    assert asked == {
        **recipe["request"],
        "op": "mesh",
        "formats": ["stl"],
        "stem": "tea",
        "print_height": 42.0,
    }
    assert tools.state().notice == "Wrote tea.stl."
    assert len(bpy.data.objects) == 1
    assert bpy.ops.gp3d.export(filepath=str(file.with_suffix(".glb")), compress="meshopt") == {"FINISHED"}
    assert json.loads(file.with_suffix(".glb").read_text())["compress"] == "meshopt"
    with tools.window():  # a file that is given up, and its neighbours, stay as they are
        tools.use("slow")
        bpy.ops.gp3d.export(filepath=str(file.with_name("late.obj")))
        bpy.ops.gp3d.cancel()
    assert sorted(path.name for path in file.parent.iterdir()) == ["tea.glb", "tea.stl"]


def scenario_only_formats_that_the_engine_writes_are_offered(tools):
    offered = tools.part("ui.file_operators").offered
    bpy.ops.gp3d.generate(class_name="teapot", seed=5)
    assert [name for name, *_ in offered(None, bpy.context)] == ["glb", "obj", "ply", "stl"]
    for call, words in (
        (lambda: bpy.ops.gp3d.export(filepath=""), "Choose a file first"),
        (lambda: bpy.ops.gp3d.export(filepath=str(tools.folder / "a cup!.glb")), "letters, digits"),
        (lambda: bpy.ops.gp3d.export(filepath=str(tools.folder / "cup.usdz")), "usdz"),
        (lambda: bpy.ops.gp3d.export(filepath=str(tools.folder / "cup.fbx")), "writes no .fbx"),
    ):
        refusal = tools.refusal(RuntimeError, call)
        assert words in refusal, (words, refusal)
    bpy.ops.gp3d.sample(name="teapot")
    assert not bpy.ops.gp3d.export.poll()


def scenario_an_object_is_made_again_by_its_own_model(tools):
    tools.use("several")
    bpy.ops.gp3d.generate(class_name="horse", seed=4)
    obj = bpy.context.active_object
    assert json.loads(obj["gp3d"])["recipe"]["asked_of"] == ""
    assert bpy.ops.gp3d.regenerate(higher=False) == {"FINISHED"}
    assert json.loads(obj["gp3d"])["recipe"]["asked_of"] == "zoo" * 8
    tools.use("good")  # an engine of before, which would refuse the field
    recipe = json.loads(obj["gp3d"])
    recipe["request"]["class"] = "n03063599"
    obj["gp3d"] = json.dumps(recipe)
    assert bpy.ops.gp3d.regenerate(higher=False) == {"FINISHED"}


def scenario_a_linked_object_is_left_alone_and_its_remedy_named(tools):
    """Blender lets a script change what another file owns, and forgets it when the file is opened again."""
    tools.use("good")
    bpy.ops.gp3d.generate(class_name="coffee mug", seed=4)
    folder, name = tools.folder, bpy.context.active_object.name
    bpy.data.libraries.write(str(folder / "owner.blend"), {bpy.context.active_object})
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(folder / "owner.blend"), link=True) as (_, into):
        into.objects = [name]
    linked = into.objects[0]
    local = linked.copy()  # of the mesh that still is the other file's
    for obj in (linked, local):
        bpy.context.scene.collection.objects.link(obj)
        obj.select_set(True)
        bpy.context.view_layer.objects.active = obj
        mesh = obj.data
        calls = (bpy.ops.gp3d.regenerate, bpy.ops.gp3d.show_trust)
        for call in (*calls, lambda: bpy.ops.gp3d.save_to_library(folder=str(folder / "assets"))):
            refusal = tools.refusal(RuntimeError, call)
            assert "is linked from another file: Object > Relations > Make Local > All" in refusal, refusal
        assert obj.data == mesh
        assert not (folder / "assets").exists()
        obj.select_set(False)
    local.data = mesh.copy()
    assert bpy.ops.gp3d.regenerate() == {"FINISHED"}
    assert local.data.library is None
