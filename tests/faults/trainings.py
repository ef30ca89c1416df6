"""Trainings into whose numbers something breaks in, drawn by seed: they recover, or end in one line, never with wrong
files.
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from gp3d_core.errors import GP3DError
from gp3d_core.training import loop
from gp3d_core.training.divergence import LARGEST_MOMENT, LARGEST_WEIGHT
from gp3d_core.training.step import StepLog, TrainableState
from tests.faults.fuzzing import Outcome
from tests.support.micro import finish
from tests.support.tasks import Small

VALUES = (math.nan, math.inf, -math.inf, 1e8, -1e30, 3e38)
PLACES = ("parameter", "moment", "buffer")
INTERVALS = (1, 2, 5)  # steps between checkpoints
_STEPS = 6  # of 4 images


class Poisoned:
    """A task into one of whose tensors a value breaks in, once, after so many steps; before the first for 0."""

    def __init__(self, task: loop.Task, dice: random.Random, place: str, value: float) -> None:
        self._task, self._dice, self._place, self._value = task, dice, place, value
        self.step, self.where = dice.randrange(_STEPS + 1), ""
        if self.step == 0:
            self._spoil()

    def __getattr__(self, name: str) -> object:
        return getattr(self._task, name)

    def steps(self) -> Iterator[StepLog]:
        for log in self._task.steps():
            if not self.where and self._task.state.nimg >= 4 * self.step:
                self._spoil()
            yield log

    def _spoil(self) -> None:
        tensors = _tensors_of(self._task.state, self._place) or _tensors_of(self._task.state, "parameter")
        self.where = self._dice.choice(sorted(tensors))
        tensor = tensors[self.where].data
        tensor[np.unravel_index(self._dice.randrange(tensor.numel()), tensor.shape)] = self._value


def _tensors_of(state: TrainableState, place: str) -> dict[str, Tensor]:
    """All tensors of floating-point numbers of a kind, by name."""
    found: dict[str, object] = {}
    for name, module in state.modules.items():
        named = module.named_parameters() if place == "parameter" else module.named_buffers()
        found |= {f"{name}.{key}": value for key, value in named if place != "moment"}
    for name, optimizer in state.optimizers.items() if place == "moment" else ():
        for number, moments in enumerate(optimizer.state.values()):
            found |= {f"{name}.{number}.{key}": value for key, value in moments.items()}
    return {
        key: value
        for key, value in found.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel()
    }


def poison(small: Small, run: Path, seed: int) -> str | None:
    """How a training was refused that broke, None if it recovered; raises AssertionError where files are wrong."""
    dice = random.Random(f"{small.kind} {seed}")
    every, place, value = INTERVALS[seed % 3], PLACES[seed // 3 % 3], VALUES[seed // 9 % len(VALUES)]
    shutil.rmtree(run, ignore_errors=True)
    kimg = f"{4 * every / 1000}"
    task = small.begin(run, f"checkpoint_kimg={kimg}", f"snapshot_kimg={kimg}", "status_kimg=0.008")
    poisoned = Poisoned(task, dice, place, value)
    refusal = None
    try:
        finish(poisoned, task.monitor.folder)
    except GP3DError as error:
        refusal = str(error)
    what = f"{value} into {poisoned.where or place} after {poisoned.step} steps, every {every}"
    assert refusal is None or (refusal and "\n" not in refusal), f"{what}: {refusal!r}"
    snapshots = sorted(run.glob("snapshots/*.safetensors"))
    assert snapshots or refusal, f"{what}: no snapshot"
    for path in (*snapshots, *run.glob("checkpoints/*.safetensors")):
        for name, tensor in load_file(path).items():
            if tensor.is_floating_point() and tensor.numel():
                limit = LARGEST_MOMENT**2 if name.endswith("exp_avg_sq") else LARGEST_MOMENT
                limit = limit if "exp_avg" in name or name.endswith(".step") else LARGEST_WEIGHT
                assert tensor.abs().max() <= limit, f"{what}: {path.name} has {name} {tensor.abs().max():g}"
    return refusal


def poison_all(small: Small, place: Path, *, first: int, count: int = 10**9, seconds: float = 1e9) -> Outcome:
    """Tries seeds from `first` on, until there were `count` or `seconds` have gone."""
    outcome, began = Outcome(f"training {small.kind}"), time.monotonic()
    for seed in range(first, first + count):
        start = time.monotonic()
        if start - began > seconds:
            break
        try:
            refusal = poison(small, place / "run", seed)
        except Exception as error:  # whatever it is, it is what we look for
            outcome.faults[seed] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            outcome.taken += refusal is None
            outcome.refused += refusal is not None
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
    return outcome
