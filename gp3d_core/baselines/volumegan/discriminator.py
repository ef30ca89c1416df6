"""StyleGAN2's residual discriminator at a level of detail: it may begin with any of its resolutions, or between two.

Letters: B batch, C classes, R image size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.discriminator import (
    EPILOGUE_RESOLUTION,
    DiscriminatorOutput,
    ResidualDiscriminator,
    minibatch_std,
)
from gp3d_core.networks.layers import EqualisedConv, EqualisedLinear, normalise_second_moment
from gp3d_core.networks.mapping import required
from gp3d_core.ops.checks import check_shape


class LevelOfDetailDiscriminator(ResidualDiscriminator):
    """Whole images [B,3,R,R] and their class → logits."""

    def __init__(
        self,
        *,
        resolution: int,
        c_dim: int,
        channel_base: int,
        channel_max: int,
        embedding: int,
        levels: int | None = None,
        mbstd_group: int = 4,
        clamp: float | None = None,
        half_blocks: int = 0,
    ) -> None:
        """Channels at resolution r: min(channel_base / r, channel_max). `c_dim` 0 makes it unconditional, otherwise
        scores are projected on an `embedding` of the class. It can begin with so many `levels` of smaller images, by
        default with all of them. ValueError unless `resolution` is a power of two from 8.
        """
        super().__init__(group=mbstd_group, layout="strided", half_blocks=half_blocks, backend="auto")
        if resolution < 8 or resolution & (resolution - 1):
            raise ValueError(f"resolution: expected a power of two from 8, found {resolution}")
        self.resolution, self.c_dim = resolution, c_dim

        def channels(size: int) -> int:
            return min(channel_base // size, channel_max)

        limit = math.inf if clamp is None else clamp
        self._add_blocks(resolution, channels, COLOURS, starts=0, clamp=limit, hyper_dim=0)
        self.from_smaller = nn.ModuleList(
            EqualisedConv(COLOURS, channels(resolution >> level), 1, "lrelu", clamp=limit)
            for level in range(1, (len(self.blocks) if levels is None else levels) + 1)
        )
        self._add_head(channels(EPILOGUE_RESOLUTION), embedding if c_dim else 1, 0, clamp=limit)
        self.embed = EqualisedLinear(c_dim, embedding) if c_dim else None

    def forward(self, images: Tensor, c: Tensor | None, *, lod: float = 0.0) -> DiscriminatorOutput:
        """Judges `images` [B,3,R,R] of classes `c` [B,C] as if they were 2^-lod times their size.

        Between two whole levels the larger one's features fade in; 0 is the full size.
        """
        check_shape("images", images, f"B {COLOURS} {self.resolution} {self.resolution}")
        projection = None
        if self.embed is not None:
            projection = normalise_second_moment(self.embed(required("c", c, self.c_dim)))
        first = math.floor(lod)
        x = self._read(images, first)
        for level, block in enumerate(self.blocks[first:], start=first):
            x = block(x)
            if level == first and lod > first:
                x = torch.lerp(x, self._read(images, level + 1), lod - first)
        x = self.conv(minibatch_std(x, self.group, self.layout)).flatten(1)
        return self._conclude(x, projection, with_features=False)

    def _read(self, images: Tensor, level: int) -> Tensor:
        """Features of images made 2^-level times their size."""
        layer = self.from_smaller[level - 1] if level else self.from_image
        read: Tensor = layer(F.avg_pool2d(images, 1 << level) if level else images)
        return read
