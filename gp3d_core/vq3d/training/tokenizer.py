"""Training stage 1 of VQ3D: the tokenizer's state, its step, and both as a task of the training loop.

Schedules follow the fraction of the budget that is used up. With a budget of images a run that was stopped and resumed
equals one that never stopped, to the bit. With a budget of minutes phases begin when the time says so, which no two
runs agree on to the step. Of several processes each takes its part of a batch, with random numbers of its own; a step
is the mean of theirs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.distributed import World
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.launch import Ending, Plan, launch
from gp3d_core.training.loop import Budget
from gp3d_core.training.step import (
    StepLog,
    TrainableState,
    average_weights,
    half_life,
    mean_log,
    send_log,
    update,
)
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.files.tokenizer_file import save_tokenizer
from gp3d_core.vq3d.models.critic import Critics
from gp3d_core.vq3d.models.perception import open_lpips
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.rendering.depth import DepthSource
from gp3d_core.vq3d.rendering.views import to_radiance
from gp3d_core.vq3d.training.monitor import TokenizerMonitor, look_at
from gp3d_core.vq3d.training.novel_views import NovelView
from gp3d_core.vq3d.training.objective import (
    Lpips,
    Phase,
    Pictures,
    critic_phase,
    learning_rate,
    tokenizer_phase,
)
from gp3d_core.vq3d.training.true_views import OtherViews, beside_batches, true_pairs

_BETAS, _CRITIC_BETAS = (0.9, 0.99), (0.0, 0.99)


@dataclass(eq=False)
class TokenizerState(TrainableState):
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: Vq3dConfig
    tokenizer: Tokenizer
    ema: Tokenizer
    critics: Critics
    optimizer: torch.optim.AdamW
    critic_optimizer: torch.optim.Adam
    classes: list[ClassRecord]

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"tokenizer": self.tokenizer, "ema": self.ema, "critics": self.critics}
        self.optimizers = {"optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer}


@dataclass(frozen=True, eq=False)
class TokenizerTask:
    """A run of stage 1 on `dataset`, as the training loop sees it."""

    state: TokenizerState
    dataset: Dataset
    source: DepthSource
    others: OtherViews | None
    world: World
    budget: Budget
    monitor: TokenizerMonitor
    lpips: Lpips | None
    remedy: str = "try smaller training.lr and training.critic_lr or a larger critic.r1_gamma in a new run"

    @property
    def schedule(self) -> Schedule:
        """When the run saves and ends."""
        return self.state.config.tokenizer_schedule

    def steps(self) -> Iterator[StepLog]:
        """A step for each batch of the data set from the clock on."""
        state, read = self.state, (self.dataset, self.source, self.others)
        for pictures in training_batches(state.config, *read, state.nimg, self.world):
            yield train_step(state, pictures, self.budget.share_used(state), self.world, self.lpips)

    def save_snapshot(self, path: Path, *, final: bool) -> None:
        """Saves the averaged tokenizer."""
        state = self.state
        save_tokenizer(path, state.ema, state.config, state.classes, state.nimg, self.dataset.licences)


def start_tokenizer_training(
    config: Vq3dConfig, dataset_path: Path, run: Path, *, device: str, max_minutes: float = math.inf
) -> Ending:
    """How the training on the data set at `dataset_path` in the folder `run` ended; it goes on from what is there.

    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    dataset = Dataset(dataset_path)
    DepthSource(config, dataset.t_near, dataset.t_far)
    others, settings = open_other_views(config, dataset), config.training
    plan = Plan(
        config=config,
        schedule=config.tokenizer_schedule,
        fingerprint=dataset.fingerprint,
        check_data=lambda rank, size: dataset.check(settings.resolution, rank=rank, size=size),
        open_task=lambda folder, here, budget: open_task(config, dataset, folder, here, budget, others),
        check_share=partial(check_share, config),
        less_memory=f"choose a `training.batch` below {settings.batch}, or a window with `training.patch`=64",
    )
    return launch(plan, run, device=device, max_minutes=max_minutes)


def check_share(config: Vq3dConfig, processes: int) -> None:
    """Raises ConfigError when `processes` cannot share a batch in whole groups of the minibatch standard deviation."""
    batch, group = config.training.batch, min(config.critic.mbstd_group, config.training.batch)
    if processes > 1 and batch % (processes * group):
        raise ConfigError(
            f"training.batch {batch} cannot be shared by {processes} processes in groups of critic.mbstd_group "
            f"{group}; use a multiple of {processes * group}"
        )


def open_task(
    config: Vq3dConfig,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    budget: Budget,
    others: OtherViews | None,
) -> TokenizerTask:
    """A fresh run of the claimed `folder`; `others` are those that `open_other_views` gives."""
    source = DepthSource(config, dataset.t_near, dataset.t_far)
    lpips = open_lpips(world.device) if config.loss.perceptual == "lpips" else None
    state = build_tokenizer_state(config, dataset.classes, world.device)
    monitor = TokenizerMonitor(state, config.tokenizer_schedule, folder, world, look_at(dataset, source))
    return TokenizerTask(state, dataset, source, others, world, budget, monitor, lpips)


def training_batches(
    config: Vq3dConfig,
    dataset: Dataset,
    source: DepthSource,
    others: OtherViews | None,
    nimg: int,
    world: World,
) -> Iterator[Pictures]:
    """This process's part of every batch from `nimg` images seen on; read ahead, and nothing waits for the device."""
    settings, device, part = config.training, world.device, world.part_of(config.training.batch)
    pinned = device.type == "cuda"
    read = batches(
        dataset,
        nimg=nimg,
        batch=settings.batch,
        part=part,
        seed=settings.seed,
        mirror=settings.mirror,
        pinned=pinned,
    )
    if others is None:
        for batch in read:
            yield as_pictures(batch.to(device), source)
        return
    beside = beside_batches(
        read, others, nimg=nimg, batch=settings.batch, part=part, seed=settings.seed, pinned=pinned
    )
    for batch, other, poses in beside:
        pictures = as_pictures(batch.to(device), source)
        yield with_other_view(pictures, as_pictures(other.to(device), source), poses)


def as_pictures(batch: Batch, source: DepthSource) -> Pictures:
    """A batch of a data set as stage 1 learns from it."""
    return Pictures(batch.images, source.target(batch.depth))


def open_other_views(config: Vq3dConfig, dataset: Dataset) -> OtherViews | None:
    """The data set's true views of the same scenes, if the run learns from them.

    Raises DatasetError where no camera is known, or no two views of a model are as close as `camera.view_turn`.
    """
    if config.loss.view_source != "true" or config.loss.view == 0:
        return None
    pairs = true_pairs(dataset, unit=config.depth.unit, limit=config.camera.view_turn)
    if not pairs.source:
        raise DatasetError(
            f"{dataset.path} has no two views of a model within camera.view_turn={config.camera.view_turn:g} degrees: "
            "render more views of each, or use loss.view_source=warp"
        )
    return OtherViews(dataset, pairs)


def with_other_view(pictures: Pictures, seen: Pictures, poses: Tensor) -> Pictures:
    """`pictures` with what is `seen` of the same scenes from the cameras at `poses` [B,4,4] beside each."""
    poses = poses.to(seen.images.device, non_blocking=True)
    known = torch.ones_like(seen.target)
    return replace(pictures, other=NovelView(poses, to_radiance(seen.images), seen.target, known))


def build_tokenizer_state(
    config: Vq3dConfig, classes: list[ClassRecord], device: torch.device
) -> TokenizerState:
    """A fresh run: weights of the seed, EMA equal to the tokenizer."""
    settings, critic = config.training, config.critic
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        tokenizer, critics = Tokenizer(config), Critics(config)
    tokenizer.to(device).train()
    critics.to(device).train()
    lazy = critic.r1_interval / (critic.r1_interval + 1) if critic.r1_gamma > 0 else 1.0
    betas = (_CRITIC_BETAS[0], _CRITIC_BETAS[1] ** lazy)
    return TokenizerState(
        config=config,
        tokenizer=tokenizer,
        ema=copy.deepcopy(tokenizer).eval().requires_grad_(False),
        critics=critics,
        optimizer=torch.optim.AdamW(
            tokenizer.parameters(), settings.lr, _BETAS, weight_decay=settings.weight_decay, fused=True
        ),
        critic_optimizer=torch.optim.Adam(critics.parameters(), settings.critic_lr * lazy, betas, fused=True),
        classes=classes,
    )


def train_step(
    state: TokenizerState, pictures: Pictures, progress: float, world: World, lpips: Lpips | None = None
) -> StepLog:
    """The numbers of one step of the tokenizer and, in their phases, of the critics on what it just made.

    `pictures` are this process's part of a batch; the clock advances by the whole batch.
    """
    config, settings = state.config, state.config.training
    step, phase = state.nimg // settings.batch, Phase.at(config, progress)

    def randomness(purpose: str) -> torch.Generator:
        return step_generator(state, purpose, world)

    tokenizer, critics, codebook = state.tokenizer, state.critics, state.tokenizer.codebook
    if phase.rounded and codebook.awaits_start():
        with torch.no_grad():
            codebook.start(tokenizer.encoder(pictures.images), randomness("start"))
        world.copy_from_leader_([codebook.codes.data])
    uses = codebook.uses.clone()
    tokenizer.requires_grad_(True).encoder.train(not phase.settled)
    critics.requires_grad_(False)
    if phase.settled:
        tokenizer.encoder.requires_grad_(False)
        codebook.requires_grad_(False)
    lr = learning_rate(settings.lr, progress, warm_up=settings.warm_up, final=settings.final_lr)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    loss, log, fakes, encoding = tokenizer_phase(
        tokenizer, critics, pictures, phase, randomness("tokenizer"), lpips
    )
    loss.backward()
    codebook.uses -= uses
    world.sum_(codebook.uses)  # by all processes in this step
    codebook.uses += uses
    # running moments of tokens, of which each process has met its part
    world.mean_([moment for moment in tokenizer.encoder.centre.buffers() if moment.is_floating_point()])
    skipped = update(tokenizer, state.optimizer, world, clip=settings.clip)
    revived = 0
    if (
        phase.rounded
        and progress < config.codebook.revive_until
        and (step + 1) % config.codebook.revive_every == 0
    ):
        revived = codebook.revive(encoding.continuous, randomness("revive"), state.optimizer)
        world.copy_from_leader_([codebook.codes.data])

    if fakes.main is not None or fakes.novel is not None:
        critics.requires_grad_(True)
        regularised = step % config.critic.r1_interval == 0
        gamma = config.critic.r1_gamma * config.critic.r1_interval if regularised else 0.0
        loss, more = critic_phase(critics, fakes, r1_gamma=gamma)
        loss.backward()
        skipped = torch.maximum(skipped, update(critics, state.critic_optimizer, world))
        log |= more

    state.nimg += settings.batch
    average_weights(state.ema, tokenizer, settings.batch, half_life(settings, state.nimg))
    known = {"progress": progress, "lr": lr, "codes/revived": float(revived)}
    return send_log(mean_log([log], world), skipped, state.nimg, known)


def step_generator(state: TokenizerState, purpose: str, world: World) -> torch.Generator:
    """Random numbers of this step for `purpose`; processes that do not lead have their own."""
    key: list[int | str] = [state.config.training.seed, state.rollbacks, state.nimg, purpose]
    return generator_for(*key, *([world.rank] if world.rank else []), device=world.device)
