"""How a training begins and ends: signals, memory, the line about the ending and the phase in status.json."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError
from gp3d_core.distributed import World
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training import launch as launching
from gp3d_core.training.launch import Ending, Plan, launch
from gp3d_core.training.loop import Budget, Task
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.training.step import StepLog
from tests.core.training.test_processes import torchrun
from tests.support.tasks import Small


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(RunMonitor, "picture", lambda _: None)


class Signalled:
    """A task that sends its own process a signal in the step that ends at `nimg`."""

    def __init__(self, task: Task, nimg: int, number: int = signal.SIGINT) -> None:
        self._task, self._nimg, self._number = task, nimg, number

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    def steps(self) -> Iterator[StepLog]:
        for log in self._task.steps():
            if self._task.state.nimg == self._nimg:
                os.kill(os.getpid(), self._number)
            yield log


def plan_of(small: Small, *changes: str, wrap: Callable[[Task], Task] = lambda task: task) -> Plan:
    """A plan of the training `small`, whose task `wrap` may change."""

    def open_task(folder: RunFolder, here: World, _budget: Budget) -> Task:
        return wrap(small.open_task(folder, here, *changes))

    return Plan(
        config=small.decisive(*changes),
        schedule=small.schedule(*changes),
        fingerprint=small.data().fingerprint,
        open_task=open_task,
        less_memory="a smaller batch",
        check_share=lambda processes: None,
        unit="objects" if small.kind == "ground" else "images",
    )


def go(plan: Plan, run: Path, minutes: float = float("inf")) -> Ending:
    return launch(plan, run, device="cpu", max_minutes=minutes)


def phase(run: Path) -> str:
    return str(json.loads((run / "status.json").read_text())["phase"])


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small("prior", tmp_path_factory.mktemp("prior")).write()


def test_what_comes_before_the_first_step_is_interrupted_at_once(prior: Small, tmp_path: Path) -> None:
    """There, whole data sets may be encoded; nothing would be saved that is not saved anyway."""

    def interrupted(task: Task) -> Task:
        os.kill(os.getpid(), signal.SIGINT)
        return task

    with pytest.raises(KeyboardInterrupt):
        go(plan_of(prior, wrap=interrupted), tmp_path / "run")


def test_memory_that_runs_out_before_the_first_step_is_not_blamed_on_the_batch(
    prior: Small, tmp_path: Path
) -> None:
    def full(_task: Task) -> Task:
        raise torch.OutOfMemoryError

    with pytest.raises(ConfigError, match=r"^out of memory before the first step: .*`device` cpu$"):
        go(plan_of(prior, wrap=full), tmp_path / "run")


def test_a_grounding_that_is_interrupted_in_its_last_step_is_not_done(tmp_path: Path) -> None:
    """Its snapshot is fitted when the run is over; the same command does that."""
    small, run = Small("ground", tmp_path).write(), tmp_path / "run"
    stopped = go(plan_of(small, wrap=lambda task: Signalled(task, 24)), run)
    words = "stopped at 24 of 24 objects; the same command goes on"
    words += ", with `max_minutes` 0 it makes a model of what was learnt"
    assert stopped == Ending(words, 130, None)
    assert phase(run) == "interrupted"
    done = go(plan_of(small), run)
    assert done == Ending("done at 24 objects", 0, RunFolder(run).snapshot_path(24))
    assert phase(run) == "done"


def test_a_run_whose_minutes_ran_out_is_not_done(prior: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ending = go(plan_of(prior), run, minutes=1e-9)
    assert ending.message.startswith("time is up (1e-09 min) at 4 of 24 images")
    assert (ending.exit_code, phase(run)) == (0, "time is up")
    assert go(plan_of(prior), run).message == "done at 24 images"
    assert phase(run) == "done"


@dataclass(frozen=True)
class Noting(World):
    """One process that notes what SIGTERM would do while it waits for others."""

    handlers: list[object] = field(default_factory=list)

    def barrier(self) -> None:
        self.handlers.append(signal.getsignal(signal.SIGTERM))

    def largest_numbers(self, *values: float) -> list[float]:
        self.barrier()
        return super().largest_numbers(*values)


def test_a_second_sigterm_ends_no_process_that_waits_for_the_leaders_snapshot(
    prior: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, before = Noting(), signal.getsignal(signal.SIGTERM)

    @contextmanager
    def world(_device: str) -> Iterator[World]:
        yield here

    monkeypatch.setattr(launching, "world", world)
    go(plan_of(prior), tmp_path / "run")
    assert len(here.handlers) > 3
    assert here.handlers[-1] != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("images", [1001, 2007, 2047, 4001, 4014])
def test_thousands_of_images_are_whole_images(images: int) -> None:
    schedule = Schedule(
        kimg=images / 1000, status_kimg=1, snapshot_kimg=1, checkpoint_kimg=1, max_rollbacks=1
    )
    assert schedule.images == images


def test_a_run_takes_no_step_beyond_its_images(prior: Small, tmp_path: Path) -> None:
    """1000 · 2.007 is more than 2007 in floating point."""
    assert 1000 * 2.007 > 2007
    ending = go(plan_of(prior, "kimg=2.007", "batch=2007"), tmp_path / "run")
    assert ending.message == "done at 2007 images"


JOB = """
import signal, sys, torch
from pathlib import Path
from tests.core.training.test_launch import Signalled, go, plan_of
from tests.support.tasks import Small
from gp3d_core.distributed import place
torch.set_num_threads(1)
small, run = Small("prior", Path(sys.argv[1])), Path(sys.argv[2])
hit = lambda task: Signalled(task, 8, signal.SIGTERM) if place()[0] == 1 else task
ending = go(plan_of(small, wrap=hit), run)
(run / f"{place()[0]}.txt").write_text(f"{ending.exit_code} {ending.message}")
"""


@pytest.mark.slow
def test_all_processes_say_that_one_of_them_was_stopped(prior: Small, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    torchrun(2, str(tmp_path / "job.py"), str(prior.folder), str(tmp_path / "run"))
    for rank in (0, 1):
        line = (tmp_path / f"run/{rank}.txt").read_text()
        assert line == "143 stopped at 8 of 24 images; the same command goes on"
    assert phase(tmp_path / "run") == "interrupted"
