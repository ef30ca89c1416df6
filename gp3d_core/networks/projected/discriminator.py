"""The projected discriminator: a frozen network's features, mixed at random, judged by a small head for each scale.

Letters: B batch, K classes, N logits of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.projected.features import FeatureMaps
from gp3d_core.networks.projected.heads import ConditionalHead, Convolutions, Head
from gp3d_core.networks.projected.mixing import RandomMixing
from gp3d_core.ops.checks import check_shape

END = 8  # nominal size at which heads stop halving
_WIDEST = 64  # nominal size from which on a head has its base width


class ProjectedDiscriminator(nn.Module):
    """Images [B,3,R,R] and classes → logits [B,N] of all heads, larger for more real; there are no features to distil.

    Only the heads learn: what lies before them are buffers.
    """

    def __init__(
        self,
        features: FeatureMaps,
        *,
        resolution: int,
        c_dim: int,
        mixing_width: int,
        head_width: int,
        convolutions: Convolutions,
        heads: int = 4,
    ) -> None:
        """`mixing_width` channels of the shallowest mixture, `head_width` of a head from 64 pixels on.

        `c_dim` classes, 0 for none. ValueError for other than 1 to 4 heads, which stand on the shallowest mixtures.
        """
        super().__init__()
        if not 1 <= heads <= len(features.channels):
            raise ValueError(f"heads: expected 1 to {len(features.channels)}, found {heads}")
        self.c_dim = c_dim
        self.features = features
        self.mixing = RandomMixing(features.channels, mixing_width)
        seen = max(resolution, features.input_size)
        nominal = 1 << (seen - 1).bit_length()  # 224 pixels are treated as 256, as in the release
        self.heads = nn.ModuleList()
        for level in range(heads):
            sizes, size = [], nominal >> (level + 1)  # the mixture's, twice its map's
            while size > END:
                size //= 2
                sizes.append(size)
            # A mixture that is small enough as it is keeps its size, yet is normalised like the others. In the release,
            # which sees 224 pixels, there is none.
            halves, inputs = bool(sizes), self.mixing.widths[level]
            widths = [head_width * max(1, _WIDEST // size) for size in sizes or [size]]
            self.heads.append(
                ConditionalHead(inputs, widths, convolutions, classes=c_dim, halves=halves)
                if c_dim
                else Head(inputs, widths, convolutions, halves=halves)
            )

    def forward(self, images: Tensor, c: Tensor | None = None) -> DiscriminatorOutput:
        """Judges `images` [B,3,R,R] in [-1, 1] of classes `c` [B,K], one-hot, not looked at where there are none."""
        check_shape("images", images, "B 3 R R")
        mixtures = self.mixing(self.features(images))
        logits = [head(mixture, c) for head, mixture in zip(self.heads, mixtures, strict=False)]
        return DiscriminatorOutput(torch.cat(logits, dim=1), None)
