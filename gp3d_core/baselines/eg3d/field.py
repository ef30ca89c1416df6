"""EG3D's object as a function of points: three planes and a small perceptron, colour as features.

Letters: B batch, N points, F features of a plane, T plane resolution, C colours, the first three of which are seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.layers import EqualisedLinear
from gp3d_core.ops.reference import SIGMOID_MARGIN, sample_planes

# (axis along width, axis along height). The release's third plane is its second one again, so that no plane tells
# points with different y *and* z apart; mended, its height runs along y.
AXES: dict[str, tuple[tuple[int, int], ...]] = {
    "orthogonal": ((0, 1), (0, 2), (2, 1)),
    "released": ((0, 1), (0, 2), (2, 0)),
}


class FeatureDecoder(nn.Module):
    """Perceptron from a point's features [B,N,F] to its colours [B,N,C] in [-.001, 1.001] and raw density [B,N,1]."""

    def __init__(self, inputs: int, width: int, colours: int) -> None:
        """inputs → width (softplus) → density and colours."""
        super().__init__()
        self.hidden = EqualisedLinear(inputs, width, "softplus")
        self.output = EqualisedLinear(width, 1 + colours)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Colours and raw density of the features."""
        out = self.output(self.hidden(features))
        return torch.sigmoid(out[..., 1:]) * (1.0 + 2.0 * SIGMOID_MARGIN) - SIGMOID_MARGIN, out[..., :1]


@dataclass(frozen=True)
class FeatureField:
    """A batch of objects: planes [B,3,F,T,T] spanning the cube [-box, box]³, and a decoder."""

    planes: Tensor
    decoder: FeatureDecoder
    box: float
    axes: Literal["orthogonal", "released"] = "orthogonal"

    def looked_up(self, points: Tensor) -> Tensor:
        """Features [B,3,N,F] of points [B,N,3], by plane; 0 beyond a plane's border."""
        found = sample_planes(self.planes, points / self.box, axes=AXES[self.axes], corners_at_border=False)
        return found.transpose(2, 3)

    def decoded(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Colours [B,N,C] in [0, 1] and raw density [B,N,1] at points [B,N,3] in world units."""
        return self.decoder(self.looked_up(points).mean(dim=1))

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen of that: rgb [B,N,3] in [-1, 1], and raw density [B,N,1]."""
        colours, raw = self.decoded(points)
        return colours[..., :COLOURS] * 2.0 - 1.0, raw

    def fast(self) -> FeatureField:
        """The field itself, which has no faster body."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the planes are."""
        return self.planes.device

    @property
    def texel(self) -> float:
        """Edge of what one number of the planes covers, in world units."""
        return 2 * self.box / self.planes.shape[-1]
