"""The mechanics of a training step: what it changes, micro-batches, updates, averages, and numbers that arrive later.

Nothing here waits for the device. Whether gradients are finite is decided where they are, and the numbers of a step
travel to the host while the next one runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gp3d_core.datasets.dataset import Batch
from gp3d_core.distributed import World

LARGEST = "scores/largest"
Log = dict[str, Tensor]  # scalars by name


class Stateful(Protocol):
    """A part of a run's state that is neither module nor optimiser; its values are JSON's."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned."""


@dataclass(eq=False, kw_only=True)
class TrainableState:
    """Everything that changes while a run goes on, by the names that checkpoints use; trainings add parts of their own.

    nimg: images seen, the clock. seconds: that steps took. controllers: what is neither module nor optimiser.
    """

    nimg: int = 0
    rollbacks: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    modules: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)
    controllers: Mapping[str, Stateful] = field(init=False, default_factory=dict)


@dataclass(frozen=True, eq=False)
class StepLog:
    """What a step reports: `nimg` after it, numbers known at once, and others on their way from the device.

    values [N+1]: one number for each of `names`, then whether an update was skipped; to be read after `arrived`.
    """

    nimg: int
    known: Mapping[str, float]
    names: tuple[str, ...]
    values: Tensor
    arrived: torch.cuda.Event | None

    def read(self) -> tuple[dict[str, float], bool]:
        """All numbers, and whether a player's update was skipped because its gradients were not finite."""
        if self.arrived is not None:
            self.arrived.synchronize()
        *numbers, skipped = self.values.tolist()
        return dict(zip(self.names, numbers, strict=True)) | dict(self.known), bool(skipped)


def send_log(
    numbers: Mapping[str, Tensor], skipped: Tensor, nimg: int, known: Mapping[str, float]
) -> StepLog:
    """Starts the numbers of a step, all scalars on one device, on their way to the host."""
    values = torch.stack([*numbers.values(), skipped])
    arrived = None
    if values.is_cuda:
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        values = host.copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
    return StepLog(nimg, known, tuple(numbers), values, arrived)


def mean_log(logs: list[Log], world: World) -> dict[str, Tensor]:
    """Every number averaged over the micro-batches that report it and over processes; the largest score stays it."""
    names = sorted({name for log in logs for name in log})
    values = {
        name: torch.stack([log[name].detach().float() for log in logs if name in log]) for name in names
    }
    means = [values[name].mean() for name in names]
    world.mean_(means)
    numbers = dict(zip(names, means, strict=True))
    if LARGEST in values:
        numbers[LARGEST] = world.largest(values[LARGEST].max())
    return numbers


def split(batch: Batch, size: int) -> list[Batch]:
    """The batch in micro-batches of `size`."""
    starts = range(0, len(batch.labels), size)
    return [
        Batch(
            batch.images[k : k + size],
            batch.depth[k : k + size],
            batch.labels[k : k + size],
            None if batch.features is None else batch.features[k : k + size],
            None if batch.indices is None else batch.indices[k : k + size],
            None if batch.mirrored is None else batch.mirrored[k : k + size],
        )
        for k in starts
    ]


def adam(module: nn.Module, lr: float, *, lazy: float = 1.0) -> torch.optim.Adam:
    """The method's optimiser; `lazy` is the share of steps that have no extra regularisation step (StyleGAN2 App. B).

    The fused kernels take part in `update`: they skip a step on the device.
    """
    return torch.optim.Adam(module.parameters(), lr=lr * lazy, betas=(0.0, 0.99**lazy), eps=1e-8, fused=True)


def update(
    module: nn.Module, optimizer: torch.optim.Optimizer, world: World, *, clip: float | None = None
) -> Tensor:
    """1.0 if the gradients, averaged over processes, were not finite and no step was taken, else 0.0; on the device.

    Clears the gradients. `clip` limits their norm, after averaging, so that processes share one factor.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    world.mean_(gradients)
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    skipped = 1.0 - torch.isfinite(torch.nn.utils.get_total_norm(gradients)).float()
    # The contract of torch's GradScaler, which hands these two to fused optimisers: gradients are divided by grad_scale
    # (None: they are as they should be), and where found_inf is 1 the kernel leaves weights, moments and step count
    # alone. So the decision never comes to the host; `if skipped: ...` would wait for the device in every step. Other
    # optimisers do not read the attributes and would step all the same.
    optimizer.grad_scale, optimizer.found_inf = None, skipped  # type: ignore[attr-defined]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return skipped


class Averaged(Protocol):
    """Settings of the averaged weights: their half-life in kimg, and as a share of the images seen."""

    @property
    def ema_kimg(self) -> float:
        """Thousands of images."""

    @property
    def ema_rampup(self) -> float:
        """Share of the images seen."""


def half_life(settings: Averaged, nimg: int) -> float:
    """Half-life of the weight average in images after `nimg` of them, shorter while the run is young."""
    return min(1000 * settings.ema_kimg, settings.ema_rampup * nimg)


@torch.no_grad()
def average_weights(ema: nn.Module, module: nn.Module, batch: int, half_life: float) -> None:
    """Moves the weights of `ema` towards `module` by half in `half_life` images; buffers are copied."""
    keep = 0.5 ** (batch / max(half_life, 1e-8))
    move = get_ema_multi_avg_fn(keep)
    move(list(ema.parameters()), list(module.parameters()), None)
    for copied, buffer in zip(ema.buffers(), module.buffers(), strict=True):
        copied.copy_(buffer)


def passed_multiple(before: int, now: int, kimg: float) -> bool:
    """Whether a multiple of `kimg` thousand images lies in (before, now]."""
    return math.floor(now / (1000 * kimg) + 1e-9) > math.floor(before / (1000 * kimg) + 1e-9)
