"""From composited features to pictures with 1×1 convolutions alone (VolumeGAN §3.2).

Legend: B batch, C features, H, W size of the rendered map, L style codes of this network, D their width, N points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gp3d_core.baselines.point_layers import PointLayer
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.backbone import NoiseMode
from gp3d_core.ops.resampling import upsample


class NoisyLayer(nn.Module):
    """1×1 convolution, the size doubled after it if asked for, spatial noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(self, inputs: int, outputs: int, resolution: int, w_dim: int) -> None:
        """`resolution` is the result's."""
        super().__init__()
        self.layer = PointLayer(inputs, outputs, w_dim)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(
        self, x: Tensor, w: Tensor, noise: NoiseMode, generator: torch.Generator | None, *, up: bool
    ) -> Tensor:
        """Activations [B,outputs,resolution,resolution] for the style code `w` [B,D]; `up` doubles the size."""
        x = self.layer.multiply(x, w)
        x = upsample(x) if up else x
        if noise == "const":
            x = x + self.noise_const * self.noise_strength
        elif noise == "random":
            shape = (len(x), 1, *x.shape[2:])
            drawn = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
            x = x + drawn * self.noise_strength
        return self.layer.finish(x)


class ImageBlock(nn.Module):
    """One doubling: two layers on the features, and what they add to the picture."""

    def __init__(self, inputs: int, outputs: int, resolution: int, w_dim: int) -> None:
        """`resolution` is the result's."""
        super().__init__()
        self.conv0 = NoisyLayer(inputs, outputs, resolution, w_dim)
        self.conv1 = NoisyLayer(outputs, outputs, resolution, w_dim)
        self.to_rgb = PointLayer(outputs, COLOURS, w_dim, "linear", demodulate=False)

    def forward(
        self, x: Tensor, ws: Tensor, noise: NoiseMode, generator: torch.Generator | None, *, up: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Features [B,outputs,H,W] and what they add to the picture [B,3,H,W], for three style codes `ws` [B,3,D]."""
        x = self.conv0(x, ws[:, 0], noise, generator, up=up)
        x = self.conv1(x, ws[:, 1], noise, generator, up=False)
        return x, self.to_rgb.finish(self.to_rgb.multiply(x, ws[:, 2]))


class ImageNetwork(nn.Module):
    """Feature maps [B,C,H,W] and style codes [B,L,D] → pictures; the first three features are a picture at first."""

    def __init__(self, inputs: int, channels: Sequence[int], resolution: int, w_dim: int) -> None:
        """Doubles the `resolution` of the feature maps once for each of `channels`."""
        super().__init__()
        self.blocks = nn.ModuleList()
        for width in channels:
            resolution *= 2
            self.blocks.append(ImageBlock(inputs, width, resolution, w_dim))
            inputs = width
        self.num_ws = 2 * (len(channels) + 1)

    def forward(
        self,
        x: Tensor,
        ws: Tensor,
        noise: NoiseMode,
        generator: torch.Generator | None = None,
        *,
        level: float = math.inf,
    ) -> Tensor:
        """Pictures [B,3,2^n·H,2^n·W] of feature maps `x` [B,C,H,W]; `noise` as for `Backbone`.

        `level` says how many doublings have grown: later ones are left out, a broken part fades the last one in.
        """
        rgb = x[:, :COLOURS]
        for i, block in enumerate(self.blocks):
            share = min(level - i, 1.0)
            if share <= 0.0:
                break
            x, added = block(x, ws[:, 2 * i + 1 : 2 * i + 4], noise, generator)
            rgb = upsample(rgb, added if share == 1.0 else added * share)
        return rgb

    def colours(self, x: Tensor, ws: Tensor) -> Tensor:
        """Colours [B,3,N] of features [B,C,N] of single points: the same layers, nothing upsampled, no noise."""
        x = x.unsqueeze(-1)
        rgb = x[:, :COLOURS]
        for i, block in enumerate(self.blocks):
            x, added = block(x, ws[:, 2 * i + 1 : 2 * i + 4], "none", None, up=False)
            rgb = rgb + added
        return rgb.squeeze(-1)
