# ruff: noqa: F811
"""The worker's jobs: one at a time, in order, each ended once, and cancelled in any state."""

import json
import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from gp3d_core.meshing.texture.unwrap import unwrap
from gp3d_core.signals import no_progress
from gp3d_core.worker.job_queue import QUEUE, Job
from gp3d_core.worker.model_session import ModelSession, PlaneCache
from gp3d_core.worker.protocol import Problem, read_request
from tests.support.serving import (
    FINAL,
    LONG,
    desk_and_events,
    mesh_line,
    shared,  # noqa: F401
    snapshot,  # noqa: F401
    until,
)

pytestmark = pytest.mark.slow


def runs_in(events):
    """The ids of the jobs that were started, in order; no two of them at a time, and no other is heard of."""
    running, started = None, []
    for event in events:
        if event["event"] == "started":
            assert running is None
            running = event["id"]
            started.append(running)
        elif event["event"] in ("progress", "preview"):
            assert event["id"] == running
        elif event["event"] in FINAL and event["id"] == running:
            running = None
    return started


def test_jobs_run_one_at_a_time_in_order_and_end_once(shared, tmp_path):
    dice, names = random.Random(3), []
    since = len(shared.events)
    for _ in range(60):
        spec = {"class": "mushroom", "dir": str(tmp_path)}
        match dice.randrange(7):
            case 0 | 1 | 2:
                names.append(shared.send("preview", **spec, seeds=[0, 1], resolution=16))
            case 3:
                names.append(shared.send("mesh", **spec, seed=0, grid=10, color="none"))
            case 4:
                names.append(shared.send("cancel", target=dice.choice(names or ["none"])))
            case 5:
                names.append(shared.send("status"))
            case 6:
                names.append(shared.send("mesh", **spec, seed="bad"))
    for name in names:
        shared.final(name)
    events = shared.events[since:]
    started = runs_in(events)
    accepted = [e["id"] for e in events if e["event"] == "accepted"]
    assert len(started) > 15
    assert started == [name for name in accepted if name in set(started)]
    for name in names:
        kinds = [e["event"] for e in shared.of(name)]
        assert sum(kind in FINAL for kind in kinds) == 1
        assert kinds[-1] in FINAL
        if kinds[0] == "accepted":
            assert "started" in kinds or shared.final(name)["code"] in ("E_CANCELLED", "E_BUSY")


def test_a_job_that_runs_beats_and_can_be_cancelled(shared, tmp_path):
    since = len(shared.events)
    name = shared.send("preview", **LONG, dir=str(tmp_path))
    beat = shared.wait("status", since, state="busy")
    assert (beat["job"]["id"], beat["job"]["op"]) == (name, "preview")
    answer = shared.ask("cancel", target=name)
    assert answer["state"] == "running"
    assert shared.final(name)["code"] == "E_CANCELLED"
    told = shared.events.index(answer)
    late = [event for event in shared.of(name, "preview") if shared.events.index(event) > told]
    assert len(late) <= 1, "more was finished than the picture that was being written"
    assert len(shared.of(name, "preview")) == len(list(tmp_path.iterdir())) < 64
    assert shared.ask("cancel", target=name)["state"] == "finished"
    assert shared.ask("cancel", target="never heard of")["state"] == "unknown"
    assert shared.ask("status")["state"] == "idle"


def test_a_picture_is_left_at_the_first_chunk_after_a_cancel(snapshot, tmp_path):
    job, chunks = Job(read_request(mesh_line()), "m"), []

    def check():
        chunks.append(len(chunks))
        if len(chunks) == 3:
            job.cancelled.set()
        job.check()

    session = ModelSession(snapshot, "cpu", PlaneCache(0), job.check)
    obj, _ = session.generated(session.specs("mushroom", [0])[0][0], 0.7)
    session = ModelSession(snapshot, "cpu", PlaneCache(0), check)
    with pytest.raises(Problem, match="cancelled"):
        session.preview(obj, {"resolution": 1024, "dir": tmp_path}, 0.0)
    assert chunks == [0, 1, 2]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["density", "surface", "atlas", "texels", "color", "write"])
def test_a_mesh_cancelled_in_any_stage_writes_nothing(shared, tmp_path, stage):
    since = len(shared.events)
    name = shared.send(
        "mesh", **{"class": "mushroom"}, seed=1, grid=64, faces=2000, texture_size=512, dir=str(tmp_path)
    )
    shared.wait("progress", since, id=name, stage=stage)
    state = shared.ask("cancel", target=name)["state"]
    end = shared.final(name)
    if state == "running":
        assert end["code"] == "E_CANCELLED"
        assert until(lambda: not list(tmp_path.iterdir()), 1.0)
    else:
        assert (state, end["event"]) == ("finished", "result")


def test_a_cancel_wins_until_the_result_is_said(snapshot, tmp_path):
    published = []
    with desk_and_events() as (queue, events):
        queue.accept(Job(read_request(mesh_line()), "m"))
        job = queue.take(0)
        queue.cancel("m", published.append)
        with pytest.raises(Problem, match="cancelled") as problem:
            queue.finish(job, {}, lambda: published.append("files"))
        queue.fail(job, problem.value)
        queue.cancel("m", published.append)
    assert [(e["event"], e.get("code")) for e in events][-1] == ("error", "E_CANCELLED")
    assert published == ["running", "finished"]

    def refuse(*_):
        raise problem.value

    session = ModelSession(snapshot, "cpu", PlaneCache(0), lambda: None)
    obj, _ = session.generated(session.specs("mushroom", [0])[0][0], 0.7)
    options = {**read_request(mesh_line(grid=12, color="none")).options, "dir": tmp_path}
    with pytest.raises(Problem):
        session.mesh(obj, options, no_progress, refuse)
    assert not list(tmp_path.iterdir())


def test_waiting_jobs_can_be_cancelled_and_the_queue_is_bounded(shared, tmp_path):
    running = shared.send("preview", **LONG, dir=str(tmp_path))
    shared.wait("started", id=running)  # until then it takes a place in the queue itself
    spec = {"class": "mushroom", "seeds": [0], "dir": str(tmp_path)}
    waiting = [shared.send("preview", **spec) for _ in range(QUEUE)]
    assert shared.ask("preview", **spec)["code"] == "E_BUSY"
    twice = len(shared.events)
    shared.raw(json.dumps({"id": running, "op": "status"}).encode() + b"\n")
    assert shared.wait("error", twice, id=None)["code"] == "E_PROTOCOL"
    assert not shared.of(running, *FINAL), "a second request took the id of the first one"
    assert shared.ask("status")["queued"] == waiting
    for name in waiting:
        cancel = shared.send("cancel", target=name)
        assert shared.final(cancel)["state"] == "queued"
        assert shared.of(name, *FINAL)[0]["code"] == "E_CANCELLED"
        assert shared.events.index(shared.of(name, *FINAL)[0]) < shared.events.index(shared.final(cancel))
        assert not shared.of(name, "started")
    assert shared.ask("cancel", target=running)["state"] == "running"
    shared.final(running)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_child_that_makes_an_atlas_ends_when_its_job_is_cancelled():
    children = set()

    def cancel_when_it_works(*_step):
        children.update(children_of_this_process())
        if children - others:
            raise Problem("E_CANCELLED", "", "")

    others = children_of_this_process()
    dice = np.random.default_rng(0)
    vertices = dice.random((2000, 3)).astype(np.float32)
    faces = dice.integers(0, 2000, (20000, 3)).astype(np.int32)
    with pytest.raises(Problem):
        unwrap(vertices, faces, size=512, seconds=60, progress=cancel_when_it_works)
    assert children - others
    assert not (children - others) & children_of_this_process()


def children_of_this_process():
    """Numbers of the processes that this one has started and not yet taken leave of."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == os.getpid():
                found.add(int(folder.name))
    return found
