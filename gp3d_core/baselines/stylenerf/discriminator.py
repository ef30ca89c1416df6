"""A discriminator that grows with the generator: at every size it looks at the picture again (StyleNeRF §3.3).

Letters: B batch, C classes, h size of the images, R their size when all has grown.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.baselines.stylenerf.upsampler import Growth
from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.discriminator import (
    EPILOGUE_RESOLUTION,
    DiscriminatorOutput,
    ResidualDiscriminator,
    minibatch_std,
)
from gp3d_core.networks.layers import EqualisedConv
from gp3d_core.networks.mapping import ConditionedMLP
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.resampling import low_pass


class SkipBlock(nn.Module):
    """What is read from the picture of one size, and two convolutions that halve it."""

    def __init__(self, inputs: int, outputs: int, clamp: float) -> None:
        """From `inputs` channels to `outputs`."""
        super().__init__()
        self.from_rgb = EqualisedConv(COLOURS, inputs, 1, "lrelu", clamp=clamp)
        self.conv0 = EqualisedConv(inputs, inputs, 3, "lrelu", clamp=clamp)
        self.conv1 = EqualisedConv(inputs, outputs, 3, "lrelu", down=True, clamp=clamp)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B,outputs,h/2,h/2] of `x` [B,inputs,h,h], in which the picture has been read."""
        halved: Tensor = self.conv1(self.conv0(x))
        return halved


class GrowingDiscriminator(ResidualDiscriminator):
    """Whole images [B,3,h,h] and their class → logits."""

    def __init__(
        self,
        *,
        resolution: int,
        lowest: int,
        c_dim: int,
        channel_base: int,
        channel_max: int,
        mapping_layers: int,
        mbstd_group: int = 8,
        mbstd_layout: Literal["contiguous", "strided"] = "strided",
        clamp: float | None = 256.0,
    ) -> None:
        """Grows from `lowest` to `resolution` pixels. Channels at resolution r: min(channel_base / r, channel_max);
        `c_dim` 0 makes it unconditional.
        """
        super().__init__(group=mbstd_group, layout=mbstd_layout, half_blocks=0, backend="auto")
        self.lowest, self.levels, self.c_dim = lowest, (resolution // lowest).bit_length() - 1, c_dim
        limit = math.inf if clamp is None else clamp

        def channels(size: int) -> int:
            return min(channel_base // size, channel_max)

        sizes = [resolution >> i for i in range((resolution // EPILOGUE_RESOLUTION).bit_length() - 1)]
        self.blocks = nn.ModuleList(SkipBlock(channels(size), channels(size // 2), limit) for size in sizes)
        width = channels(EPILOGUE_RESOLUTION)
        self.from_rgb = EqualisedConv(COLOURS, width, 1, "lrelu", clamp=limit)
        self._add_head(width, width if c_dim else 1, 0, clamp=limit)
        self.mapping = ConditionedMLP(0, c_dim, width, mapping_layers) if c_dim else None

    def forward(self, images: Tensor, c: Tensor | None, grown: Growth) -> DiscriminatorOutput:
        """Judges `images` [B,3,h,h] of classes `c` [B,C], with h = 2^level · `lowest`.

        While the last level fades in, the picture of half the size fades with it, and what is read from it counts twice
        at the beginning, since the level before has only that.
        """
        size, share = self.lowest << grown.level, grown.share
        check_shape("images", images, f"B {COLOURS} {size} {size}")
        blocks = list(self.blocks[self.levels - grown.level :])
        readers = [*(block.get_submodule("from_rgb") for block in blocks), self.from_rgb]
        x = readers[0](images)
        if grown.level == 0:
            x = (2.0 - share) * x
        for i, (block, read) in enumerate(zip(blocks, readers[1:], strict=True)):
            x = block(x)
            smaller = low_pass(images, padding=1, stride=2)
            if i == 0 and grown.level and share < 1.0:
                plain = F.avg_pool2d(images, 2)
                images = torch.lerp(plain, smaller, share)
                x = share * x + read(images) + (1.0 - share) * read(plain)
            else:
                images = smaller
                x = x + read(images)
        x = self.conv(minibatch_std(x, self.group, self.layout)).flatten(1)
        projection = None if self.mapping is None else self.mapping(None, c)
        return self._conclude(x, projection, with_features=False)
