"""What points show: a modulated perceptron for the object, an ordinary one for what lies around it (StyleNeRF §3.1).

Legend: B batch, N points, F features of a point, L style codes, D their width. Results hold colour, then features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.baselines.point_layers import PlainPointLayer, PointLayer, encode_positions
from gp3d_core.config.schema import COLOURS

OCTAVES = 10
_POINT, _SPHERE_POINT = 3, 4  # coordinates of a point, and of a direction with an inverse radius


class Foreground(nn.Module):
    """The object inside the sphere: every layer has a style code of its own."""

    def __init__(self, width: int, layers: int, features: int, w_dim: int) -> None:
        """`layers` of `width` units, and `features` numbers beside colour and density."""
        super().__init__()
        inputs = 2 * OCTAVES * _POINT
        self.layers = nn.ModuleList(PointLayer(width if i else inputs, width, w_dim) for i in range(layers))
        self.density = PointLayer(width, 1, w_dim, "linear", demodulate=False)
        self.features = PointLayer(width, features, w_dim, "linear", demodulate=False)
        self.to_rgb = PlainPointLayer(features, COLOURS, equalised=True)
        self.num_ws = layers + 2

    def forward(self, points: Tensor, ws: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and features [B,3+F,N] and raw density [B,N] at `points` [B,N,3] for style codes `ws` [B,L,D]."""
        x = encode_positions(points, OCTAVES, scale=math.pi, raw=False)
        for i, layer in enumerate(self.layers):
            x = layer(x, ws[:, i])
        features = self.features(x, ws[:, len(self.layers) + 1])
        density = self.density(x, ws[:, len(self.layers)]).squeeze(1)
        return torch.cat([self.to_rgb(features), features], dim=1), density


class Background(nn.Module):
    """What lies outside: a function of direction, inverse radius and noise, with no style code and hence no class."""

    def __init__(self, width: int, layers: int, features: int, noise: int) -> None:
        """`layers` of `width` units that read `noise` numbers beside the encoded point."""
        super().__init__()
        inputs = 2 * OCTAVES * _SPHERE_POINT + noise
        self.noise = noise
        self.layers = nn.ModuleList(
            PlainPointLayer(width if i else inputs, width, equalised=False) for i in range(layers)
        )
        self.density = PlainPointLayer(width, 1, equalised=False)
        self.features = PlainPointLayer(width, features, equalised=False)
        self.to_rgb = PlainPointLayer(features, COLOURS, equalised=True)

    def forward(self, points: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and features [B,3+F,N] and raw density [B,N] at `points` [B,N,4] with `noise` [B,K]."""
        encoded = encode_positions(points, OCTAVES, scale=math.pi, raw=False)
        x = torch.cat([encoded, noise[:, :, None].expand(-1, -1, points.shape[1])], dim=1)
        for layer in self.layers:
            x = F.relu(layer(x))
        features = self.features(x)
        return torch.cat([self.to_rgb(features), features], dim=1), self.density(x).squeeze(1)
