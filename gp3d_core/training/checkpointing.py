"""Checkpoints of a run: writing them, going on from them, and going back to them when the run diverges.

Shared by all trainings. A checkpoint holds everything that changes, so that a run which was stopped and resumed equals
one that never stopped. Only finite numbers are written.
"""

from __future__ import annotations

from typing import Any

from gp3d_core.distributed import World
from gp3d_core.errors import GP3DError
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_checkpoint
from gp3d_core.training.divergence import Divergence, check_finite
from gp3d_core.training.step import TrainableState


class TrainingFailed(GP3DError):
    """A run that diverged more often than its schedule's `max_rollbacks`, or has nothing to go back to."""

    exit_code = 5


def write_checkpoint(state: TrainableState, folder: RunFolder, world: World) -> None:
    """Saves all of `state`, which `check_finite` has passed, then forgets all but the newest checkpoints."""
    if world.leads:
        facts: dict[str, Any] = {
            "nimg": state.nimg,
            "rollbacks": state.rollbacks,
            "skipped_in_a_row": state.skipped_in_a_row,
            "seconds": state.seconds,
        }
        facts |= {name: part.state_dict() for name, part in state.controllers.items()}
        save_checkpoint(folder.checkpoint_path(state.nimg), state.modules, state.optimizers, facts)
        folder.forget_old_checkpoints()
    world.barrier()


def restore(state: TrainableState, folder: RunFolder, world: World) -> None:
    """Loads the newest checkpoint into `state`; saves one of the start if there is none.

    Raises TrainingFailed for a start that is not finite.
    """
    if folder.list_checkpoints():
        load_newest(state, folder, world)
        return
    if (divergence := check_finite(state, world)) is not None:
        raise TrainingFailed(f"what the run begins with cannot be trained: {divergence[0]}")
    write_checkpoint(state, folder, world)


def load_newest(state: TrainableState, folder: RunFolder, world: World) -> None:
    """Loads the newest checkpoint into `state`, and drops the statistics from beyond it."""
    facts = load_checkpoint(folder.list_checkpoints()[0], state.modules, state.optimizers)
    state.nimg, state.rollbacks = int(facts["nimg"]), int(facts.get("rollbacks", 0))
    state.skipped_in_a_row, state.seconds = int(facts.get("skipped_in_a_row", 0)), float(facts["seconds"])
    for name, part in state.controllers.items():
        part.load_state_dict(facts[name])
    if world.leads:
        folder.forget_stats_after(state.nimg)
    world.barrier()


def roll_back(
    state: TrainableState,
    folder: RunFolder,
    world: World,
    divergence: Divergence,
    *,
    limit: int,
    remedy: str,
) -> None:
    """Returns from a `divergence` to the last checkpoint, with another random stream.

    Every second time to the checkpoint before. Raises TrainingFailed, which ends with the `remedy`, after more than
    `limit` times, and when there is no checkpoint; the checkpoints stay.
    """
    reason, where = divergence
    rollbacks, seconds = state.rollbacks + 1, state.seconds
    checkpoints = folder.list_checkpoints()
    if not checkpoints:
        raise TrainingFailed(
            f"training diverged at {where} images ({reason}), and {folder.checkpoints} is empty; {remedy}"
        )
    if rollbacks > limit:
        raise TrainingFailed(
            f"training diverged {rollbacks} times, last at {where} images ({reason}); the last good state is "
            f"{checkpoints[0]}; {remedy}"
        )
    world.barrier()
    if world.leads and rollbacks % 2 == 0:
        folder.forget_newest_checkpoint()
    world.barrier()
    load_newest(state, folder, world)
    state.rollbacks, state.seconds, state.skipped_in_a_row = rollbacks, seconds, 0
    if world.leads:
        folder.forget_snapshots_after(state.nimg)
        folder.append_stats(
            {
                "nimg": state.nimg,
                "event": "rollback",
                "diverged_at": where,
                "reason": reason,
                "rollbacks": rollbacks,
            }
        )
    write_checkpoint(state, folder, world)
