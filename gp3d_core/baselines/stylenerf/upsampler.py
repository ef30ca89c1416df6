"""Larger pictures of a rendered feature map without seeing its neighbours much (StyleNeRF §3.2).

Legend: B batch, C channels, F features, H, W size of a map, L style codes of this network, D their width, N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.baselines.point_layers import PointLayer
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.layers import EqualisedConv
from gp3d_core.ops.resampling import low_pass, upsample

_CLAMP = 256.0  # largest activation
_MAGNITUDE_DECAY = 0.999
_NARROWER = 4  # channels of the adapter's inner layer are so many times fewer


class Growth(NamedTuple):
    """How much of the networks has grown: `level` doublings of the rendered map, the last faded in by `share`."""

    level: int
    share: float


def growth(alpha: float, levels: int) -> Growth:
    """Of `levels` doublings at `alpha` from 0 (none) to 1 (all)."""
    if alpha >= 1.0 or levels == 0:
        return Growth(levels, 1.0)
    if alpha <= 0.0:
        return Growth(0, 0.0)
    grown = int(alpha * levels)
    return Growth(grown + 1, alpha * levels - grown)


class Doubling(nn.Module):
    """Twice the size: nearest neighbours, plus what an adapter reads from these beside means of pairs of neighbours,
    then a low-pass filter.
    """

    def __init__(self, channels: int) -> None:
        """Of maps with so many channels."""
        super().__init__()
        inner = max(channels // _NARROWER, 1)
        self.inner = EqualisedConv(2 * channels, inner, 1, "lrelu")
        self.outer = EqualisedConv(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,2H,2W] of `x` [B,C,H,W]."""
        nearest = F.interpolate(x, scale_factor=2.0, mode="nearest")
        around = F.pad(x, (1, 1, 1, 1))
        left, right = around[:, :, 1:-1, :-2], around[:, :, 1:-1, 2:]
        above, below = around[:, :, :-2, 1:-1], around[:, :, 2:, 1:-1]
        corners = torch.stack([left + above, above + right, left + below, right + below], dim=2) / 2
        beside = F.pixel_shuffle(corners.flatten(1, 2), 2)
        x = nearest + self.outer(self.inner(torch.cat([nearest, beside], dim=1)))
        return low_pass(x, padding=2)[..., :-1, :-1]


class UpsamplerLayer(nn.Module):
    """1×1 convolution of maps brought to unit magnitude, doubled after it if asked for, bias and leaky ReLU."""

    magnitude: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, up: bool) -> None:
        """`magnitude` is a running mean square of all that the layer has been given in training."""
        super().__init__()
        self.layer = PointLayer(inputs, outputs, w_dim)
        self.doubling = Doubling(outputs) if up else None
        self.register_buffer("magnitude", torch.ones(()))

    def forward(self, x: Tensor, w: Tensor, *, grow: bool = True) -> Tensor:
        """Activations [B,outputs,H',W'] of `x` [B,inputs,H,W] for the style code `w` [B,D], of the same size without
        `grow`.
        """
        if self.training:
            with torch.no_grad():
                self.magnitude.lerp_(x.square().mean(), 1.0 - _MAGNITUDE_DECAY)
        x = self.layer.multiply(x * self.magnitude.rsqrt(), w)
        x = self.doubling(x) if grow and self.doubling is not None else x
        return self.layer.finish(x).clamp(-_CLAMP, _CLAMP)


class UpsamplerBlock(nn.Module):
    """One doubling, and what it adds to the picture."""

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        """From `inputs` channels to `outputs`."""
        super().__init__()
        self.conv0 = UpsamplerLayer(inputs, outputs, w_dim, up=True)
        self.conv1 = UpsamplerLayer(outputs, outputs, w_dim, up=False)
        self.to_rgb = PointLayer(outputs, COLOURS, w_dim, "linear", demodulate=False)

    def forward(self, x: Tensor, ws: Tensor, *, grow: bool = True) -> tuple[Tensor, Tensor]:
        """Features and what they add to the picture, for three style codes `ws` [B,3,D]."""
        x = self.conv1(self.conv0(x, ws[:, 0], grow=grow), ws[:, 1])
        added = self.to_rgb.finish(self.to_rgb.multiply(x, ws[:, 2]))
        return x, added.clamp(-_CLAMP, _CLAMP)


class Upsampler(nn.Module):
    """Colour and features [B,3+F,H,W] and style codes [B,L,D] → pictures."""

    def __init__(self, features: int, channels: Sequence[int], w_dim: int) -> None:
        """A doubling for each of `channels`."""
        super().__init__()
        widths = (features, *channels[:-1])
        self.blocks = nn.ModuleList(
            UpsamplerBlock(inputs, outputs, w_dim) for inputs, outputs in zip(widths, channels, strict=True)
        )
        self.num_ws = 2 * len(channels) + 1

    def forward(self, low: Tensor, ws: Tensor, grown: Growth) -> Tensor:
        """Pictures [B,3,2^level·H,2^level·W] of rendered maps `low` [B,3+F,H,W]."""
        rgb, x = low[:, :COLOURS], low[:, COLOURS:]
        for i, block in enumerate(self.blocks[: grown.level]):
            before = rgb
            x, added = block(x, ws[:, 2 * i : 2 * i + 3])
            rgb = upsample(before, added)
            if i + 1 == grown.level and grown.share < 1.0:
                larger = F.interpolate(before, scale_factor=2.0, mode="bilinear", align_corners=False)
                rgb = torch.lerp(larger, rgb, grown.share)
        return rgb

    def colours(self, points: Tensor, ws: Tensor, grown: Growth) -> Tensor:
        """Colours [B,3,N] of colour and features [B,3+F,N] of single points: the same layers, nothing upsampled."""
        points = points.unsqueeze(-1)
        rgb, x = points[:, :COLOURS], points[:, COLOURS:]
        for i, block in enumerate(self.blocks[: grown.level]):
            x, added = block(x, ws[:, 2 * i : 2 * i + 3], grow=False)
            rgb = rgb + (added if i + 1 < grown.level else added * grown.share)
        return rgb.squeeze(-1)
