"""Random mixtures of feature maps across channels and across scales, linear and never trained (Projected GAN §3.2).

Letters: B batch, C channels, H, W size of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.networks.projected.frozen import Frozen, freeze


class RandomMixing(Frozen):
    """Maps from shallow to deep → as many mixtures, each of twice its map's size and with all deeper ones in it."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        """`channels` of the maps; they become `width`, 2·`width`, 4·`width`, … before scales are mixed."""
        super().__init__()
        widths = [width * 2**level for level in range(len(channels))]
        self.across_channels = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(channels, widths, strict=True)
        )
        self.widths = [width, *(after for after, _ in pairwise(widths))]  # of the mixtures
        self.across_scales = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(widths, self.widths, strict=True)
        )
        freeze(self)
        self.eval()

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Mixtures [B,widths[i],2H,2W] of the `maps` [B,C,H,W], from shallow to deep.

        A mixture is brought to the size of the next shallower map, which is twice its own map's wherever sizes halve.
        """
        mixtures: list[Tensor] = []
        deeper: Tensor | None = None
        for level in reversed(range(len(maps))):
            x = self.across_channels[level](maps[level])
            if deeper is not None:
                x = x + deeper
            # Interpolating and weighing channels commute; the convolution is a quarter of the work before it.
            height, width = maps[level - 1].shape[2:] if level else (2 * x.shape[2], 2 * x.shape[3])
            x = self.across_scales[level](x)
            deeper = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
            mixtures.insert(0, deeper)
        return mixtures
