"""How every training begins and ends: data checked, folder claimed, processes joined, one line about the ending."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError
from gp3d_core.distributed import World, place, world
from gp3d_core.errors import spell
from gp3d_core.signals import interruptible
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.loop import Budget, End, Task, run

_NO_ROOM = "free memory of the device, choose a smaller model, or `device` cpu"


@dataclass(frozen=True)
class Plan:
    """What a training needs to begin.

    config: the configuration dataclass that decides the run; its folder belongs to no other. fingerprint: of the data.
    check_share(processes): raises ConfigError when so many cannot share a batch.
    check_data(rank, size): reads this process's share of data that no run of the folder has seen; raises a GP3DError.
    open_task(folder, world, budget): the task, called when the folder is claimed.
    less_memory: what to change when memory runs out. init: the snapshot file that a fresh run begins with.
    """

    config: Any
    schedule: Schedule
    fingerprint: str
    open_task: Callable[[RunFolder, World, Budget], Task]
    less_memory: str
    check_share: Callable[[int], None]
    check_data: Callable[[int, int], None] = lambda rank, size: None
    unit: str = "images"
    init: Path | None = None


@dataclass(frozen=True)
class Forecast:
    """What is left of a run: images (or whatever its `unit`) to see, and seconds that this machine needs, roughly."""

    images: int
    seconds: float
    unit: str = "images"


@dataclass(frozen=True)
class Ending:
    """How a run ended: a line for people, the exit code, and the snapshot that it left, if any."""

    message: str
    exit_code: int
    snapshot: Path | None

    def show(self, name_of: Callable[[str], str] = "`{}`".format) -> int:
        """The exit code; the leading process prints the line to stderr and the snapshot's path to stdout.

        Parameters in the line are called as `name_of` has them.
        """
        if place()[0] > 0:
            return self.exit_code
        message = spell(self.message, name_of)
        print(message if self.snapshot is None else f"{message}; snapshot:", file=sys.stderr)
        if self.snapshot is not None:
            print(self.snapshot)
        return self.exit_code


def launch(plan: Plan, path: Path, *, device: str, max_minutes: float) -> Ending:
    """How the training of `plan` in the folder at `path` ended; it goes on from what is there.

    `device` is "cpu" or "cuda". Raises a GP3DError for anything wrong with data or folder, before any training.
    """
    folder, budget = RunFolder(path), Budget(plan.schedule.images, max_minutes)
    folder.check_config(
        plan.config
    )  # first: what else is wrong may only be so because the folder is another run's
    plan.check_share(place()[1])
    if folder.data_fingerprint() != plan.fingerprint:  # a run that goes on has checked its data before
        plan.check_data(*place())
    with world(device) as here:
        if here.device.type == "cpu":
            _keep_freed_memory()
        if here.leads:
            folder.claim(plan.config, plan.fingerprint, plan.init)
        here.barrier()
        with _memory("before the first step", _NO_ROOM):  # nothing is to be saved yet, a signal acts as usual
            task = plan.open_task(folder, here, budget)
        with _memory("in training", plan.less_memory), interruptible() as interruption:
            end = run(task, folder, here, interruption, budget)
            # waits until the leading process has saved the snapshot, and gives all the exit code of any
            (exit_code,) = here.largest_numbers(interruption.exit_code)
        snapshot = folder.snapshot_path(task.state.nimg)
        message = ending(plan, end, task.state.nimg, max_minutes)
        if snapshot.exists():
            return Ending(message, int(exit_code), snapshot)
        return Ending(
            f"{message}, with `max_minutes` 0 it makes a model of what was learnt", int(exit_code), None
        )


def images_to_forecast(folder: RunFolder, here: World, budget: Budget) -> int:
    """Images that a run on the CPU alone has left, which takes long enough to say so; else, and without time, 0."""
    if here.size > 1 or here.device.type != "cpu" or folder.training_seconds() >= 60 * budget.minutes:
        return 0
    return max(budget.images - folder.images_seen(), 0)


@contextmanager
def _memory(when: str, remedy: str) -> Iterator[None]:
    """A block in which running out of the device's memory is a ConfigError that ends with the `remedy`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(f"out of memory {when}: {remedy}") from error


def ending(plan: Plan, end: End, nimg: int, max_minutes: float) -> str:
    """How a run ended after `nimg` images, and how it would go on, in one line."""
    total, unit = plan.schedule.images, plan.unit
    if end == "done":
        return f"done at {nimg} {unit}"
    if end == "interrupted":
        return f"stopped at {nimg} of {total} {unit}; the same command goes on"
    return f"time is up ({max_minutes:g} min) at {nimg} of {total} {unit}; the same command with more goes on"


# mallopt's parameters, from glibc's malloc.h
_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_MAX = -4
_PAD = 64 * 2**20  # bytes


def _keep_freed_memory() -> bool:
    """Whether freed memory stays with the process from now on, as glibc can be told to; with others nothing changes.

    By default every large tensor is mapped anew and given back at once, so that the system has to clear its pages
    again and again: an eighth of a step's time.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, _PAD))
    accepted = [mallopt(name, value) for name, value in settings]  # each is made, whatever the others say
    return all(accepted)
