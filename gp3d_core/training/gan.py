"""Adversarial training, of 3DGP and the systems it is compared with: state, step, and both as a task of the loop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from gp3d_core.baselines.generators import make_generator
from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.distributed import World
from gp3d_core.licences.parts import Licences, merge
from gp3d_core.networks.generator import BaseGenerator
from gp3d_core.networks.latents import Latents, sample_latents
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.metadata import handed_on, read_snapshot_facts
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.augmentation import AugmentationController
from gp3d_core.training.gan_monitor import GanMonitor
from gp3d_core.training.phases import StepContext
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
from gp3d_core.training.systems.phases import Penalty, Phases, Players, share_without
from gp3d_core.training.systems.projected import fill_features
from gp3d_core.training.systems.table import make_discriminator, make_phases
from gp3d_core.training.warm_start import begin_with


@dataclass(eq=False)
class TrainState(TrainableState):
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: RunConfig
    generator: BaseGenerator
    ema: BaseGenerator
    discriminator: nn.Module
    phases: Phases
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    augmentation: AugmentationController
    labels: Tensor  # of all training images, from which fakes take their classes
    classes: list[ClassRecord]
    angles: Tensor | None = None  # of all training images, where the prior is custom

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            **self.phases.modules,
        }
        self.optimizers = {
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        self.controllers = {"augmentation": self.augmentation}


@dataclass(frozen=True, eq=False)
class GanTask:
    """A run on `dataset`, as the training loop sees it.

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
    config: RunConfig,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    init: Path | None = None,
    weights: Path | None = None,
) -> GanTask:
    """A fresh run of the claimed `folder`; without checkpoints there it begins with the snapshot `init`, if any, and
    the pretrained network that the discriminator looks through with the file `weights`, if it has one.
    """
    state = build_state(config, dataset, world)
    if not folder.list_checkpoints():
        if init is not None:
            begin_with(init, state.generator, state.ema)
        if weights is not None:
            fill_features(state.discriminator, weights)
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
        generator = make_generator(config, dataset.num_classes)
        discriminator = make_discriminator(config, dataset.num_classes, dataset.feature_dim)
    generator.to(world.device).train()
    discriminator.to(world.device).train()
    phases = make_phases(config, dataset)
    for module in phases.modules.values():
        module.to(world.device)
    rates = settings.generator_lr, settings.discriminator_lr
    return TrainState(
        config=config,
        generator=generator,
        ema=copy.deepcopy(generator).eval().requires_grad_(False),
        discriminator=discriminator,
        phases=phases,
        generator_optimizer=adam(generator, rates[0], lazy=share_without(phases.generator_penalties)),
        discriminator_optimizer=adam(
            discriminator, rates[1], lazy=share_without(phases.discriminator_penalties)
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


class _Step:
    """A step under way: the micro-batches of this process, and what was logged of them."""

    def __init__(self, state: TrainState, parts: list[Batch], world: World) -> None:
        self.state, self.parts, self.world = state, parts, world
        self.logs: list[Log] = []

    def take(
        self, phase: str, minimise: Callable[[Players], tuple[Tensor, Log]], running: Sequence[Tensor] = ()
    ) -> None:
        """Adds up the gradients of a phase. Every micro-batch of every process moves the `running` means from where the
        phase began; they end at the mean of where it moved them.
        """
        starts, moved = [mean.clone() for mean in running], [torch.zeros_like(mean) for mean in running]
        for players in self._players(phase):
            loss, log = minimise(players)
            (loss / len(self.parts)).backward()
            self.logs.append(log)
            for mean, start, whole in zip(running, starts, moved, strict=True):
                whole += mean / len(self.parts)
                mean.copy_(start)
        self.world.mean_(moved)
        for mean, whole in zip(running, moved, strict=True):
            mean.copy_(whole)

    def penalise(
        self, penalties: Sequence[Penalty], module: nn.Module, optimizer: torch.optim.Adam
    ) -> list[Tensor]:
        """Takes those of the penalties that come in this step, each with an update; what `update` said of them."""
        # Counted in steps, not in images: a penalty is multiplied by its interval, and the optimiser's rate and betas
        # are corrected for one more update in so many steps (`adam`), whatever the batch. All processes have the same
        # clock.
        number, skipped = self.state.nimg // self.state.config.training.batch, []
        means = [buffer for part in self.state.phases.modules.values() for buffer in part.buffers()]
        for penalty in penalties:
            if number % penalty.interval == 0:
                self.take(penalty.name, penalty.loss, means)
                skipped.append(update(module, optimizer, self.world))
        return skipped

    def _players(self, phase: str) -> Iterator[Players]:
        """The players with each micro-batch, and random numbers that depend on clock, phase and its place alone."""
        state, seed = self.state, self.state.config.training.seed
        for place, part in enumerate(self.parts, self.world.rank * len(self.parts)):
            rng = generator_for(seed, state.rollbacks, state.nimg, phase, place, device=self.world.device)
            context = StepContext(state.nimg, state.augmentation.probability, rng)
            draw = partial(_latents, state, part, context)
            yield Players(state.generator, state.discriminator, part, context, draw)


def train_step(state: TrainState, batch: Batch, world: World) -> StepLog:
    """One step of each player on this process's part of a batch; advances the clock by the whole batch.

    Returns the numbers to log, averaged over micro-batches and processes. Waits for nothing that it started, except
    that adaptive augmentation needs the step's scores before the next.
    """
    config, settings = state.config, state.config.training
    step = _Step(state, split(batch, settings.micro_batch), world)
    skipped = [torch.zeros((), device=world.device)]
    if state.nimg >= 1000 * settings.head_start_kimg:
        state.generator.requires_grad_(True)
        state.discriminator.requires_grad_(False)
        step.take("generator", state.phases.generator)
        skipped.append(update(state.generator, state.generator_optimizer, world))
        skipped += step.penalise(state.phases.generator_penalties, state.generator, state.generator_optimizer)

    state.generator.requires_grad_(False)
    state.discriminator.requires_grad_(True)
    step.take("discriminator", state.phases.discriminator, [state.generator.mapping.w_avg])
    skipped.append(update(state.discriminator, state.discriminator_optimizer, world))
    skipped += step.penalise(
        state.phases.discriminator_penalties, state.discriminator, state.discriminator_optimizer
    )

    state.nimg += settings.batch
    average_weights(state.ema, state.generator, settings.batch, half_life(settings, state.nimg))
    numbers = mean_log(step.logs, world)
    if config.loss.augmentation == "ada":
        state.augmentation.update(numbers["scores/real_sign"].item(), settings.batch)
    return send_log(
        numbers, torch.stack(skipped).max(), state.nimg, {"augmentation": state.augmentation.probability}
    )


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
