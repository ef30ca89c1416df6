"""Training stage 1 of VQ3D: the loop as one page, the mechanics below it.

The clock is `nimg`, images seen; schedules follow the fraction of the budget that is used up. With a budget of images
a run that was stopped and resumed equals one that never stopped, to the bit. With a budget of minutes phases begin when
the time says so, which no two runs agree on to the step.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Batch, Dataset, batches
from gp3d_core.distributed import World
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption, interruptible
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.checkpointing import judge, restore, roll_back, write_checkpoint
from gp3d_core.training.divergence import DivergenceGuard
from gp3d_core.training.step import StepLog, average_weights, mean_log, passed_multiple, send_log, update
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

REMEDY = "try smaller training.lr and training.critic_lr or a larger critic.r1_gamma in a new run"
_BETAS, _CRITIC_BETAS = (0.9, 0.99), (0.0, 0.99)


@dataclass(eq=False)
class TokenizerState:
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: Vq3dConfig
    tokenizer: Tokenizer
    ema: Tokenizer
    critics: Critics
    optimizer: torch.optim.AdamW
    critic_optimizer: torch.optim.Adam
    classes: list[dict[str, Any]]
    nimg: int = 0
    rollbacks: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    modules: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"tokenizer": self.tokenizer, "ema": self.ema, "critics": self.critics}
        self.optimizers = {"optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer}

    def facts(self) -> dict[str, Any]:
        """Nothing that a checkpoint does not hold anyway."""
        return {}

    def accept(self, facts: Mapping[str, Any]) -> None:
        """Takes nothing back."""

    def progress(self, max_minutes: float) -> float:
        """Fraction of the budget that is used up, of images or of minutes, whichever is more; at most 1."""
        images = self.nimg / (1000 * self.config.training.kimg)
        return min(max(images, self.seconds / (60 * max_minutes)), 1.0)


@dataclass(frozen=True)
class Ending:
    """How a run ended: its newest snapshot, half a sentence for people, and the exit code."""

    snapshot: Path
    said: str
    exit_code: int


def start_tokenizer_training(
    config: Vq3dConfig, dataset_path: Path, run: Path, *, device: str, max_minutes: float = math.inf
) -> Ending:
    """Trains on the data set at `dataset_path` in the folder `run`, resuming what is there.

    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    dataset, folder = Dataset(dataset_path), RunFolder(run)
    DepthSource(config, dataset.t_near, dataset.t_far)
    open_other_views(config, dataset)
    if folder.data_fingerprint() != dataset.fingerprint:  # a run that goes on has checked its data before
        dataset.check(config.training.resolution)
    folder.claim(config, dataset.fingerprint)
    with interruptible() as interruption:
        try:
            state = train_tokenizer(
                config, dataset, folder, torch.device(device), interruption, max_minutes=max_minutes
            )
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"out of memory with training.batch {config.training.batch}: choose a smaller one, or a window with "
                "`training.patch`=64"
            ) from error
    total = round(1000 * config.training.kimg)
    if state.progress(max_minutes) >= 1:
        said = f"done at {state.nimg} of {total} images"
    else:
        said = f"stopped at {state.nimg} of {total} images; the same command goes on"
    return Ending(folder.snapshot_path(state.nimg), said, interruption.exit_code)


def train_tokenizer(
    config: Vq3dConfig,
    dataset: Dataset,
    folder: RunFolder,
    device: torch.device,
    interruption: Interruption,
    *,
    max_minutes: float = math.inf,
) -> TokenizerState:
    """Trains until `training.kimg`, `max_minutes` of steps in all, or an interruption; then saves everything.

    Raises TrainingFailed when the run keeps diverging.
    """
    source = DepthSource(config, dataset.t_near, dataset.t_far)
    lpips = open_lpips(device) if config.loss.perceptual == "lpips" else None
    here = World(device=device)
    state = build_tokenizer_state(config, dataset.classes, device)
    restore(state, folder, here)
    with TokenizerMonitor(state, folder, here, look_at(dataset, source)) as monitor:
        while not _finished(state, interruption, max_minutes):
            _train_until_trouble(state, dataset, source, folder, monitor, interruption, max_minutes, lpips)
        write_checkpoint(state, folder, here)
        save_tokenizer(folder.snapshot_path(state.nimg), state.ema, config, state.classes, state.nimg)
        monitor.finish(state, "interrupted" if interruption.requested else "done")
    return state


def _finished(state: TokenizerState, interruption: Interruption, max_minutes: float) -> bool:
    return state.progress(max_minutes) >= 1 or interruption.requested


def _train_until_trouble(
    state: TokenizerState,
    dataset: Dataset,
    source: DepthSource,
    folder: RunFolder,
    monitor: TokenizerMonitor,
    interruption: Interruption,
    max_minutes: float,
    lpips: Lpips | None,
) -> None:
    """Steps through the data from the clock on until the run is finished, or until it had to be rolled back."""
    settings, guard = state.config.training, DivergenceGuard(state.skipped_in_a_row)
    here, waiting = monitor.world, deque[StepLog]()
    for pictures in training_batches(state.config, dataset, source, state.nimg, here.device):
        start, before = time.monotonic(), state.nimg
        waiting.append(train_step(state, pictures, state.progress(max_minutes), here, lpips))
        marks = (settings.status_kimg, settings.snapshot_kimg, settings.checkpoint_kimg)
        report, snapshot, checkpoint = (passed_multiple(before, state.nimg, kimg) for kimg in marks)
        # what is written must have been judged; else the step before is judged while this one runs
        trouble = judge(state, guard, monitor, waiting, keep=0 if report or snapshot or checkpoint else 1)
        state.seconds += time.monotonic() - start
        enough = _finished(state, interruption, max_minutes)
        if enough and trouble is None:
            trouble = judge(state, guard, monitor, waiting, keep=0)
        if trouble is not None:
            roll_back(state, folder, here, *trouble, remedy=REMEDY)
            monitor.note_rollback(state, trouble[0])
            return
        if report:
            monitor.report(state)
        if snapshot:
            path = folder.snapshot_path(state.nimg)
            save_tokenizer(path, state.ema, state.config, state.classes, state.nimg)
            monitor.picture(state)
        if checkpoint:
            write_checkpoint(state, folder, here)
        if enough:
            return


def training_batches(
    config: Vq3dConfig, dataset: Dataset, source: DepthSource, nimg: int, device: torch.device
) -> Iterator[Pictures]:
    """What every step learns from, from `nimg` images seen on; files are read ahead, and nothing waits for `device`."""
    settings, pinned = config.training, device.type == "cuda"
    read = batches(
        dataset,
        nimg=nimg,
        batch=settings.batch,
        part=slice(0, settings.batch),
        seed=settings.seed,
        mirror=settings.mirror,
        pinned=pinned,
    )
    others = open_other_views(config, dataset)
    if others is None:
        for batch in read:
            yield as_pictures(batch.to(device), source)
        return
    for batch, other, poses in beside_batches(read, others, nimg=nimg, seed=settings.seed, pinned=pinned):
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
    config: Vq3dConfig, classes: list[dict[str, Any]], device: torch.device
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
    state: TokenizerState, pictures: Pictures, progress: float, here: World, lpips: Lpips | None = None
) -> StepLog:
    """One step of the tokenizer and, in their phases, of the critics on what it just made; advances the clock."""
    config, settings = state.config, state.config.training
    step, phase = state.nimg // settings.batch, Phase.at(config, progress)

    def randomness(purpose: str) -> torch.Generator:
        return generator_for(settings.seed, state.rollbacks, state.nimg, purpose, device=here.device)

    tokenizer, critics, codebook = state.tokenizer, state.critics, state.tokenizer.codebook
    if phase.rounded and codebook.awaits_start():
        with torch.no_grad():
            codebook.start(tokenizer.encoder(pictures.images), randomness("start"))
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
    nn.utils.clip_grad_norm_(tokenizer.parameters(), settings.clip)
    skipped = update(tokenizer, state.optimizer, here)
    revived = 0
    if (
        phase.rounded
        and progress < config.codebook.revive_until
        and (step + 1) % config.codebook.revive_every == 0
    ):
        revived = codebook.revive(encoding.continuous, randomness("revive"), state.optimizer)

    if fakes.main is not None or fakes.novel is not None:
        critics.requires_grad_(True)
        regularised = step % config.critic.r1_interval == 0
        gamma = config.critic.r1_gamma * config.critic.r1_interval if regularised else 0.0
        loss, more = critic_phase(critics, fakes, r1_gamma=gamma)
        loss.backward()
        skipped = torch.maximum(skipped, update(critics, state.critic_optimizer, here))
        log |= more

    state.nimg += settings.batch
    half_life = min(1000 * settings.ema_kimg, settings.ema_rampup * state.nimg)
    average_weights(state.ema, tokenizer, settings.batch, half_life)
    known = {"progress": progress, "lr": lr, "codes/revived": float(revived)}
    return send_log(mean_log([log], here), skipped, state.nimg, known)
