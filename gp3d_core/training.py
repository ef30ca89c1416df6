"""Training 3DGP: the loop as one page, the mechanics below it.

The clock is `nimg`, images seen: schedules, random streams and the order of the data depend on it and on nothing
else, so a run that was stopped and resumed, at any step, equals one that never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gp3d_core.augmentation import AugmentationController
from gp3d_core.config import ConfigError, RunConfig
from gp3d_core.data import Batch, Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.errors import GP3DError
from gp3d_core.guard import DivergenceGuard
from gp3d_core.monitoring import Monitor
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.phases import (
    Log,
    Moment,
    discriminator_phase,
    generator_phase,
    r1_phase,
    sample_latents,
)
from gp3d_core.runfolder import RunFolder
from gp3d_core.signals import Interruption
from gp3d_core.snapshot import load_checkpoint, save_checkpoint, save_snapshot
from gp3d_core.streams import stream

_LARGEST = "scores/largest"


class TrainingFailed(GP3DError):
    """A run that diverged more often than `training.max_rollbacks`."""

    exit_code = 5


@dataclass(eq=False)
class TrainState:
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: RunConfig
    generator: Generator
    ema: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    augmentation: AugmentationController
    labels: Tensor  # of all training images, from which fakes take their classes
    classes: list[dict[str, Any]]
    angles: Tensor | None = None  # of all training images, where the prior is custom
    nimg: int = 0
    rollbacks: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    modules: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"generator": self.generator, "ema": self.ema, "discriminator": self.discriminator}
        self.optimizers = {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }


def train(
    config: RunConfig,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    interruption: Interruption,
    *,
    max_minutes: float = math.inf,
) -> TrainState:
    """Trains until `training.kimg`, `max_minutes` of steps in all, or an interruption; then saves everything.

    Raises TrainingFailed when the run keeps diverging, and ConfigError when the batch cannot be shared out.
    """
    state = build_state(config, dataset, world)
    restore(state, folder, world)
    with Monitor(state, folder, world) as monitor:
        while not finished(state, world, interruption, max_minutes):
            train_until_trouble(state, dataset, folder, world, monitor, interruption, max_minutes)
        write_checkpoint(state, folder, world)
        write_snapshot(state, folder, world)
        monitor.finish(state, "interrupted" if interruption.requested else "done")
    return state


def finished(state: TrainState, world: World, interruption: Interruption, max_minutes: float) -> bool:
    """Whether the run has seen its images or used its time, or somebody asked any process to stop."""
    enough = state.nimg >= 1000 * state.config.training.kimg or state.seconds >= 60 * max_minutes
    return world.any(enough or interruption.requested)


def train_until_trouble(
    state: TrainState,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    monitor: Monitor,
    interruption: Interruption,
    max_minutes: float,
) -> None:
    """Steps through the data from the clock on until the run is finished, or until it had to be rolled back."""
    settings, guard = state.config.training, DivergenceGuard(state.skipped_in_a_row)
    local = settings.batch // world.size
    for batch in batches(
        dataset,
        nimg=state.nimg,
        batch=settings.batch,
        part=slice(world.rank * local, (world.rank + 1) * local),
        seed=settings.seed,
        mirror=settings.mirror,
    ):
        start, before = time.monotonic(), state.nimg
        log, skipped = train_step(state, batch.to(world.device), world)
        state.seconds += time.monotonic() - start
        trouble = guard.judge(log, skipped=skipped)
        state.skipped_in_a_row = guard.skipped_in_a_row
        if trouble is not None:  # the numbers are means over all processes, so that all judge alike
            roll_back(state, folder, world, trouble)
            monitor.note_rollback(state, trouble)
            return
        monitor.add(state, log, skipped)
        if crossed(before, state.nimg, settings.status_kimg):
            monitor.report(state)
        if crossed(before, state.nimg, settings.snapshot_kimg):
            write_snapshot(state, folder, world)
            monitor.picture(state)
        if crossed(before, state.nimg, settings.checkpoint_kimg):
            write_checkpoint(state, folder, world)
        if finished(state, world, interruption, max_minutes):
            return


def check_share(config: RunConfig, processes: int) -> None:
    """Raises ConfigError when `processes` cannot share a batch in whole micro-batches."""
    settings = config.training
    if settings.batch % (processes * settings.micro_batch):
        most = settings.batch // processes
        remedy = (
            f"--set training.micro_batch={most}" if most * processes == settings.batch else "another batch"
        )
        raise ConfigError(
            f"training.batch {settings.batch} cannot be shared by {processes} processes in micro-batches of "
            f"{settings.micro_batch}; use {remedy}"
        )


def build_state(config: RunConfig, dataset: Dataset, world: World) -> TrainState:
    """A fresh run: the same weights on every process, EMA equal to the generator.

    Raises ConfigError when processes and micro-batches do not divide the batch.
    """
    settings = config.training
    check_share(config, world.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        generator = Generator(config, dataset.num_classes)
        discriminator = Discriminator(config, dataset.num_classes, dataset.feature_dim)
    generator.to(world.device).train()
    discriminator.to(world.device).train()
    lazy = config.loss.r1_interval / (config.loss.r1_interval + 1)
    return TrainState(
        config=config,
        generator=generator,
        ema=copy.deepcopy(generator).eval().requires_grad_(False),
        discriminator=discriminator,
        generator_optimizer=torch.optim.Adam(
            generator.parameters(), lr=settings.generator_lr, betas=(0.0, 0.99), eps=1e-8
        ),
        discriminator_optimizer=torch.optim.Adam(
            discriminator.parameters(), lr=settings.discriminator_lr * lazy, betas=(0.0, 0.99**lazy), eps=1e-8
        ),
        augmentation=AugmentationController(config.loss),
        labels=torch.from_numpy(dataset.labels).to(world.device),
        classes=dataset.classes,
        angles=custom_angles(config, dataset, world),
    )


def custom_angles(config: RunConfig, dataset: Dataset, world: World) -> Tensor | None:
    """The data's camera angles where the prior asks for them; ConfigError if it does and there are none."""
    if config.camera.yaw.kind != "custom":
        return None
    if dataset.angles is None:
        raise ConfigError(f"camera.yaw.kind=custom needs camera_angles in {dataset.path}/dataset.json")
    return torch.from_numpy(dataset.angles).to(world.device)


def train_step(state: TrainState, batch: Batch, world: World) -> tuple[dict[str, float], bool]:
    """One step of each player on this process's part of a batch; advances the clock by the whole batch.

    Returns the numbers to log, averaged over micro-batches and processes, and whether a player's update was skipped
    because its gradients were not finite.
    """
    config, settings = state.config, state.config.training
    parts = split(batch, settings.micro_batch)
    num_classes = len(state.classes)
    logs: list[Log] = []

    def moments(phase: str) -> list[Moment]:
        first = world.rank * len(parts)
        keys = [(settings.seed, state.rollbacks, state.nimg, phase, first + k) for k in range(len(parts))]
        return [
            Moment(state.nimg, state.augmentation.probability, stream(*key, device=world.device))
            for key in keys
        ]

    state.generator.requires_grad_(True)
    state.discriminator.requires_grad_(False)
    for part, moment in zip(parts, moments("generator"), strict=True):
        latents = sample_latents(config, state.labels, num_classes, len(part.labels), moment, state.angles)
        loss, log = generator_phase(state.generator, state.discriminator, latents, config, moment)
        (loss / len(parts)).backward()
        logs.append(log)
    skipped = not update(state.generator, state.generator_optimizer, world)

    state.generator.requires_grad_(False)
    state.discriminator.requires_grad_(True)
    average = state.generator.mapping.w_avg
    start, moved = average.clone(), torch.zeros_like(average)
    for part, moment in zip(parts, moments("discriminator"), strict=True):
        average.copy_(start)  # every micro-batch moves it from where the step began
        latents = sample_latents(config, state.labels, num_classes, len(part.labels), moment, state.angles)
        loss, log = discriminator_phase(state.generator, state.discriminator, latents, part, config, moment)
        (loss / len(parts)).backward()
        moved += average / len(parts)
        logs.append(log)
    skipped |= not update(state.discriminator, state.discriminator_optimizer, world)
    world.mean_([moved])
    average.copy_(moved)

    if (state.nimg // settings.batch) % config.loss.r1_interval == 0:
        for part, moment in zip(parts, moments("r1"), strict=True):
            loss, log = r1_phase(state.discriminator, part, config, moment)
            (loss / len(parts)).backward()
            logs.append(log)
        skipped |= not update(state.discriminator, state.discriminator_optimizer, world)

    state.nimg += settings.batch
    average_weights(state.ema, state.generator, settings.batch, ema_half_life(state))
    numbers = mean_log(logs, world)
    state.augmentation.update(numbers["scores/real_sign"], settings.batch)
    numbers["augmentation"] = state.augmentation.probability
    return numbers, skipped


def split(batch: Batch, size: int) -> list[Batch]:
    """The batch in micro-batches of `size`."""
    starts = range(0, len(batch.labels), size)
    return [
        Batch(
            batch.images[k : k + size],
            batch.depth[k : k + size],
            batch.labels[k : k + size],
            None if batch.features is None else batch.features[k : k + size],
        )
        for k in starts
    ]


def update(module: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> bool:
    """Steps with the gradients averaged over processes, then clears them; False if they were not finite (no step)."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    world.mean_(gradients)
    finite = bool(torch.isfinite(torch.stack([g.sum() for g in gradients])).all())
    if finite:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return finite


def ema_half_life(state: TrainState) -> float:
    """Half-life of the weight average in images, shorter while the run is young."""
    settings = state.config.training
    return min(1000 * settings.ema_kimg, settings.ema_rampup * state.nimg)


@torch.no_grad()
def average_weights(ema: nn.Module, module: nn.Module, batch: int, half_life: float) -> None:
    """Moves the weights of `ema` towards `module` by half in `half_life` images; buffers are copied."""
    keep = 0.5 ** (batch / max(half_life, 1e-8))
    for slow, fast in zip(ema.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, 1.0 - keep)
    for copied, buffer in zip(ema.buffers(), module.buffers(), strict=True):
        copied.copy_(buffer)


def mean_log(logs: list[Log], world: World) -> dict[str, float]:
    """Every number averaged over the micro-batches that report it and over processes; the largest score stays it."""
    names = sorted({name for log in logs for name in log})
    values = {
        name: torch.stack([log[name].detach().float() for log in logs if name in log]) for name in names
    }
    means = [values[name].mean() for name in names]
    world.mean_(means)
    numbers = dict(zip(names, torch.stack(means).tolist(), strict=True))
    if _LARGEST in values:
        numbers[_LARGEST] = world.largest(values[_LARGEST].max())
    return numbers


def crossed(before: int, now: int, kimg: float) -> bool:
    """Whether a multiple of `kimg` thousand images lies in (before, now]."""
    return math.floor(now / (1000 * kimg) + 1e-9) > math.floor(before / (1000 * kimg) + 1e-9)


def write_checkpoint(state: TrainState, folder: RunFolder, world: World) -> None:
    """Saves all of `state`, then forgets all but the newest checkpoints."""
    if world.leads:
        facts = {
            "nimg": state.nimg,
            "rollbacks": state.rollbacks,
            "skipped_in_a_row": state.skipped_in_a_row,
            "seconds": state.seconds,
            "augmentation": state.augmentation.state(),
        }
        save_checkpoint(folder.checkpoint_path(state.nimg), state.modules, state.optimizers, facts)
        folder.forget_old_checkpoints()
    world.barrier()


def write_snapshot(state: TrainState, folder: RunFolder, world: World) -> None:
    """Saves the averaged generator to generate with."""
    if world.leads:
        save_snapshot(folder.snapshot_path(state.nimg), state.ema, state.config, state.classes, state.nimg)


def restore(state: TrainState, folder: RunFolder, world: World) -> None:
    """Loads the newest checkpoint into `state`; saves one of the start if there is none."""
    found = folder.list_checkpoints()
    if not found:
        write_checkpoint(state, folder, world)
        return
    facts = load_checkpoint(found[0], state.modules, state.optimizers)
    state.nimg, state.rollbacks = int(facts["nimg"]), int(facts["rollbacks"])
    state.skipped_in_a_row, state.seconds = int(facts.get("skipped_in_a_row", 0)), float(facts["seconds"])
    state.augmentation.restore(facts["augmentation"])
    if world.leads:
        folder.forget_stats_after(state.nimg)
    world.barrier()


def roll_back(state: TrainState, folder: RunFolder, world: World, trouble: str) -> None:
    """Returns to the last checkpoint, every second time to the one before, with another random stream.

    Raises TrainingFailed after too many times; the checkpoints stay.
    """
    limit, where = state.config.training.max_rollbacks, state.nimg
    rollbacks, seconds = state.rollbacks + 1, state.seconds
    if rollbacks > limit:
        raise TrainingFailed(
            f"training diverged {rollbacks} times, last at {where} images ({trouble}); the last good state is "
            f"{folder.list_checkpoints()[0]}; try a larger loss.r1_gamma or smaller learning rates in a new run"
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
