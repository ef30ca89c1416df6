"""The small discriminators of the mixtures: spectrally normalised convolutions down to a few logits each.

Letters: B batch, C channels, H, W size, K classes. Modules are named as the release names them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from gp3d_core.networks.mapping import required
from gp3d_core.ops.resampling import SLOPE

Convolutions = Literal["plain", "separable"]

WINDOW = 4  # pixels a side that a logit sees of the last map


class SeparableConv(nn.Module):
    """A 3×3 convolution of each channel, then a 1×1 convolution of all; neither has a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = spectral_norm(nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False))
        self.pointwise = spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """[B,outputs,H,W] of `x` [B,inputs,H,W]."""
        return self.pointwise(self.depthwise(x))


class Block(nn.Module):
    """Convolution, batch normalisation, leaky ReLU without gain; half the size, or the same."""

    def __init__(self, inputs: int, outputs: int, convolutions: Convolutions, *, halves: bool = True) -> None:
        """Where it `halves`, plain convolutions stride, and behind separable ones pixels are averaged."""
        super().__init__()
        parts: list[nn.Module]
        if convolutions == "separable":
            parts = [SeparableConv(inputs, outputs)]
        elif halves:
            parts = [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))]
        else:
            parts = [spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))]
        parts += [nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]
        if halves and convolutions == "separable":
            parts.append(nn.AvgPool2d(2))
        self.main = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """[B,outputs,H/2,W/2] of `x` [B,inputs,H,W], or [B,outputs,H,W]."""
        return self.main(x)


def blocks(
    inputs: int, widths: Sequence[int], convolutions: Convolutions, *, halves: bool
) -> list[nn.Module]:
    """A block to each of the `widths`, in channels. ValueError if there is none: features come in any size, and without
    a batch normalisation nothing would keep the logits in theirs.
    """
    if not widths:
        raise ValueError("widths: expected at least one, found none")
    return [Block(*ends, convolutions, halves=halves) for ends in pairwise([inputs, *widths])]


class Head(nn.Module):
    """A mixture [B,C,H,W] → logits [B,N], one for each place that a window of 4×4 can take in the last map."""

    def __init__(
        self, inputs: int, widths: Sequence[int], convolutions: Convolutions, *, halves: bool = True
    ) -> None:
        """`widths` are the channels after each block, which `halves` a mixture with `inputs` channels or does not."""
        super().__init__()
        before = blocks(inputs, widths, convolutions, halves=halves)
        self.main = nn.Sequential(*before, spectral_norm(nn.Conv2d(widths[-1], 1, WINDOW, bias=False)))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits of `x`; `c` is not looked at."""
        return self.main(x).flatten(1)


class ConditionalHead(nn.Module):
    """The same with a class: maps instead of logits, weighed by what the class says and added."""

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        convolutions: Convolutions,
        *,
        classes: int,
        maps: int = 64,
        embedding: int = 128,
        halves: bool = True,
    ) -> None:
        """`embedding` numbers stand for a class, `maps` weights are made of them."""
        super().__init__()
        self.classes = classes
        self.main = nn.Sequential(*blocks(inputs, widths, convolutions, halves=halves))
        self.cls = spectral_norm(nn.Conv2d(widths[-1], maps, WINDOW, bias=False))
        self.embed = nn.Embedding(classes, embedding)
        self.embed_proj = nn.Sequential(nn.Linear(embedding, maps), nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits of `x` [B,C,H,W] as of the classes `c` [B,K], one-hot."""
        rows = required("c", c, self.classes).argmax(dim=1)
        weights = self.embed_proj(self.embed(rows))[:, :, None, None]
        maps = self.cls(self.main(x))
        return (maps * weights).sum(dim=1).flatten(1) / math.sqrt(maps.shape[1])
