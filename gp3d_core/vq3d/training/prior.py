"""Training the prior: codes once, then next-code prediction; the same command resumes, to the bit.

The clock is `nimg`, pictures seen; order and randomness depend on it alone, and the learning rate on the fraction of
the budget that is used up, as in stage 1.
"""

from __future__ import annotations

import copy
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.datasets.dataset import Dataset, shuffled
from gp3d_core.distributed import World
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.checkpointing import judge, restore, roll_back, write_checkpoint
from gp3d_core.training.divergence import DivergenceGuard
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.training.step import StepLog, average_weights, passed_multiple, send_log, update
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.files.prior_file import build_prior, keep_tokenizer, save_prior
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.precision import half_precision
from gp3d_core.vq3d.models.prior import Prior, unigram_entropy
from gp3d_core.vq3d.training.objective import learning_rate
from gp3d_core.vq3d.training.tokens import Tokens, check_tokens, tokens_of

REMEDY = "try a smaller prior.lr in a new run"
_BETAS = (0.9, 0.96)  # ViT-VQGAN §4.2
_MEMORY = 0.05  # half-life of the averaged weights, as a share of the pictures seen


@dataclass(eq=False)
class PriorState:
    """Everything that changes while training; a checkpoint holds exactly this.

    The clock of `config.training` is the prior's, see `clocked`.
    """

    config: Vq3dConfig
    prior: Prior
    ema: Prior
    optimizer: torch.optim.AdamW
    nimg: int = 0
    rollbacks: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    modules: dict[str, nn.Module] = field(init=False)
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"prior": self.prior, "ema": self.ema}
        self.optimizers = {"optimizer": self.optimizer}

    def facts(self) -> dict[str, Any]:
        """Nothing changes besides weights and clock."""
        return {}

    def accept(self, facts: Mapping[str, Any]) -> None:
        """Takes back what `facts` returned."""

    def progress(self, max_minutes: float) -> float:
        """Fraction of the budget that is used up, of pictures or of minutes, whichever is more; at most 1."""
        pictures = self.nimg / (1000 * self.config.prior.kimg)
        return min(max(pictures, self.seconds / (60 * max_minutes)), 1.0)


@dataclass(frozen=True)
class PriorRun:
    """Where a run writes, what it learns from, and what its snapshots must know."""

    config: Vq3dConfig
    folder: RunFolder
    tokens: Tokens
    classes: list[dict[str, Any]]
    tokenizer: str  # hash of its file


class PriorMonitor(RunMonitor):
    """Progress, with the entropy of single codes beside the loss: what looking at nothing would score."""

    players = MappingProxyType({"nll": "loss/nll"})

    def __init__(self, state: PriorState, run: PriorRun, world: World) -> None:
        """Starts the progress bar at the state's clock."""
        super().__init__(state, run.folder, world)
        self._entropy = unigram_entropy(run.tokens.codes.long(), run.config.codebook.size)

    def measures(self, state: PriorState) -> dict[str, float]:
        """The entropy, in nats."""
        return {"unigram_entropy": self._entropy}


def open_run(
    config: Vq3dConfig, snapshot: TokenizerSnapshot, dataset: Dataset, folder: RunFolder
) -> PriorRun:
    """Claims the folder, and encodes the data set unless that was done before.

    Raises a GP3DError when the folder belongs to another run, another tokenizer or other data.
    """
    hashed, table = snapshot.digest, folder.path / "tokens.safetensors"
    check_tokens(table, hashed)
    folder.claim(config.prior, dataset.fingerprint)
    keep_tokenizer(snapshot.path, folder.path)
    tokens = tokens_of(snapshot.tokenizer, dataset, table, hashed)
    return PriorRun(config, folder, tokens, dataset.classes, hashed)


def clocked(config: Vq3dConfig) -> Vq3dConfig:
    """`config` with the prior's clock in the place of the tokenizer's, where what all trainings share looks for it."""
    return replace(config, training=replace(config.training, kimg=config.prior.kimg))


def build_state(config: Vq3dConfig, classes: int, device: torch.device) -> PriorState:
    """A fresh prior, its average equal to it."""
    settings = config.prior
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        prior = build_prior(config, classes)
    prior.to(device).train()
    optimizer = torch.optim.AdamW(
        prior.parameters(), lr=settings.lr, betas=_BETAS, weight_decay=settings.weight_decay, fused=True
    )
    return PriorState(clocked(config), prior, copy.deepcopy(prior).eval().requires_grad_(False), optimizer)


def train_prior(
    run: PriorRun, interruption: Interruption, *, device: torch.device, max_minutes: float = math.inf
) -> PriorState:
    """Trains until `prior.kimg`, `max_minutes` of steps in all, or an interruption; then saves everything.

    Raises TrainingFailed when the run keeps diverging; checkpoints stay.
    """
    state, world = build_state(run.config, len(run.classes), device), World(device=device)
    restore(state, run.folder, world)
    with PriorMonitor(state, run, world) as monitor:
        while not _finished(state, interruption, max_minutes):
            _train_until_trouble(state, run, monitor, world, interruption, max_minutes)
        write_checkpoint(state, run.folder, world)
        write_snapshot(state, run)
        monitor.finish(state, "interrupted" if interruption.requested else "done")
    return state


def _finished(state: PriorState, interruption: Interruption, max_minutes: float) -> bool:
    return state.progress(max_minutes) >= 1 or interruption.requested


def _train_until_trouble(
    state: PriorState,
    run: PriorRun,
    monitor: PriorMonitor,
    world: World,
    interruption: Interruption,
    max_minutes: float,
) -> None:
    """Steps from the clock on until the run is finished, or until it had to be rolled back."""
    settings, guard = run.config.prior, DivergenceGuard(state.skipped_in_a_row)
    marks = (settings.status_kimg, settings.snapshot_kimg, settings.checkpoint_kimg)
    waiting, enough = deque[StepLog](), False
    while not enough:
        start, before = time.monotonic(), state.nimg
        waiting.append(step(state, run.tokens, state.progress(max_minutes), world))
        report, snapshot, checkpoint = (passed_multiple(before, state.nimg, kimg) for kimg in marks)
        # what is written must have been judged; else the step before is judged while this one runs
        trouble = judge(state, guard, monitor, waiting, keep=0 if report or snapshot or checkpoint else 1)
        state.seconds += time.monotonic() - start
        enough = _finished(state, interruption, max_minutes)
        if enough and trouble is None:
            trouble = judge(state, guard, monitor, waiting, keep=0)
        if trouble is not None:
            roll_back(state, run.folder, world, *trouble, remedy=REMEDY)
            monitor.note_rollback(state, trouble[0])
            return
        if report:
            monitor.report(state)
        if snapshot:
            write_snapshot(state, run)
        if checkpoint:
            write_checkpoint(state, run.folder, world)


def step(state: PriorState, tokens: Tokens, progress: float, world: World) -> StepLog:
    """One step; advances the clock by the batch. Returns the numbers to log."""
    settings, device = state.config.prior, world.device
    sides = 2 if state.config.training.mirror else 1
    items = shuffled(state.nimg, settings.batch, sides * len(tokens.codes), settings.seed)
    codes, labels = (_send(part, device) for part in tokens.batch(items))
    noise = generator_for(settings.seed, "prior", state.rollbacks, state.nimg, device=device)
    with half_precision(device, state.config.training.precision, training=True):
        logits = state.prior(codes, labels, noise)
    loss = next_code_loss(logits.float(), codes).mean()
    loss.backward()
    nn.utils.clip_grad_norm_(state.prior.parameters(), settings.clip)
    lr = learning_rate(settings.lr, progress, warm_up=settings.warm_up, final=settings.final_lr)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    skipped = update(state.prior, state.optimizer, world)
    state.nimg += settings.batch
    average_weights(state.ema, state.prior, settings.batch, _MEMORY * state.nimg)
    return send_log({"loss/nll": loss.detach()}, skipped, state.nimg, {"lr": lr})


def _send(part: Tensor, device: torch.device) -> Tensor:
    """The same on `device`; a GPU fetches it by itself, so that nothing waits."""
    return (part.pin_memory() if device.type == "cuda" else part).to(device, non_blocking=True)


def next_code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """−log p of every code [B,N] in nats, of `logits` [B,N,K] and `codes` [B,N]."""
    return F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")


@torch.no_grad()
def mean_nll(prior: Prior, codes: Tensor, labels: Tensor, batch: int = 64) -> float:
    """Mean −log p in nats of the `codes` [n,N] of pictures of the classes `labels` [n]."""
    device, total = prior.head.weight.device, 0.0
    for some, theirs in zip(codes.split(batch), labels.split(batch), strict=True):
        rows = some.long().to(device)
        total += float(next_code_loss(prior(rows, theirs.to(device)), rows).double().sum())
    return total / codes.numel()


def write_snapshot(state: PriorState, run: PriorRun) -> None:
    """Saves the averaged prior to sample from."""
    path = run.folder.snapshot_path(state.nimg)
    save_prior(path, state.ema, run.config, run.classes, state.nimg, run.tokenizer)
