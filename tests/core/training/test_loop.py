"""The training loop with all four of its tasks: exact resume, the way back from anything broken, only finite files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file

from gp3d_core.cli.main import main
from gp3d_core.snapshots.run_folder import RunError
from gp3d_core.training import loop
from gp3d_core.training.checkpointing import TrainingFailed
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.training.step import StepLog, TrainableState
from tests.support.micro import StopAfter, assert_same, finish, moments_of, weights_of
from tests.support.tasks import KINDS, Small

Fault = Callable[[TrainableState, StepLog], StepLog]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(RunMonitor, "picture", lambda _: None)


@pytest.fixture(scope="module", params=KINDS)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(request.param, tmp_path_factory.mktemp(request.param)).write()


class Faulty:
    """A task with a `fault` after the steps for which `when` holds."""

    def __init__(self, task: loop.Task, fault: Fault, when: Callable[[TrainableState], bool]) -> None:
        self._task, self._fault, self._when = task, fault, when

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    def steps(self) -> Iterator[StepLog]:
        for log in self._task.steps():
            state = self._task.state
            yield self._fault(state, log) if self._when(state) else log


def once_at(nimg: int) -> Callable[[TrainableState], bool]:
    return lambda state: state.nimg == nimg and state.rollbacks == 0


def in_loss(state: TrainableState, log: StepLog) -> StepLog:
    return replace(log, known={**log.known, "made up": math.nan})


def in_weights(value: float, name: str | None = None) -> Fault:
    def spoil(state: TrainableState, log: StepLog) -> StepLog:
        module = state.modules[name or next(iter(state.modules))]
        next(p for p in module.parameters() if p.numel() > 1).data.flatten()[0] = value
        return log

    return spoil


def in_moments(state: TrainableState, log: StepLog) -> StepLog:
    optimizer = next(iter(state.optimizers.values()))
    moments = next(m for m in optimizer.state.values() if "exp_avg" in m)
    moments["exp_avg"].flatten()[0] = math.inf
    return log


def in_counts(state: TrainableState, log: StepLog) -> StepLog:
    for optimizer in state.optimizers.values():
        count = next(iter(optimizer.state.values()))["step"]
        if torch.is_tensor(count):
            count.fill_(-1e30)
        else:  # what a file may say as well
            next(iter(optimizer.state.values()))["step"] = -(10**30)
    return log


def as_skipped(state: TrainableState, log: StepLog) -> StepLog:
    return replace(log, values=torch.cat([log.values[:-1], torch.ones(1)]))


FAULTS = {
    "loss": in_loss,
    "weight": in_weights(math.nan),
    "infinite weight": in_weights(-math.inf),
    "average": in_weights(math.nan, "ema"),  # which no loss ever sees
    "huge average": in_weights(1e30, "ema"),
    "moment": in_moments,
    "count of steps": in_counts,
}


def assert_finite_files(run: Path) -> None:
    files = [*run.glob("checkpoints/*.safetensors"), *run.glob("snapshots/*.safetensors")]
    assert files
    for path in files:
        for name, tensor in load_file(path).items():
            assert not tensor.is_floating_point() or torch.isfinite(tensor).all(), (path.name, name)


@pytest.mark.slow
@pytest.mark.parametrize("diverges", [False, True])
@pytest.mark.parametrize("looks", [1, 3])
def test_resumed_run_equals_one_that_never_stopped(
    small: Small, tmp_path: Path, looks: int, diverges: bool
) -> None:
    """Also when both diverge at 12 images, wherever the one was stopped."""

    def go(path: Path, stop: StopAfter | None = None) -> TrainableState:
        task = small.begin(path)
        task = Faulty(task, in_loss, once_at(12)) if diverges else task
        return finish(task, task.monitor.folder, stop)

    whole, stopped = go(tmp_path / "whole"), go(tmp_path / "parts", StopAfter(looks))
    assert 0 < stopped.nimg < whole.nimg
    resumed = go(tmp_path / "parts")
    assert resumed.nimg == whole.nimg == 24
    assert resumed.rollbacks == whole.rollbacks == int(diverges)
    assert_same(weights_of(resumed), weights_of(whole))
    assert_same(moments_of(resumed), moments_of(whole))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "every"),  # checkpoints after every, every second and every fifth step
    [
        ("loss", "0.02"),
        ("weight", "0.004"),
        ("infinite weight", "0.008"),
        ("average", "0.004"),
        ("average", "0.02"),
        ("huge average", "0.008"),
        ("moment", "0.008"),
        ("count of steps", "0.02"),
    ],
)
def test_run_recovers_from_what_breaks_once_and_saves_nothing_broken(
    small: Small, tmp_path: Path, fault: str, every: str
) -> None:
    task = small.begin(tmp_path / "run", f"checkpoint_kimg={every}", "snapshot_kimg=0.012")
    state = finish(Faulty(task, FAULTS[fault], once_at(12)), task.monitor.folder)
    assert (state.nimg, state.rollbacks) == (24, 1)
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    (event,) = (line for line in lines if line.get("event") == "rollback")
    assert event["nimg"] < 12 <= event["diverged_at"]
    assert any(
        words in event["reason"]
        for words in ("is not finite", " is nan", " is inf", "reaches 1e+30", "be computed")
    )
    assert_finite_files(tmp_path / "run")


def test_run_that_breaks_again_and_again_gives_up_in_one_line(small: Small, tmp_path: Path) -> None:
    task = small.begin(tmp_path / "run", "training.max_rollbacks=1", "checkpoint_kimg=0.004")
    with pytest.raises(TrainingFailed, match=r"diverged 2 times, last at \d+ images") as failure:
        finish(Faulty(task, in_weights(math.nan), lambda state: state.nimg > 4), task.monitor.folder)
    assert "\n" not in str(failure.value)
    assert str(failure.value).endswith(task.remedy)
    assert "the last good state is" in str(failure.value)
    assert failure.value.exit_code == 5
    assert_finite_files(tmp_path / "run")


def test_start_that_is_not_finite_is_refused(small: Small, tmp_path: Path) -> None:
    task = small.begin(tmp_path / "run")
    in_weights(math.nan)(task.state, None)
    with pytest.raises(TrainingFailed, match=r"begins with cannot be trained: .* is not finite"):
        finish(task, task.monitor.folder)
    assert not task.monitor.folder.list_checkpoints()


def test_divergence_without_a_checkpoint_is_a_failure(small: Small, tmp_path: Path) -> None:
    task = small.begin(tmp_path / "run")

    def lost(state: TrainableState, log: StepLog) -> StepLog:
        for path in task.monitor.folder.list_checkpoints():
            path.unlink()
        return in_loss(state, log)

    with pytest.raises(TrainingFailed, match=r"diverged at 4 images .* is empty"):
        finish(Faulty(task, lost, once_at(4)), task.monitor.folder)


def test_nothing_is_saved_while_steps_are_skipped(small: Small, tmp_path: Path, monkeypatch) -> None:
    """What was due at 8 and 12 images is saved at 16, and a run does not end with a skipped step."""
    saved, write = [], loop.write_checkpoint
    monkeypatch.setattr(
        loop, "write_checkpoint", lambda state, *rest: saved.append(state.nimg) or write(state, *rest)
    )
    task = small.begin(tmp_path / "run", "checkpoint_kimg=0.004")
    skips = Faulty(task, as_skipped, lambda state: state.rollbacks == 0 and state.nimg in (8, 12, 24))
    state = finish(skips, task.monitor.folder)
    assert (state.nimg, state.rollbacks) == (24, 1)
    assert saved == [4, 16, 20, 24, 24]


def test_run_interrupted_while_steps_are_skipped_goes_on_from_before(small: Small, tmp_path: Path) -> None:
    def go(path: Path, stop: StopAfter | None = None) -> TrainableState:
        task = small.begin(path, "checkpoint_kimg=0.004")
        return finish(
            Faulty(task, as_skipped, lambda state: state.nimg in (8, 12)), task.monitor.folder, stop
        )

    whole, stopped = go(tmp_path / "whole"), go(tmp_path / "parts", StopAfter(2))
    assert stopped.nimg == 4
    resumed = go(tmp_path / "parts")
    assert (resumed.nimg, resumed.rollbacks, whole.rollbacks) == (24, 0, 0)
    assert_same(weights_of(resumed), weights_of(whole))


def test_run_leaves_curves_status_and_a_snapshot(small: Small, tmp_path: Path) -> None:
    task = small.begin(tmp_path / "run")
    finish(task, task.monitor.folder)
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["phase"], status["nimg"], status["rollbacks"]) == ("done", 24, 0)
    assert status["last_good"] == "checkpoint-0000000024.safetensors"
    assert list((tmp_path / "run/tensorboard").iterdir())
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    reports = [line for line in lines if "skipped_steps" in line]
    assert [line["nimg"] for line in reports] == [8, 16, 24]
    assert task.monitor.folder.snapshot_path(24).exists()


def test_a_run_that_is_done_leaves_its_snapshot_as_it_is_and_mends_a_broken_one(
    small: Small, tmp_path: Path
) -> None:
    """Scores and recipes name snapshots by their bytes."""

    path = tmp_path / "run/snapshots/snapshot-000000.01.safetensors"

    def again() -> int:
        task = small.begin(tmp_path / "run", "kimg=0.012")
        finish(task, task.monitor.folder)
        return path.stat().st_mtime_ns

    first, tensors = again(), load(path.read_bytes())
    assert again() == first
    path.write_bytes(path.read_bytes()[:100])
    again()
    assert_same(load(path.read_bytes()), tensors)


def test_processes_that_cannot_share_a_batch_are_refused_before_anything_is_made(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert main(small.command(tmp_path / "run")) == 2
    assert "batch 4 cannot be shared by 3 processes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_second_process_touches_nothing_of_a_run_that_goes_on(small: Small, tmp_path: Path) -> None:
    first = small.begin(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="another process is training"):
        small.begin(tmp_path / "run", "training.seed=5")
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    del first
