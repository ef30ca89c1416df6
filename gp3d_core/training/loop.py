"""The training loop: when steps are taken, checked, reported and saved. Every training of GP3D is a `Task` of it.

The clock is `nimg`, images seen: schedules, random streams and the order of the data depend on it and on nothing
else, so a run that was stopped and resumed, at any step, equals one that never stopped. (A training whose schedule
follows a budget of minutes is the exception: no two runs agree on those to the step.)
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gp3d_core.config.schedule import Schedule
from gp3d_core.distributed import World
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.metadata import holds_snapshot
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.checkpointing import load_newest, restore, roll_back, write_checkpoint
from gp3d_core.training.divergence import Divergence, DivergenceGuard, check_finite, check_steps
from gp3d_core.training.monitor import HasClock, RunMonitor
from gp3d_core.training.step import StepLog, TrainableState, passed_multiple

End = Literal["done", "interrupted", "time is up"]


@dataclass(frozen=True)
class Budget:
    """What a run may use up over all its resumes: images seen, and minutes of steps."""

    images: int
    minutes: float = math.inf

    def share_used(self, clock: HasClock) -> float:
        """Fraction that is used up, of the images or of the minutes, whichever is more; at most 1."""
        minutes = clock.seconds / (60 * self.minutes) if self.minutes > 0 else 1.0
        return min(max(clock.nimg / self.images, minutes), 1.0)


class Task(Protocol):
    """One training, as the loop sees it."""

    @property
    def state(self) -> TrainableState:
        """Everything that changes; the steps change it in place."""

    @property
    def schedule(self) -> Schedule:
        """When what is written, and how often the run may roll back."""

    @property
    def monitor(self) -> RunMonitor[Any]:
        """Whoever reports on `state`."""

    @property
    def remedy(self) -> str:
        """Advice that ends the message of a run that keeps diverging."""

    def steps(self) -> Iterator[StepLog]:
        """Endless steps from the state's clock on; each that is asked for is taken, and advances the clock."""

    def save_snapshot(self, path: Path, *, final: bool) -> None:
        """Saves what can be used of the state at `path`; only the leading process is asked, once for a clock.

        `final` says that the run has used up its budget.
        """


def run(task: Task, folder: RunFolder, world: World, interruption: Interruption, budget: Budget) -> End:
    """How it ended: trains until the `budget` is used up or somebody interrupts any process, then saves everything.

    Goes on from the newest checkpoint of the `folder`, which has been claimed. All processes answer alike. Raises
    TrainingFailed when the run keeps diverging.
    """
    state = task.state
    restore(state, folder, world)
    with task.monitor as monitor:
        while (end := _end(state, budget, asked=_agree(state, world, interruption))) is None:
            _advance(task, folder, world, interruption, budget)
        if state.skipped_in_a_row:  # interrupted; whoever goes on meets the skipped steps again
            load_newest(state, folder, world)
        write_checkpoint(state, folder, world)
        _save_snapshot(task, folder, world, final=end != "interrupted")
        monitor.finish(end)
    return end


def _save_snapshot(task: Task, folder: RunFolder, world: World, *, final: bool) -> None:
    """Has the leading process save a snapshot; one of this clock that is there already is the same, and stays."""
    path = folder.snapshot_path(task.state.nimg)
    if world.leads and not holds_snapshot(path, task.state.nimg):
        task.save_snapshot(path, final=final)


def _agree(state: TrainableState, world: World, interruption: Interruption, seconds: float = 0.0) -> bool:
    """Whether any process was asked to stop; adds `seconds` to the clock, as many as the slowest process took.

    One message answers both: every one waits for the device. From here to the next agreement processes must not look
    at the interruption again, which may come between; they would no longer do the same.
    """
    state.seconds, asked = world.largest_numbers(state.seconds + seconds, interruption.requested)
    return asked > 0


def _end(state: TrainableState, budget: Budget, *, asked: bool) -> End | None:
    """How a run ends now, if it does; `asked` says that somebody interrupts it."""
    if asked:
        return "interrupted"
    if state.nimg >= budget.images:
        return "done"
    return "time is up" if budget.share_used(state) >= 1 else None


def _go_back(task: Task, folder: RunFolder, world: World, divergence: Divergence) -> None:
    limit = task.schedule.max_rollbacks
    roll_back(task.state, folder, world, divergence, limit=limit, remedy=task.remedy)
    task.monitor.note_rollback(divergence[0])


def _advance(task: Task, folder: RunFolder, world: World, interruption: Interruption, budget: Budget) -> None:
    """Steps from the clock on until the run is finished, or until it had to be rolled back."""
    state, schedule, monitor = task.state, task.schedule, task.monitor
    guard, waiting = DivergenceGuard(state.skipped_in_a_row), deque[StepLog]()
    snapshot = checkpoint = enough = False
    with closing(task.steps()) as steps:  # type: ignore[type-var]
        while not enough:
            start, before = time.monotonic(), state.nimg
            try:
                waiting.append(next(steps))
            except ArithmeticError as error:  # optimisers count steps in floats, whose powers may overflow
                _go_back(task, folder, world, (f"a step cannot be computed: {error.args[-1]}", before))
                return
            report = passed_multiple(before, state.nimg, schedule.status_kimg)
            snapshot |= passed_multiple(before, state.nimg, schedule.snapshot_kimg)
            checkpoint |= passed_multiple(before, state.nimg, schedule.checkpoint_kimg)
            # what is written must have been checked; else the step before is checked while this one runs
            due = report or snapshot or checkpoint
            divergence = check_steps(state, guard, monitor, waiting, keep=0 if due else 1)
            asked = _agree(state, world, interruption, time.monotonic() - start)
            enough = _end(state, budget, asked=asked) is not None
            if enough and divergence is None:
                divergence = check_steps(state, guard, monitor, waiting, keep=0)
            # A skipped step may be the first sign of weights that are finite and useless. So nothing is saved until a
            # good step has come, and a run does not end with a skipped one.
            skipping = state.skipped_in_a_row > 0
            if divergence is None and skipping and budget.share_used(state) >= 1:
                divergence = ("the gradients of the last step were not finite", state.nimg)
            if divergence is None and not skipping and (snapshot or checkpoint or enough):
                divergence = check_finite(state, world)
            if divergence is not None:
                _go_back(task, folder, world, divergence)
                return
            if report:
                monitor.report()
            if snapshot and not skipping:
                _save_snapshot(task, folder, world, final=False)
                monitor.picture()
                snapshot = False
            if checkpoint and not skipping:
                write_checkpoint(state, folder, world)
                checkpoint = False
