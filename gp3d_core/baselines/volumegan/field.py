"""A feature volume and a modulated perceptron as a field, and its rays (VolumeGAN §3.1).

Legend: B batch, N points, R rays, S samples of a ray, C features of the volume, F of a point, L style codes, D their
width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.baselines.marching import Marched, march
from gp3d_core.baselines.point_layers import PlainPointLayer, PointLayer, encode_positions
from gp3d_core.baselines.volumegan.feature_volume import sample_volume
from gp3d_core.rendering.volume import points_on

_COORDINATES = 3
_WALL = 1e10  # length of the last interval, which lets no light pass


class FieldNetwork(nn.Module):
    """What a point of the volume shows: modulated layers on its features beside its encoded position."""

    def __init__(
        self, volume_channels: int, octaves: int, width: int, layers: int, features: int, w_dim: int
    ) -> None:
        """Layers of `width` units, and `features` numbers beside the density."""
        super().__init__()
        self.octaves = octaves
        inputs = volume_channels + _COORDINATES * (1 + 2 * octaves)
        self.layers = nn.ModuleList(PointLayer(width if i else inputs, width, w_dim) for i in range(layers))
        self.density = PlainPointLayer(width, 1, equalised=True)
        self.features = PlainPointLayer(width, features, equalised=True)

    def forward(self, read: Tensor, points: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,F,N] and raw density [B,N] of `points` [B,N,3] where the volume holds `read` [B,C,N]."""
        x = torch.cat([read, encode_positions(points, self.octaves, scale=1.0, raw=True)], dim=1)
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i])
        return self.features(x), self.density(x).squeeze(1)


class VolumeField:
    """Objects as functions of points."""

    def __init__(
        self, network: FieldNetwork, volume: Tensor, ws: Tensor, lower: Tensor, upper: Tensor
    ) -> None:
        """Of feature volumes [B,C,G,G,G] on the box from `lower` to `upper` [3] and style codes [B,L,D]."""
        self.network, self.volume, self.ws = network, volume, ws
        self.lower, self.upper = lower, upper

    def features(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B,F,N] and raw density [B,N] at `points` [B,N,3]; the density is its positive part."""
        read = sample_volume(self.volume, points, self.lower, self.upper)
        return self.network(read, points, self.ws)

    def march(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        t: Tensor,
        u_fine: Tensor,
        *,
        cut_quantile: float = 0.0,
    ) -> Marched:
        """What rays [B,R,3] meet at distances `t` [B,R,S] and where that found something, at `u_fine` [B,R,S'].

        All light that is left stops at the last sample, if it is of any density. `cut_quantile` as for `march`.
        """

        def query(t: Tensor, fine: bool) -> tuple[Tensor, Tensor]:
            features, raw = self.features(points_on(rays_o, rays_d, t).flatten(1, 2))
            return features.unflatten(2, t.shape[1:]), F.relu(raw).unflatten(1, t.shape[1:])

        return march(query, t, u_fine, last_interval=_WALL, cut_quantile=cut_quantile)
