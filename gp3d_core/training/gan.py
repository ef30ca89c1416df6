"""Training 3DGP: the loop as one page, the mechanics below it.

The clock is `nimg`, images seen: schedules, random streams and the order of the data depend on it and on nothing
else, so a run that was stopped and resumed, at any step, equals one that never stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.metadata import holds_snapshot
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.augmentation import AugmentationController
from gp3d_core.training.checkpointing import judge, restore, roll_back, write_checkpoint
from gp3d_core.training.divergence import DivergenceGuard
from gp3d_core.training.monitor import Monitor
from gp3d_core.training.phases import (
    Log,
    StepContext,
    discriminator_phase,
    generator_phase,
    r1_phase,
)
from gp3d_core.training.step import (
    StepLog,
    adam,
    average_weights,
    mean_log,
    passed_multiple,
    send_log,
    split,
    update,
)
from gp3d_core.training.warm_start import begin_with

REMEDY = "try a larger loss.r1_gamma or smaller learning rates in a new run"


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

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds besides weights and clock."""
        return {"augmentation": self.augmentation.state()}

    def accept(self, facts: Mapping[str, Any]) -> None:
        """Takes back what `facts` returned."""
        self.augmentation.restore(facts["augmentation"])


def train(
    config: RunConfig,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    interruption: Interruption,
    *,
    max_minutes: float = math.inf,
    init: Path | None = None,
) -> TrainState:
    """Trains until `training.kimg`, `max_minutes` of steps in all, or an interruption; then saves everything.

    A fresh run begins with the generator of the snapshot file `init`, if one is given.
    Raises TrainingFailed when the run keeps diverging, and ConfigError when the batch cannot be shared out.
    """
    state = build_state(config, dataset, world)
    if init is not None and not folder.list_checkpoints():
        begin_with(init, state.generator, state.ema)
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
    waiting: deque[StepLog] = deque()
    for batch in batches(
        dataset,
        nimg=state.nimg,
        batch=settings.batch,
        part=slice(world.rank * local, (world.rank + 1) * local),
        seed=settings.seed,
        mirror=settings.mirror,
        pinned=world.device.type == "cuda",
    ):
        start, before = time.monotonic(), state.nimg
        waiting.append(train_step(state, batch.to(world.device), world))
        marks = (settings.status_kimg, settings.snapshot_kimg, settings.checkpoint_kimg)
        report, snapshot, checkpoint = (passed_multiple(before, state.nimg, kimg) for kimg in marks)
        # what is written must have been judged; else the step before is judged while this one runs
        trouble = judge(state, guard, monitor, waiting, keep=0 if report or snapshot or checkpoint else 1)
        state.seconds += time.monotonic() - start
        enough = finished(state, world, interruption, max_minutes)
        if enough and trouble is None:
            trouble = judge(state, guard, monitor, waiting, keep=0)
        if trouble is not None:
            roll_back(state, folder, world, *trouble, remedy=REMEDY)
            monitor.note_rollback(state, trouble[0])
            return
        if report:
            monitor.report(state)
        if snapshot:
            write_snapshot(state, folder, world)
            monitor.picture(state)
        if checkpoint:
            write_checkpoint(state, folder, world)
        if enough:
            return


def check_share(config: RunConfig, processes: int) -> None:
    """Raises ConfigError when `processes` cannot share a batch in whole micro-batches."""
    settings = config.training
    if settings.batch % (processes * settings.micro_batch):
        most = settings.batch // processes
        remedy = f"`training.micro_batch`={most}" if most * processes == settings.batch else "another batch"
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
        generator_optimizer=adam(generator, settings.generator_lr),
        discriminator_optimizer=adam(discriminator, settings.discriminator_lr, lazy=lazy),
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


def train_step(state: TrainState, batch: Batch, world: World) -> StepLog:
    """One step of each player on this process's part of a batch; advances the clock by the whole batch.

    Returns the numbers to log, averaged over micro-batches and processes. Waits for nothing that it started, except
    that adaptive augmentation needs the step's scores before the next.
    """
    config, settings = state.config, state.config.training
    parts = split(batch, settings.micro_batch)
    logs: list[Log] = []

    def contexts(phase: str) -> list[StepContext]:
        first = world.rank * len(parts)
        keys = [(settings.seed, state.rollbacks, state.nimg, phase, first + k) for k in range(len(parts))]
        return [
            StepContext(state.nimg, state.augmentation.probability, generator_for(*key, device=world.device))
            for key in keys
        ]

    skipped = torch.zeros((), device=world.device)
    if state.nimg >= 1000 * settings.head_start_kimg:
        state.generator.requires_grad_(True)
        state.discriminator.requires_grad_(False)
        for part, context in zip(parts, contexts("generator"), strict=True):
            latents = _latents(state, part, context)
            loss, log = generator_phase(state.generator, state.discriminator, latents, config, context)
            (loss / len(parts)).backward()
            logs.append(log)
        skipped = update(state.generator, state.generator_optimizer, world)

    state.generator.requires_grad_(False)
    state.discriminator.requires_grad_(True)
    average = state.generator.mapping.w_avg
    start, moved = average.clone(), torch.zeros_like(average)
    for part, context in zip(parts, contexts("discriminator"), strict=True):
        average.copy_(start)  # every micro-batch moves it from where the step began
        latents = _latents(state, part, context)
        loss, log = discriminator_phase(state.generator, state.discriminator, latents, part, config, context)
        (loss / len(parts)).backward()
        moved += average / len(parts)
        logs.append(log)
    skipped = torch.maximum(skipped, update(state.discriminator, state.discriminator_optimizer, world))
    world.mean_([moved])
    average.copy_(moved)

    if (state.nimg // settings.batch) % config.loss.r1_interval == 0:
        for part, context in zip(parts, contexts("r1"), strict=True):
            loss, log = r1_phase(state.discriminator, part, config, context)
            (loss / len(parts)).backward()
            logs.append(log)
        skipped = torch.maximum(skipped, update(state.discriminator, state.discriminator_optimizer, world))

    state.nimg += settings.batch
    average_weights(state.ema, state.generator, settings.batch, ema_half_life(state))
    numbers = mean_log(logs, world)
    if config.loss.augmentation == "ada":
        state.augmentation.update(numbers["scores/real_sign"].item(), settings.batch)
    return send_log(numbers, skipped, state.nimg, {"augmentation": state.augmentation.probability})


def _latents(state: TrainState, part: Batch, context: StepContext) -> Latents:
    """Latents of as many fakes as the micro-batch `part` has images."""
    return sample_latents(
        state.config,
        state.labels,
        len(state.classes),
        len(part.labels),
        nimg=context.nimg,
        generator=context.rng,
        angles=state.angles,
    )


def ema_half_life(state: TrainState) -> float:
    """Half-life of the weight average in images, shorter while the run is young."""
    settings = state.config.training
    return min(1000 * settings.ema_kimg, settings.ema_rampup * state.nimg)


def write_snapshot(state: TrainState, folder: RunFolder, world: World) -> None:
    """Saves the averaged generator to generate with; one of this clock that is there already is the same, and stays."""
    path = folder.snapshot_path(state.nimg)
    if world.leads and not holds_snapshot(path, state.nimg):
        save_snapshot(path, state.ema, state.config, state.classes, state.nimg)
