"""Discriminators of VQ3D: StyleGAN2's residual discriminator on colour and disparity.

Letters: B batch, h pixels a side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.networks.discriminator import minibatch_std
from gp3d_core.networks.layers import EqualisedConv, EqualisedLinear
from gp3d_core.ops.checks import check_shape
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.rendering.views import to_image

_LAST = 4  # pixels a side after the last block


class CriticOutput(NamedTuple):
    """Logits [B], larger for more real, and the feature maps [B,c,h',w'] of every block."""

    logits: Tensor
    features: list[Tensor]


class CriticBlock(nn.Module):
    """Two 3×3 convolutions beside a 1×1 shortcut; halves the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        shared = math.sqrt(0.5)  # of the variance, for each of the two branches
        self.skip = EqualisedConv(inputs, outputs, 1, bias=False, down=True, gain=shared)
        self.conv0 = EqualisedConv(inputs, inputs, 3, "lrelu")
        self.conv1 = EqualisedConv(inputs, outputs, 3, "lrelu", down=True, gain=shared)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B,outputs,h/2,w/2] of `x` [B,inputs,h,w]."""
        return self.skip(x) + self.conv1(self.conv0(x))


class Trunk(nn.Module):
    """From a picture to feature maps down to 4 × 4."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        size = config.training.patch or config.training.resolution
        self.channels = 4 if config.critic.rgbd else 3
        self.from_image = EqualisedConv(self.channels, width_at(config, size), 1, "lrelu")
        self.blocks = nn.ModuleList()
        while size > _LAST:
            self.blocks.append(CriticBlock(width_at(config, size), width_at(config, size // 2)))
            size //= 2

    def forward(self, images: Tensor) -> list[Tensor]:
        """Feature maps of every block, of `images` [B,3 or 4,h,h]."""
        x, features = self.from_image(images), []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class Head(nn.Module):
    """From the last feature maps to a logit."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        width, self.group = width_at(config, _LAST), config.critic.mbstd_group
        self.conv = EqualisedConv(width + 1, width, 3, "lrelu")
        self.hidden = EqualisedLinear(width * _LAST**2, width, "lrelu")
        self.output = EqualisedLinear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B] of feature maps [B,c,4,4]."""
        x = self.conv(minibatch_std(x, self.group, "contiguous"))
        return self.output(self.hidden(x.flatten(1)))[:, 0]


class Critics(nn.Module):
    """The critic of the input view (`main`) and that of novel views (`novel`), which may share their trunk."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        self.rgbd = config.critic.rgbd
        self.trunks = nn.ModuleList(Trunk(config) for _ in range(1 if config.critic.shared else 2))
        self.heads = nn.ModuleList(Head(config) for _ in range(2))

    def forward(self, pictures: Tensor, *, novel: bool) -> CriticOutput:
        """Logits and features of `pictures` [B,3 or 4,h,h], see `as_seen`, by the critic of either view."""
        trunk = self.trunks[-1 if novel else 0]
        check_shape("pictures", pictures, f"B {trunk.channels} h h")
        features = trunk(pictures)
        return CriticOutput(self.heads[int(novel)](features[-1]), features)

    def as_seen(self, rgb: Tensor, disparity: Tensor) -> Tensor:
        """The critics' input in [-1, 1] of colours `rgb` [B,3,h,h] and, with `critic.rgbd`, `disparity` [B,h,h].

        Both are in [0, 1]. Disparity is averaged over 3 × 3 pixels: that of real pictures is smoother, or elsewhere.
        """
        if not self.rgbd:
            return to_image(rgb)
        soft = F.avg_pool2d(F.pad(disparity[:, None], [1] * 4, mode="replicate"), 3, stride=1)
        return to_image(torch.cat([rgb, soft], dim=1))


def width_at(config: Vq3dConfig, resolution: int) -> int:
    """Channels of a critic at a resolution."""
    return max(min(config.critic.channel_base // resolution, config.critic.channel_max), 1)
