"""Shards, locks, failures and worker processes, without Blender: a stand-in program speaks the worker's language."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthetic import render
from synthetic.dataset import Settings
from synthetic.layouts.shapenet import Model, ObjectClass
from synthetic.staging.treatment import ModelLimits
from synthetic.workers.blender_process import StopRequest
from synthetic.workers.executors import LocalExecutor
from synthetic.workers.run import (
    FailureLog,
    RunError,
    RunResult,
    Shard,
    ShardLock,
    StopPolicy,
    merge_failures,
    plan,
    run_jobs,
)
from synthetic.workers.scratch import Scratch, remove_leftovers
from synthetic.workers.worker import RenderJob, RenderSpec
from synthetic.workers.worker_process import BlenderError, Outcome, RestartPolicy, WorkerProcess
from tests.synthetic.small_library import REPOSITORY

MUG = ObjectClass("n03797390", "mug", None, "03797390")
STAND_IN = """
import json, os, signal, sys, time
ONCE = ("stumbles", 0), ("blinks", 1)
tell = lambda event, **facts: print(json.dumps({"event": event, **facts}), flush=True)
order, started = json.loads(sys.stdin.readline()), False
for line in sys.stdin:
    job = json.loads(line)
    name = job["model"]["key"].partition("/")[2]
    open(os.path.join(order["out"], "log"), "a").write(f"{name} {os.getpid()}\\n")
    if not started:
        tell("starting")
        if name == "unusable":
            sys.exit("no Blender here")
        once = os.path.join(order["out"], name)
        if name in ("unlucky", "choosy") and not os.path.exists(once):
            open(once, "w").close()
            if name == "choosy":
                sys.exit("not this one")
            os.kill(os.getpid(), signal.SIGKILL)  # somebody kills the worker while it starts
        if name == "doomed":
            os.kill(os.getpid(), signal.SIGKILL)
        tell("ready")
        started = True
    if name == "hangs":
        time.sleep(600)
    for view in job["views"]:
        open(os.path.join(order["out"], "views"), "a").write(f"{view}\\n")
        if name == "blinks" and view % 2 == 0:
            tell("blank", reason=f"view {view:03d} shows nothing of it")
        else:
            tell("view", seconds={"render": 1.0})
        once = os.path.join(order["out"], name)
        if name == "crashes" or (name, view) in ONCE and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("shot") and not os.path.exists(once + str(view)):
            open(once + str(view), "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "hunted":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "large":
            tell("full", reason="mug.png: No space left on device")
        if name == "starved" and not os.path.exists(once):
            open(once, "w").close()
            raise MemoryError
        if name == "asked" and view == 1 and not os.path.exists(once):
            open(once, "w").close()  # as the worker does when somebody sends it SIGTERM
            tell("stopped")
            sys.exit()
        time.sleep(0.3 if name == "slow" else 0)
    tell("failed", reason="ugly") if name.startswith("ugly") else tell("done", megabytes=9000 * (name == "greedy"))
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RenderSpec:
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # TMPDIR is looked at once only
    return RenderSpec(tmp_path, Settings(), ModelLimits(), 1)


def stand_in(spec: RenderSpec) -> list[str]:
    return [sys.executable, str(spec.out / "stand_in.py")]


def job(name: str, views: int = 2) -> RenderJob:
    return RenderJob(Model(f"03797390/{name}", Path("nowhere"), MUG), tuple(range(views)))


def log(spec: RenderSpec) -> list[list[str]]:
    return [line.split() for line in (spec.out / "log").read_text().splitlines()]


@pytest.fixture
def place(spec: RenderSpec) -> Iterator[WorkerProcess]:
    held = WorkerProcess(spec, RestartPolicy(model_seconds=1.5, models=3), stand_in(spec))
    yield held
    held.close()
    assert not list(spec.out.glob("gp3d-render-*"))


def test_shards_part_every_library_without_gap_or_overlap() -> None:
    keys = [f"03797390/{number}" for number in range(3000)]
    for count in (1, 2, 3, 7):
        holders = [[shard for shard in range(1, count + 1) if Shard(shard, count).holds(key)] for key in keys]
        assert all(len(holder) == 1 for holder in holders)
        sizes = [sum(holder == [shard] for holder in holders) for shard in range(1, count + 1)]
        assert min(sizes) > 0.85 * 3000 / count
    assert all(Shard(1, 2).holds(key) == (Shard(1, 4).holds(key) or Shard(2, 4).holds(key)) for key in keys)
    assert Shard(2, 4).holds("03797390/0") is False  # a later version must part the same
    assert Shard.parse("2/8") == Shard(2, 8)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "-1/2", "1/0"])
def test_impossible_shards_raise(text: str) -> None:
    with pytest.raises(ValueError, match="shard"):
        Shard.parse(text)


def lock_elsewhere(folder: Path, shard: str) -> subprocess.Popen[str]:
    program = (
        f"import sys; from pathlib import Path; from synthetic.workers.run import Shard, ShardLock, RunError\n"
        f"try:\n    with ShardLock(Path({str(folder)!r}), Shard.parse({shard!r})):\n"
        f"        print('mine', flush=True); sys.stdin.read()\nexcept RunError as error: print(error)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process


def test_two_processes_cannot_lock_the_same_models_but_shards_can_share(tmp_path: Path) -> None:
    holder = lock_elsewhere(tmp_path, "1/2")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"
    for shard in (Shard(1, 1), Shard(1, 2), Shard(2, 4), Shard(2, 3)):
        with pytest.raises(RunError, match="another process is rendering"), ShardLock(tmp_path, shard):
            pass
    with ShardLock(tmp_path, Shard(2, 2)) as lock, lock.index():
        assert (tmp_path / ".lock").exists()
    assert (tmp_path / ".lock").exists()  # the other is still at work
    holder.kill()
    holder.wait()
    with ShardLock(tmp_path, Shard()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_journal_survives_a_kill_and_is_taken_over_by_whom_it_concerns(tmp_path: Path) -> None:
    FailureLog(tmp_path, Shard(2, 4)).add("03797390/a", "is empty")
    with (tmp_path / ".failures-2-of-4.jsonl").open("a") as file:
        file.write('{"model": "03797390/b", "rea')  # killed in the middle of it
    assert FailureLog(tmp_path, Shard(2, 2)).unindexed() == {}
    for shard in (Shard(2, 4), Shard(1, 2), Shard()):
        assert FailureLog(tmp_path, shard).unindexed() == {"03797390/a": "is empty"}
    FailureLog(tmp_path, Shard(2, 2)).clear()
    assert FailureLog(tmp_path, Shard()).unindexed()
    FailureLog(tmp_path, Shard()).clear()
    assert list(tmp_path.iterdir()) == []


def test_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / ".failures-1-of-1.jsonl").write_bytes(b'{"model": "03797390/a", "rea')
    FailureLog(tmp_path, Shard()).add("03797390/b", "is empty")
    assert FailureLog(tmp_path, Shard()).unindexed() == {"03797390/b": "is empty"}


def test_scratch_of_the_dead_goes_and_that_of_the_living_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "from synthetic.workers.scratch import Scratch; print(Scratch().path, flush=True); input()"
    command = [sys.executable, "-c", program]
    owner = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    path = Path(owner.stdout.readline().strip())
    (path / "texture0.png").write_bytes(b"x")
    stranger = tmp_path / "gp3d-render-other"
    stranger.mkdir()
    (tmp_path / f"gp3d-render-{os.getpid()}-x").mkdir()  # its owner lives, and is about to make the lock
    mine = Scratch()
    assert remove_leftovers() == 0
    child = subprocess.Popen(["sleep", "60"], pass_fds=(mine.lock,))
    owner.kill()
    owner.wait()
    early = tmp_path / f"gp3d-render-{owner.pid}-x"  # as if it had died before it made the lock
    early.mkdir()
    assert remove_leftovers() == 2
    assert not path.exists()
    assert not early.exists()
    assert stranger.exists()
    assert mine.path.exists()
    os.close(mine.lock)  # as if its owner had been killed, and its child were still at work
    assert remove_leftovers() == 0
    child.kill()
    child.wait()
    assert remove_leftovers() == 1
    assert not mine.path.exists()


def test_worker_holds_its_scratch_folder_as_long_as_it_lives(spec: RenderSpec, place: WorkerProcess) -> None:
    place.run(job("a"))
    worker = log(spec)[-1][1]
    (folder,) = spec.out.glob("gp3d-render-*")
    held = [os.readlink(link) for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
    assert str(folder / ".lock") in held


def test_plan_leaves_out_what_is_there_and_deals_few_views_at_a_time() -> None:
    models = [job("a").model, job("b").model]
    jobs = plan(models, 20, {"n03797390/a_003", *(f"n03797390/b_{view:03d}" for view in range(20))})
    assert [len(part.views) for part in jobs] == [8, 8, 3]
    assert [view for part in jobs for view in part.views] == [view for view in range(20) if view != 3]


def test_failures_of_models_tried_anew_are_forgotten() -> None:
    result = RunResult(failures={"b": "new"}, tried={"a", "b"})
    assert merge_failures({"a": "old", "b": "old", "c": "old"}, result) == {"b": "new", "c": "old"}


def test_slot_renews_its_blender_after_some_models_and_when_it_has_grown(
    spec: RenderSpec, place: WorkerProcess
) -> None:
    for name in ("a", "b", "c", "d", "greedy", "e"):
        assert place.run(job(name)) == Outcome(f"03797390/{name}", "done", 2, "", {"render": 2.0})
    processes = [process for _, process in log(spec)]
    assert [processes.index(process) for process in processes] == [0, 0, 0, 3, 3, 5]


def test_model_that_kills_blender_gets_one_more_chance(spec: RenderSpec, place: WorkerProcess) -> None:
    assert place.run(job("stumbles", 3)) == Outcome("03797390/stumbles", "done", 3, "", {"render": 3.0})
    outcome = place.run(job("crashes", 3))
    assert (outcome.end, outcome.views) == ("failed", 2)
    assert f"signal {signal.SIGSEGV}" in outcome.reason
    assert place.run(job("a")).end == "done"


def test_crash_after_a_blank_view_repeats_none_and_keeps_the_reason(
    spec: RenderSpec, place: WorkerProcess
) -> None:
    outcome = place.run(job("blinks", 5))  # 0, 2 and 4 are blank; Blender dies after 1
    assert (outcome.end, outcome.views, outcome.seconds) == ("done", 2, {"render": 2.0})
    assert outcome.reason == "view 000 shows nothing of it"
    assert (spec.out / "views").read_text().split() == ["0", "1", "2", "3", "4"]


def test_model_that_hangs_fails_after_its_time(spec: RenderSpec, place: WorkerProcess) -> None:
    start = time.monotonic()
    outcome = place.run(job("hangs"))
    assert time.monotonic() - start > 1.4
    assert (outcome.end, outcome.reason) == ("failed", "took longer than 1.5 s to load or to draw one view")
    hung = int(log(spec)[-1][1])
    with pytest.raises(ProcessLookupError):
        os.kill(hung, 0)
    assert place.run(job("a")).end == "done"
    assert [name for name, _ in log(spec)] == ["hangs", "a"]


@pytest.mark.parametrize("name", ["shot", "unlucky", "starved", "asked"])
def test_kill_from_outside_is_tried_again_and_is_nobodys_fault(
    spec: RenderSpec, place: WorkerProcess, name: str
) -> None:
    assert place.run(job(name, 5)) == Outcome(f"03797390/{name}", "done", 5, "", {"render": 5.0})
    assert (spec.out / "views").read_text().split() == ["0", "1", "2", "3", "4"]


def test_job_whose_blender_is_killed_again_and_again_is_left_for_another_run(
    spec: RenderSpec, place: WorkerProcess
) -> None:
    outcome = place.run(job("doomed"))
    assert (outcome.end, outcome.views) == ("killed", 0)
    assert outcome.reason == "Blender was ended from outside (signal 9)"
    assert [name for name, _ in log(spec)] == ["doomed"] * 3
    assert place.run(job("hunted", 9)).end == "done"  # every time it gets a view further


def test_models_whose_blender_was_killed_are_not_remembered_as_broken(spec: RenderSpec) -> None:
    result, told = run(spec, ["doomed", "a", "shot"], workers=1)
    assert (told, result.failures) == ([], {})
    assert result.killed == {"03797390/doomed": "Blender was ended from outside (signal 9)"}
    assert result.views == 4


def test_missing_blender_is_nobodys_fault(spec: RenderSpec, place: WorkerProcess) -> None:
    with pytest.raises(BlenderError, match="no Blender here"):
        place.run(job("unusable"))


def run(
    spec: RenderSpec, names: list[str], stop_policy: StopPolicy | None = None, workers: int = 2
) -> tuple[RunResult, list[str]]:
    result, told = RunResult(), []
    executor = LocalExecutor(spec, RestartPolicy(model_seconds=30), workers, stand_in(spec))
    with StopRequest() as stop:
        try:
            run_jobs(
                [job(name) for name in names],
                executor,
                stop_policy or StopPolicy(),
                stop,
                result,
                lambda model, reason: told.append(model),
            )
        finally:
            executor.close()
    assert not list(spec.out.glob("gp3d-render-*"))
    return result, told


def test_run_shares_jobs_among_workers_and_remembers_failures(spec: RenderSpec) -> None:
    result, told = run(spec, [*(f"m{number}" for number in range(20)), "ugly", "crashes", "ugly"])
    assert result.views in (44, 46)  # the second ugly one may have begun before the first was known
    assert set(result.failures) == {"03797390/ugly", "03797390/crashes"}
    assert sorted(told) == sorted(result.failures)
    assert len({process for name, process in log(spec) if name.startswith("m")}) == 2
    assert result.end == ""


def test_too_many_failures_end_the_run_but_few_models_never_do(spec: RenderSpec) -> None:
    assert run(spec, [f"ugly{number}" for number in range(40)], workers=1)[0].end == ""
    result, _ = run(spec, [f"ugly{number}" for number in range(200)], workers=1)
    assert result.end == "failures"
    assert 50 <= len(result.tried) < 60
    good = [f"{kind}{number}" for number in range(60) for kind in ("ugly", "fine")]
    assert run(spec, good, StopPolicy(max_failures=0.6))[0].end == ""


def test_time_limit_ends_the_run_after_the_views_at_work(spec: RenderSpec) -> None:
    result, _ = run(spec, ["slow"] * 100, StopPolicy(seconds=1.0))
    assert result.end == "time"
    assert 0 < result.views < 60  # of 200


def test_worker_that_cannot_start_costs_that_worker_and_its_job_goes_to_another(
    spec: RenderSpec, capfd: pytest.CaptureFixture[str]
) -> None:
    result, told = run(spec, ["choosy", "slow", "a", "b"])
    assert (result.views, told, result.failures) == (8, [], {})
    assert "one of 2 workers is lost, the others go on: Blender cannot be started (exit status 1" in (
        capfd.readouterr().err
    )


def test_run_ends_when_no_worker_can_start(spec: RenderSpec) -> None:
    with pytest.raises(BlenderError, match=r"(?s)cannot be started.*no Blender here"):
        run(spec, ["unusable", "unusable", "unusable"])


def test_a_full_disk_ends_the_run(spec: RenderSpec) -> None:
    with pytest.raises(BlenderError, match=r"^mug\.png: No space left on device$"):
        run(spec, ["a", "large", "b"], workers=1)
    assert [name for name, _ in log(spec)] == ["a", "large"]


@pytest.mark.parametrize("numbers", [{"max_failures": 0.0}, {"max_failures": 1.5}, {"seconds": 0.0}])
def test_impossible_patience_raises(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        StopPolicy(**numbers)


def test_rendering_without_blender_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(render, "version", version)
    with pytest.raises(
        BlenderError, match=r"needs the package bpy, which is for Python 3\.11; `make setup-all`"
    ):
        render.generator_facts()
