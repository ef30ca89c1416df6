"""The radiance field of a scene: tri-planes over contracted space, read by a small perceptron.

Letters: B scenes, N points, C channels of a plane, P its resolution. No view direction: one picture cannot tell what
depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.ops.reference import SIGMOID_MARGIN, sample_planes
from gp3d_core.vq3d.config import DecoderConfig
from gp3d_core.vq3d.models.contraction import contract

# sigma = 20 · softplus(raw − 4): hardly anything at first, and opaque within an interval soon after
DENSITY_GAIN, DENSITY_SHIFT = 20.0, -4.0


def density(raw: Tensor) -> Tensor:
    """Density per scene unit of the raw density, any shape; increasing."""
    return DENSITY_GAIN * F.softplus(raw + DENSITY_SHIFT)


class FieldDecoder(nn.Module):
    """Three layers from the features of all three planes to colour in [0, 1] and raw density."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        width = config.field_width
        self.layers = nn.Sequential(
            nn.Linear(3 * config.plane_channels, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 4),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):  # as variance-preserving through SiLU as through ReLU
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] in [0, 1] (nearly) and raw density [B,N,1] of features [B,N,3C]."""
        rgb, raw = self.layers(features).float().split([3, 1], dim=-1)
        return torch.sigmoid(rgb) * (1 + 2 * SIGMOID_MARGIN) - SIGMOID_MARGIN, raw


@dataclass(frozen=True, eq=False)
class SceneField:
    """B scenes as a function of world points: planes [B,3,C,P,P] and the decoder that reads them."""

    planes: Tensor
    decoder: FieldDecoder

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] in [0, 1] and sigma [B,N,1], per scene unit, at world points [B,N,3]."""
        features = sample_planes(self.planes.float(), contract(points))  # [B,3,C,N]
        rgb, raw = self.decoder(features.flatten(1, 2).transpose(1, 2))
        return rgb, density(raw)
