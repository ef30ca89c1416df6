"""Depth adaptor (3DGP §3.1, Eq. 3): rendered depth to what a monocular depth estimator would have estimated.

The discriminator compares rendered depth with estimated depth, which is right only up to unknown scale, shift
and blur. A shallow network learns to imitate those errors; showing the unadapted depth now and then keeps the
geometry honest. Letters: B batch, h, w image size, K number of adapted maps. Depth 0 is the unadapted one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import DepthAdaptorConfig
from gp3d_core.networks.layers import EqualisedConv

NEAR_OFFSET_FRACTION = 0.25  # of t_far - t_near: how far the near end may be moved inwards
NEAR_OFFSET_INIT = -3.0  # before the sigmoid


def selection_probabilities(
    config: DepthAdaptorConfig, nimg: int, device: torch.device | None = None
) -> Tensor:
    """Probabilities [K+1] with which a training sample shows its unadapted depth (index 0) or adapted map 1 …
    K.

    "sloped" raises them linearly with the index so that they sum to one; "equal" shares what the first leaves
    over.
    """
    first, maps = config.identity.at(nimg), config.layers + 1
    if config.layers == 0:
        return torch.ones(1, device=device)
    if config.others == "equal":
        probabilities = torch.full((maps,), (1.0 - first) / config.layers, device=device)
        probabilities[0] = first
        return probabilities
    slope = 2.0 * (1.0 - maps * first) / (maps * config.layers)
    return first + slope * torch.arange(maps, device=device)


class DepthAdaptor(nn.Module):
    """Depth along rays [B,1,h,w] in world units → normalised depth and its K adapted maps [B,K+1,1,h,w]."""

    def __init__(self, config: DepthAdaptorConfig, t_near: float, t_far: float) -> None:
        """With `config.layers` = 0 there is nothing to learn: normalisation only."""
        super().__init__()
        self.config = config
        self.t_near, self.t_far = t_near, t_far
        self.layers = nn.ModuleList(
            EqualisedConv(config.width if i else 1, config.width, config.kernel, "lrelu")
            for i in range(config.layers)
        )
        self.head = EqualisedConv(config.width, 1, 1) if config.layers else None
        self.near_offset = nn.Parameter(torch.full((1,), NEAR_OFFSET_INIT)) if config.layers else None

    def normalise(self, depth: Tensor) -> Tensor:
        """Depth mapped linearly so that the near end becomes -1 and `t_far` +1; values outside are not
        clamped.
        """
        near: float | Tensor = self.t_near
        if self.near_offset is not None:
            span = NEAR_OFFSET_FRACTION * (self.t_far - self.t_near)
            near = near + torch.sigmoid(self.near_offset) * span
        return 2.0 * (depth - (self.t_far + near) / 2.0) / (self.t_far - near + 1e-12)

    def forward(self, depth: Tensor) -> Tensor:
        """All maps [B,K+1,1,h,w]: the normalised depth, then what each layer makes of it through one shared
        head.
        """
        hidden = self.normalise(depth)
        maps = [hidden]
        if self.head is not None:
            for layer in self.layers:
                hidden = layer(hidden)
                maps.append(self.head(hidden))
        return torch.stack(maps, dim=1)

    def sample_index(self, batch: int, nimg: int, generator: torch.Generator) -> Tensor:
        """Which map each of `batch` training samples shows, [batch] integers in 0 … K."""
        probabilities = selection_probabilities(self.config, nimg, generator.device)
        return torch.multinomial(probabilities, batch, replacement=True, generator=generator)

    def select(self, maps: Tensor, index: Tensor | None) -> Tensor:
        """One map per sample [B,1,h,w] out of `maps` [B,K+1,1,h,w]: the given `index` [B], or the last one."""
        return maps[:, -1] if index is None else maps[torch.arange(len(maps), device=maps.device), index]
