"""The code prior: which codes a picture of a class has, one after the other in raster order (ViT-VQGAN §3.3).

The sequence is [class, code 0, …, code N − 2]; what stands at position j predicts code j, hence no prediction sees
itself or what comes later. While sampling, keys and values of earlier positions are kept.
Letters: B batch, N codes of a picture, K codes there are, d width, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.ops.checks import check_shape
from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.vq3d.config import PriorConfig, SamplingError
from gp3d_core.vq3d.models.vit import attend, positions

_EMBEDDING_STD = 0.02
Drop = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn. Temperature 0 takes the likeliest; top_k 0 and top_p 1 leave none out; guidance 1 is none.

    Guidance g draws from logits u + g·(c − u), c with the class and u without. Raises SamplingError out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not (self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and self.guidance >= 0):
            raise SamplingError(
                "expected `temperature`, `top_k` and `guidance` of at least 0 and `top_p` above 0 and at most 1, "
                f"found {self}"
            )


class Past:
    """Keys and values that one layer has computed for the positions so far, with room for all: [2,B,h,N,d/h]."""

    def __init__(self, room: Tensor) -> None:
        self._room, self._used = room, 0

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all positions, after adding those of the next one, [B,h,1,d/h]."""
        self._room[:, :, :, self._used] = torch.stack([key[:, :, 0], value[:, :, 0]])
        self._used += 1
        keys, values = self._room[:, :, :, : self._used]
        return keys, values


class CausalAttention(nn.Module):
    """Attention of every position to itself and those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Tokens [B,N,d]; with a `past`, x [B,1,d] is the one position after those that it holds, and is added."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.query_key_value(x).chunk(3, dim=-1)
        )
        if past is not None:
            key, value = past.add(key, value)
        seen = attend(query, key, value, causal=past is None)
        return self.output(seen.transpose(1, 2).flatten(2))


class PriorBlock(nn.Module):
    """Causal attention and a four times wider perceptron (GELU), each after a LayerNorm and added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = CausalAttention(width, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, drop: Drop, past: Past | None = None) -> Tensor:
        """Tokens [B,N,d] after one block; `drop` is applied to what either part adds."""
        x = x + drop(self.attention(self.attention_norm(x), past))
        return x + drop(self.perceptron(self.perceptron_norm(x)))


class Prior(nn.Module):
    """Class-conditional transformer over the codes of a g × g grid."""

    def __init__(self, config: PriorConfig, grid: int, codes: int, classes: int) -> None:
        """`codes` is K; `classes` 0 is a prior without classes. The row after the last class means "any"."""
        super().__init__()
        self.config, self.grid, self.codes, self.classes = config, grid, codes, classes
        width = config.width
        self.embed_class = nn.Embedding(classes + 1, width)
        self.embed_code = nn.Embedding(codes, width)
        self.rows, self.columns = (positions(grid, width, _EMBEDDING_STD) for _ in range(2))
        self.blocks = nn.ModuleList(PriorBlock(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, codes)
        for table in (self.embed_class, self.embed_code):
            nn.init.normal_(table.weight, std=_EMBEDDING_STD)

    @property
    def length(self) -> int:
        """Codes N of a picture."""
        return self.grid**2

    def forward(self, codes: Tensor, labels: Tensor, noise: torch.Generator | None = None) -> Tensor:
        """Logits [B,N,K] of every code given those before it, for `codes` [B,N] and `labels` [B]; label C is "any".

        With `noise`, as in training, units are dropped, and labels are replaced by "any".
        """
        check_shape("labels", labels, "B", check_shape("codes", codes, f"B {self.length}"))
        if noise is not None:
            forgotten = torch.rand(len(labels), generator=noise, device=labels.device)
            labels = torch.where(forgotten < self.config.class_dropout, self.classes, labels)
        x = torch.cat([self.embed_class(labels)[:, None], self.embed_code(codes[:, :-1])], dim=1)
        drop = dropping(self.config.dropout, noise)
        x = drop(x + self._positions())
        for block in self.blocks:
            x = block(x, drop)
        return self.head(self.norm(x)).float()

    @torch.no_grad()
    def sample(
        self, labels: Tensor, draws: Tensor, sampling: Sampling, progress: Progress = no_progress
    ) -> Tensor:
        """Codes [B,N] for `labels` [B]; `draws` [B,N], uniform in [0, 1), decide which, each for its own row alone.

        `progress` hears of the stage codes.
        """
        check_shape("draws", draws, f"B {self.length}", check_shape("labels", labels, "B"))
        guided = sampling.guidance != 1.0 and self.classes > 0
        asked = torch.cat([labels, torch.full_like(labels, self.classes)]) if guided else labels
        places, chosen = self._positions(), torch.empty(draws.shape, dtype=torch.long, device=labels.device)
        heads = self.config.heads
        size = (2, len(asked), heads, self.length, self.config.width // heads)
        past = [Past(places.new_empty(size)) for _ in self.blocks]
        x = self.embed_class(asked)
        for j in counted(range(self.length), "codes", progress):
            logits = self._step(x + places[j], past)
            if guided:
                with_class, without = logits.chunk(2)
                logits = without + sampling.guidance * (with_class - without)
            chosen[:, j] = choose(logits, draws[:, j], sampling)
            x = self.embed_code(chosen[:, j].repeat(2) if guided else chosen[:, j])
        return chosen

    def _step(self, x: Tensor, past: list[Past]) -> Tensor:
        """Logits [B,K] at the position after those in `past`, of its input [B,d]."""
        x = x[:, None]
        for block, kept in zip(self.blocks, past, strict=True):
            x = block(x, _keep, kept)
        return self.head(self.norm(x[:, 0])).float()

    def _positions(self) -> Tensor:
        """Position codes [N,d]: that of the row plus that of the column."""
        return (self.rows[:, None] + self.columns[None]).flatten(0, 1)


def _keep(x: Tensor) -> Tensor:
    return x


def dropping(share: float, noise: torch.Generator | None) -> Drop:
    """Sets a random `share` of units to zero and scales up the others; leaves all alone without `noise`."""
    if noise is None or share == 0:
        return _keep

    def drop(x: Tensor) -> Tensor:
        kept = torch.rand(x.shape, generator=noise, device=x.device) >= share
        return x * kept / (1 - share)

    return drop


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities [B,K] to draw from, of `logits` [B,K]; float64.

    After the temperature, top-k keeps the k likeliest codes, then top-p the fewest whose sum reaches p. Ties go to
    the lower code.
    """
    logits = logits.double()
    if sampling.temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
    probability = torch.softmax(logits / sampling.temperature, dim=-1)
    ordered, order = probability.sort(dim=-1, descending=True, stable=True)
    if 0 < sampling.top_k < ordered.shape[-1]:
        ordered = ordered.clone()
        ordered[:, sampling.top_k :] = 0
        ordered = ordered / ordered.sum(dim=-1, keepdim=True)
    if sampling.top_p < 1:
        before = ordered.cumsum(dim=-1) - ordered
        ordered = torch.where(before < sampling.top_p, ordered, 0.0)
    kept = torch.zeros_like(ordered).scatter(-1, order, ordered)
    return kept / kept.sum(dim=-1, keepdim=True)


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Codes [B] drawn from `logits` [B,K] where the cumulated probability passes `draws` [B], uniform in [0, 1)."""
    steps = filtered(logits, sampling).cumsum(dim=-1)
    reached = torch.searchsorted(steps, draws.double()[:, None] * steps[:, -1:], right=True)
    return reached[:, 0].clamp(max=logits.shape[-1] - 1)


def unigram_entropy(codes: Tensor, size: int) -> float:
    """Entropy in nats of single `codes`, any shape: what a code prior that looks at nothing scores."""
    share = torch.bincount(codes.flatten(), minlength=size).double() / codes.numel()
    return max(float(-(share * share.clamp(min=math.ulp(0.0)).log()).sum()), 0.0)
