"""Training 3DGP: its state, its step, and both as a task of the training loop."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.distributed import World
from gp3d_core.licences.parts import Licences, merge
from gp3d_core.networks.discriminator import Discriminator
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.metadata import handed_on, read_snapshot_facts
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.augmentation import AugmentationController
from gp3d_core.training.gan_monitor import GanMonitor
from gp3d_core.training.phases import (
    StepContext,
    discriminator_phase,
    generator_phase,
    r1_phase,
)
from gp3d_core.training.step import (
    Log,
    StepLog,
    TrainableState,
    adam,
    average_weights,
    half_life,
    mean_log,
    send_log,
    split,
    update,
)
from gp3d_core.training.warm_start import begin_with


@dataclass(eq=False)
class TrainState(TrainableState):
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: RunConfig
    generator: Generator
    ema: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    augmentation: AugmentationController
    labels: Tensor  # of all training images, from which fakes take their classes
    classes: list[ClassRecord]
    angles: Tensor | None = None  # of all training images, where the prior is custom

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"generator": self.generator, "ema": self.ema, "discriminator": self.discriminator}
        self.optimizers = {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        self.controllers = {"augmentation": self.augmentation}


@dataclass(frozen=True, eq=False)
class GanTask:
    """A run of 3DGP on `dataset`, as the training loop sees it.

    `licences` are those of the data, and of what the run began with.
    """

    state: TrainState
    dataset: Dataset
    world: World
    monitor: GanMonitor
    licences: Licences
    remedy: str = "try a larger loss.r1_gamma or smaller learning rates in a new run"

    @property
    def schedule(self) -> Schedule:
        """When the run saves and ends."""
        return self.state.config.training.schedule

    def steps(self) -> Iterator[StepLog]:
        """A step for each batch of the data set from the clock on."""
        settings, world = self.state.config.training, self.world
        for batch in batches(
            self.dataset,
            nimg=self.state.nimg,
            batch=settings.batch,
            part=world.part_of(settings.batch),
            seed=settings.seed,
            mirror=settings.mirror,
            pinned=world.device.type == "cuda",
        ):
            yield train_step(self.state, batch.to(world.device), world)

    def save_snapshot(self, path: Path, *, final: bool) -> None:
        """Saves the averaged generator."""
        state = self.state
        save_snapshot(path, state.ema, state.config, state.classes, state.nimg, licences=self.licences)


def open_task(
    config: RunConfig, dataset: Dataset, folder: RunFolder, world: World, init: Path | None = None
) -> GanTask:
    """A fresh run of the claimed `folder`; without checkpoints there it begins with the snapshot `init`, if any."""
    state = build_state(config, dataset, world)
    if init is not None and not folder.list_checkpoints():
        begin_with(init, state.generator, state.ema)
    monitor = GanMonitor(state, config.training.schedule, folder, world)
    licences = dataset.licences
    if init is not None:
        begun = read_snapshot_facts(init)
        licences = merge(licences, handed_on(init, begun.licences, begun.license))
    return GanTask(state, dataset, world, monitor, licences)


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
    """A fresh run: the same weights on every process, EMA equal to the generator."""
    settings = config.training
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

    # Counted in steps, not in images: the penalty is multiplied by the interval, and the optimiser's rate and betas are
    # corrected for one more update in so many steps (`adam`), whatever the batch. All processes have the same clock.
    if (state.nimg // settings.batch) % config.loss.r1_interval == 0:
        for part, context in zip(parts, contexts("r1"), strict=True):
            loss, log = r1_phase(state.discriminator, part, config, context)
            (loss / len(parts)).backward()
            logs.append(log)
        skipped = torch.maximum(skipped, update(state.discriminator, state.discriminator_optimizer, world))

    state.nimg += settings.batch
    average_weights(state.ema, state.generator, settings.batch, half_life(settings, state.nimg))
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
