"""What lets a run go on: checkpoints, judging its steps, and the way back when it diverges.

Shared by all trainings. A checkpoint holds everything that changes, so that a run which was stopped and resumed equals
one that never stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from gp3d_core.distributed import World
from gp3d_core.errors import GP3DError
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_checkpoint
from gp3d_core.training.divergence import DivergenceGuard
from gp3d_core.training.step import StepLog


class TrainingFailed(GP3DError):
    """A run that diverged more often than `training.max_rollbacks`."""

    exit_code = 5


class Running(Protocol):
    """What changes while a run goes on. `facts` and `accept` carry what is neither weights nor counted here."""

    config: Any
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    nimg: int
    rollbacks: int
    skipped_in_a_row: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Further JSON values of a checkpoint."""

    def accept(self, facts: Mapping[str, Any]) -> None:
        """Takes them back."""


class Listener(Protocol):
    """Whoever takes in the numbers of every good step."""

    def add(self, state: Any, log: dict[str, float], skipped: bool) -> None:
        """Takes in one step."""


def judge(
    state: Running, guard: DivergenceGuard, listener: Listener, waiting: deque[StepLog], *, keep: int
) -> tuple[str, int] | None:
    """Takes in the steps that are `waiting` but for the last `keep`; what is wrong, and after how many images.

    The numbers are means over all processes, so that all judge alike.
    """
    while len(waiting) > keep:
        step = waiting.popleft()
        log, skipped = step.read()
        trouble = guard.judge(log, skipped=skipped)
        state.skipped_in_a_row = guard.skipped_in_a_row
        if trouble is not None:
            return trouble, step.nimg
        listener.add(state, log, skipped)
    return None


def write_checkpoint(state: Running, folder: RunFolder, world: World) -> None:
    """Saves all of `state`, then forgets all but the newest checkpoints."""
    if world.leads:
        facts = {
            "nimg": state.nimg,
            "rollbacks": state.rollbacks,
            "skipped_in_a_row": state.skipped_in_a_row,
            "seconds": state.seconds,
        }
        path = folder.checkpoint_path(state.nimg)
        save_checkpoint(path, state.modules, state.optimizers, facts | state.facts())
        folder.forget_old_checkpoints()
    world.barrier()


def restore(state: Running, folder: RunFolder, world: World) -> None:
    """Loads the newest checkpoint into `state`; saves one of the start if there is none."""
    found = folder.list_checkpoints()
    if not found:
        write_checkpoint(state, folder, world)
        return
    facts = load_checkpoint(found[0], state.modules, state.optimizers)
    state.nimg, state.rollbacks = int(facts["nimg"]), int(facts["rollbacks"])
    state.skipped_in_a_row, state.seconds = int(facts.get("skipped_in_a_row", 0)), float(facts["seconds"])
    state.accept(facts)
    if world.leads:
        folder.forget_stats_after(state.nimg)
    world.barrier()


def roll_back(
    state: Running, folder: RunFolder, world: World, trouble: str, where: int, *, remedy: str
) -> None:
    """Returns from `trouble` after `where` images to the last checkpoint, with another random stream.

    Every second time to the checkpoint before. Raises TrainingFailed, which ends with the `remedy`, after too many
    times; the checkpoints stay.
    """
    limit = state.config.training.max_rollbacks
    rollbacks, seconds = state.rollbacks + 1, state.seconds
    if rollbacks > limit:
        raise TrainingFailed(
            f"training diverged {rollbacks} times, last at {where} images ({trouble}); the last good state is "
            f"{folder.list_checkpoints()[0]}; {remedy}"
        )
    world.barrier()
    if world.leads and rollbacks % 2 == 0:
        folder.forget_newest_checkpoint()
    world.barrier()
    restore(state, folder, world)
    state.rollbacks, state.seconds, state.skipped_in_a_row = rollbacks, seconds, 0
    if world.leads:
        folder.forget_snapshots_after(state.nimg)
        folder.append_stats(
            {
                "nimg": state.nimg,
                "event": "rollback",
                "diverged_at": where,
                "reason": trouble,
                "rollbacks": rollbacks,
            }
        )
    write_checkpoint(state, folder, world)
