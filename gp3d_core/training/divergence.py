"""Recognises a run that diverges, early enough that going back to the last checkpoint helps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from gp3d_core.distributed import World
from gp3d_core.training.step import LARGEST, StepLog, TrainableState

Divergence = tuple[str, int]  # what is wrong, in a few words, and after how many images

# Healthy logits stay below about 20; at 200 softplus gives one player no gradient any more. A limit close
# to what is healthy would send runs back that recover by themselves.
SCORE_LIMIT = 200.0
# Gradients may overflow half precision now and then: the step is skipped, and nothing is lost. But while steps are
# skipped the weights that overflow do not move, so that waiting longer cannot help.
PATIENCE = 3
# A weight or buffer of this size is the trace of an accident that no loss has shown yet: healthy ones stay below 1e4,
# means of gradients below 1e5. Far above, so that nothing healthy is sent back.
LARGEST_WEIGHT = 1e6
LARGEST_MOMENT = 1e10  # of a gradient's mean; of that of its square the square


class DivergenceGuard:
    """Checks step after step; remembers only how many steps in a row had to be skipped."""

    def __init__(self, skipped_in_a_row: int = 0) -> None:
        """Starts after so many skipped steps in a row, as a checkpoint tells."""
        self.skipped_in_a_row = skipped_in_a_row

    def check_step(self, log: Mapping[str, float], *, skipped: bool) -> str | None:
        """What is wrong after a step with these numbers, in a few words; None while training may go on.

        `skipped` says that the step's gradients were not finite and no weights were changed.
        """
        for name, value in log.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        if log.get(LARGEST, 0.0) > SCORE_LIMIT:
            return f"scores exploded to {log[LARGEST]:.0f}"
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row >= PATIENCE:
            return f"gradients were not finite {PATIENCE} steps in a row"
        return None


class StepListener(Protocol):
    """Whoever takes in the numbers of every good step."""

    def add(self, log: dict[str, float], skipped: bool) -> None:
        """Takes in one step."""


def check_steps(
    state: TrainableState,
    guard: DivergenceGuard,
    listener: StepListener,
    waiting: deque[StepLog],
    *,
    keep: int,
) -> Divergence | None:
    """The first divergence among the steps that are `waiting`, but for the last `keep`; None if all were good.

    Good ones go to the `listener`. The numbers are means over all processes, so that all answer alike.
    """
    while len(waiting) > keep:
        step = waiting.popleft()
        log, skipped = step.read()
        reason = guard.check_step(log, skipped=skipped)
        state.skipped_in_a_row = guard.skipped_in_a_row
        if reason is not None:
            return reason, step.nimg
        listener.add(log, skipped)
    return None


def check_finite(state: TrainableState, world: World) -> Divergence | None:
    """The first weight, buffer or moment that is not finite or huge; None if a checkpoint of `state` may be written.

    Losses tell of broken weights one step later than they break, and of averaged ones never. All processes answer
    alike.
    """
    names, largest, limits = [], [], []
    for name, tensor, limit in _tensors(state):
        if tensor.is_floating_point() and tensor.numel():
            names.append(name)
            size = torch.linalg.vector_norm(tensor.detach(), ord=math.inf)  # of NaN it is NaN
            largest.append(size.to(world.device, torch.float32))
            limits.append(limit)
    sizes = torch.stack(largest).tolist()  # waits for the device once
    wrong = [k for k, (size, limit) in enumerate(zip(sizes, limits, strict=True)) if not size <= limit]
    if not world.any(bool(wrong)):
        return None
    if not wrong:
        return "a tensor of another process is not finite", state.nimg
    name, size = names[wrong[0]], sizes[wrong[0]]
    return f"{name} {f'reaches {size:.2g}' if math.isfinite(size) else 'is not finite'}", state.nimg


def _tensors(state: TrainableState) -> Iterator[tuple[str, Tensor, float]]:
    """Every tensor of a state with its name and the largest value that a healthy one may have."""
    for name, module in state.modules.items():
        yield from ((f"{name}.{key}", value, LARGEST_WEIGHT) for key, value in module.state_dict().items())
    for name, optimizer in state.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                if torch.is_tensor(value):
                    limit = LARGEST_MOMENT**2 if key.endswith("_sq") else LARGEST_MOMENT
                    yield f"{name}.{index}.{key}", value, limit
