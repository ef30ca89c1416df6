"""How every training begins and ends: data checked, folder claimed, processes joined, one line about the ending."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError
from gp3d_core.distributed import World, place, world
from gp3d_core.signals import Interruption, interruptible
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.loop import Budget, Task, run


@dataclass(frozen=True)
class Plan:
    """What a training needs to begin.

    config: the configuration dataclass that decides the run; its folder belongs to no other. fingerprint: of the data.
    check_data(rank, size): reads this process's share of data that no run of the folder has seen; raises a GP3DError.
    open_task(folder, world, budget): the task, called when the folder is claimed.
    less_memory: what to change when memory runs out. init: the snapshot file that a fresh run begins with.
    """

    config: Any
    schedule: Schedule
    fingerprint: str
    open_task: Callable[[RunFolder, World, Budget], Task]
    less_memory: str
    check_data: Callable[[int, int], None] = lambda rank, size: None
    unit: str = "images"
    init: Path | None = None


@dataclass(frozen=True)
class Ending:
    """How a run ended: a line for people, the exit code, and the snapshot that it left, if any."""

    message: str
    exit_code: int
    snapshot: Path | None

    def show(self) -> int:
        """The exit code; the leading process prints the line to stderr and the snapshot's path to stdout."""
        if place()[0] > 0:
            return self.exit_code
        print(self.message if self.snapshot is None else f"{self.message}; snapshot:", file=sys.stderr)
        if self.snapshot is not None:
            print(self.snapshot)
        return self.exit_code


def launch(plan: Plan, path: Path, *, device: str, max_minutes: float) -> Ending:
    """How the training of `plan` in the folder at `path` ended; it goes on from what is there.

    `device` is "cpu" or "cuda". Raises a GP3DError for anything wrong with data or folder, before any training.
    """
    folder, budget = RunFolder(path), Budget(1000 * plan.schedule.kimg, max_minutes)
    if folder.data_fingerprint() != plan.fingerprint:  # a run that goes on has checked its data before
        plan.check_data(*place())
    with world(device) as here:
        if here.leads:
            folder.claim(plan.config, plan.fingerprint, plan.init)
        here.barrier()
        with interruptible() as interruption:
            try:
                task = plan.open_task(folder, here, budget)
                run(task, folder, here, interruption, budget)
            except torch.OutOfMemoryError as error:
                raise ConfigError(f"out of memory: {plan.less_memory}") from error
        here.barrier()  # until the leading process has saved the snapshot
        snapshot = folder.snapshot_path(task.state.nimg)
        return Ending(
            ending(plan, task.state.nimg, interruption, max_minutes),
            interruption.exit_code,
            snapshot if snapshot.exists() else None,
        )


def ending(plan: Plan, nimg: int, interruption: Interruption, max_minutes: float) -> str:
    """How a run ended after `nimg` images, and how it would go on, in one line."""
    total, unit = round(1000 * plan.schedule.kimg), plan.unit
    if nimg >= total:
        return f"done at {nimg} {unit}"
    if interruption.requested:
        return f"stopped at {nimg} of {total} {unit}; the same command goes on"
    return f"time is up ({max_minutes:g} min) at {nimg} of {total} {unit}; the same command with more goes on"
