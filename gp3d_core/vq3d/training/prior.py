"""Training the prior of VQ3D: its state, its step (next-code prediction), and both as a task of the training loop.

The data set's codes are computed once, before the first step. The learning rate follows the fraction of the budget that
is used up, as in stage 1. Of several processes each takes its part of a batch, with random numbers of its own; a step
is the mean of theirs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Dataset, shuffled
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.distributed import World
from gp3d_core.licences.parts import Licences, merge
from gp3d_core.ops.precision import half_precision
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.metadata import handed_on
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.launch import Ending, Plan, launch
from gp3d_core.training.loop import Budget
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.training.step import StepLog, TrainableState, average_weights, mean_log, send_log, update
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.files.prior_file import build_prior, keep_tokenizer, save_prior
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.prior import Prior, unigram_entropy
from gp3d_core.vq3d.training.objective import learning_rate
from gp3d_core.vq3d.training.tokens import Tokens, check_size, check_tokens, tokens_of

_BETAS = (0.9, 0.96)  # ViT-VQGAN §4.2
_TABLE = "tokens.safetensors"  # in the run folder
_MEMORY = 0.05  # half-life of the averaged weights, as a share of the pictures seen


@dataclass(eq=False)
class PriorState(TrainableState):
    """Everything that changes while training; a checkpoint holds exactly this."""

    config: Vq3dConfig
    prior: Prior
    ema: Prior
    optimizer: torch.optim.AdamW

    def __post_init__(self) -> None:
        """Name the parts as checkpoints name them."""
        self.modules = {"prior": self.prior, "ema": self.ema}
        self.optimizers = {"optimizer": self.optimizer}


class PriorMonitor(RunMonitor[PriorState]):
    """Reports the entropy of single codes beside the loss: what a model that looks at nothing would score."""

    players = MappingProxyType({"nll": "loss/nll"})

    def __init__(
        self, state: PriorState, schedule: Schedule, folder: RunFolder, world: World, tokens: Tokens
    ) -> None:
        super().__init__(state, schedule, folder, world)
        self._entropy = unigram_entropy(tokens.codes.long(), state.config.codebook.size)

    def measures(self) -> dict[str, float]:
        """The entropy, in nats."""
        return {"unigram_entropy": self._entropy}


@dataclass(frozen=True, eq=False)
class PriorTask:
    """A run of the prior on the codes `tokens`, as the training loop sees it.

    classes: records of the data set. tokenizer: hash of its file, which snapshots must know. licences: of the data set
    and of what the tokenizer has learnt from.
    """

    state: PriorState
    tokens: Tokens
    classes: list[ClassRecord]
    tokenizer: str
    licences: Licences
    world: World
    budget: Budget
    monitor: PriorMonitor
    remedy: str = "try a smaller prior.lr in a new run"

    @property
    def schedule(self) -> Schedule:
        """When the run saves and ends."""
        return self.state.config.prior_schedule

    def steps(self) -> Iterator[StepLog]:
        """A step for each batch of codes from the clock on."""
        while True:
            yield train_step(self.state, self.tokens, self.budget.share_used(self.state), self.world)

    def save_snapshot(self, path: Path, *, final: bool) -> None:
        """Saves the averaged prior to sample from."""
        state = self.state
        known = (state.config, self.classes, state.nimg, self.tokenizer, self.licences)
        save_prior(path, state.ema, *known)


def start_prior_training(
    config: Vq3dConfig,
    snapshot: TokenizerSnapshot,
    dataset: Dataset,
    run: Path,
    *,
    device: str,
    max_minutes: float = math.inf,
) -> Ending:
    """How the training over the codes of `snapshot` on `dataset` in the folder `run` ended; it goes on from there.

    Raises a GP3DError when the folder belongs to another run, another tokenizer or other data, and for pictures of
    another size than the tokenizer takes.
    """
    check_tokens(run / _TABLE, snapshot.digest)
    check_size(dataset, config.training.resolution)
    plan = Plan(
        config=config.prior,
        schedule=config.prior_schedule,
        fingerprint=dataset.fingerprint,
        open_task=lambda folder, here, budget: open_task(config, snapshot, dataset, folder, here, budget),
        check_share=partial(check_share, config),
        less_memory=f"choose a `prior.batch` below {config.prior.batch}",
    )
    return launch(plan, run, device=device, max_minutes=max_minutes)


def check_share(config: Vq3dConfig, processes: int) -> None:
    """Raises ConfigError when `processes` cannot share a batch."""
    if config.prior.batch % processes:
        raise ConfigError(
            f"prior.batch {config.prior.batch} cannot be shared by {processes} processes; use a multiple of it"
        )


def open_task(
    config: Vq3dConfig,
    snapshot: TokenizerSnapshot,
    dataset: Dataset,
    folder: RunFolder,
    world: World,
    budget: Budget,
) -> PriorTask:
    """A fresh run of the claimed `folder`; the leading process encodes the data set unless that was done before."""
    wanted = (snapshot.tokenizer, dataset, folder.path / _TABLE, snapshot.digest)
    if world.leads:
        keep_tokenizer(snapshot.path, folder.path)
        tokens = tokens_of(*wanted)
    world.barrier()
    if not world.leads:
        tokens = tokens_of(*wanted)
    state = build_state(config, len(dataset.classes), world.device)
    monitor = PriorMonitor(state, config.prior_schedule, folder, world, tokens)
    licences = merge(dataset.licences, handed_on(snapshot.path, snapshot.licences))
    return PriorTask(state, tokens, dataset.classes, snapshot.digest, licences, world, budget, monitor)


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
    return PriorState(config, prior, copy.deepcopy(prior).eval().requires_grad_(False), optimizer)


def train_step(state: PriorState, tokens: Tokens, progress: float, world: World) -> StepLog:
    """The numbers of one step on this process's part of a batch; advances the clock by the whole batch."""
    settings, device = state.config.prior, world.device
    sides = 2 if state.config.training.mirror else 1
    items = shuffled(state.nimg, settings.batch, sides * len(tokens.codes), settings.seed)
    codes, labels = (_send(part, device) for part in tokens.batch(items[world.part_of(settings.batch)]))
    key: list[int | str] = [settings.seed, "prior", state.rollbacks, state.nimg]
    noise = generator_for(*key, *([world.rank] if world.rank else []), device=device)
    with half_precision(device, state.config.training.precision, training=True):
        logits = state.prior(codes, labels, noise)
    loss = next_code_loss(logits.float(), codes).mean()
    loss.backward()
    lr = learning_rate(settings.lr, progress, warm_up=settings.warm_up, final=settings.final_lr)
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    skipped = update(state.prior, state.optimizer, world, clip=settings.clip)
    state.nimg += settings.batch
    average_weights(state.ema, state.prior, settings.batch, _MEMORY * state.nimg)
    return send_log(mean_log([{"loss/nll": loss}], world), skipped, state.nimg, {"lr": lr})


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
