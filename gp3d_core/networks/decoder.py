"""Tri-plane features to colour and density (3DGP §3.1), and the field that renderer and mesher query.

Letters: B batch, N points, F features per plane, T plane resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import GeneratorConfig
from gp3d_core.networks.layers import GAINS, EqualisedLinear
from gp3d_core.ops.accelerated import decode_triplane
from gp3d_core.ops.backends import Backend
from gp3d_core.ops.reference import SIGMOID_MARGIN, Perceptron
from gp3d_core.rendering.empty_space import FastField
from gp3d_core.rendering.triplane_density import SeparableDensity
from gp3d_core.rendering.volume import Triplanes


class TriplaneDecoder(nn.Module):
    """Two-layer perceptron from a point's features to its colour and raw density; it sees no view direction."""

    def __init__(self, config: GeneratorConfig) -> None:
        """F → decoder_width (leaky ReLU) → 4."""
        super().__init__()
        self.hidden = EqualisedLinear(config.plane_channels, config.decoder_width, "lrelu")
        self.output = EqualisedLinear(config.decoder_width, 4)
        self.bounded = config.rgb_activation == "sigmoid"

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] (trained towards [-1, 1]) and raw density [B,N,1] of the features [B,N,F]."""
        rgb, raw_density = self.output(self.hidden(features)).split([3, 1], dim=-1)
        if self.bounded:
            rgb = (torch.sigmoid(rgb) * (1.0 + 2.0 * SIGMOID_MARGIN) - SIGMOID_MARGIN) * 2.0 - 1.0
        return rgb, raw_density

    def perceptron(self) -> Perceptron:
        """The same two layers as plain tensors, with gradients to the weights."""
        hidden, output = self.hidden, self.output
        gain = GAINS["lrelu"]
        return Perceptron(
            hidden.weight * (hidden.weight_gain * gain),
            hidden.bias * (hidden.bias_gain * gain),
            output.weight * output.weight_gain,
            output.bias * output.bias_gain,
            self.bounded,
        )


@dataclass(frozen=True)
class TriplaneField:
    """A batch of objects as a function of points: planes [B,3,F,T,T] spanning the cube [-box, box]³, and a
    decoder.
    """

    planes: Tensor
    decoder: TriplaneDecoder
    box: float
    backend: Backend = "auto"

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """rgb [B,N,3] and raw density [B,N,1] at points [B,N,3] in world units."""
        return decode_triplane(
            self.planes, points, self.decoder.perceptron(), box=self.box, backend=self.backend
        )

    @property
    def device(self) -> torch.device:
        """Where the planes are."""
        return self.planes.device

    @property
    def texel(self) -> float:
        """Distance between neighbouring numbers of the planes, in world units."""
        return 2 * self.box / (self.planes.shape[-1] - 1)

    def triplanes(self) -> Triplanes:
        """What the fused renderer takes instead of asking for points."""
        return Triplanes(self.planes, self.decoder.perceptron(), self.box)

    def separable_density(self) -> SeparableDensity:
        """The raw density of the only object in the batch, which comes apart on grids; ValueError for several."""
        if len(self.planes) != 1:
            raise ValueError(f"a density grid is of one object, found {len(self.planes)}")
        hidden, output = self.decoder.hidden, self.decoder.output
        return SeparableDensity(
            planes=self.planes[0].detach(),
            hidden_weight=hidden.weight.detach() * hidden.weight_gain,
            hidden_bias=hidden.bias.detach() * hidden.bias_gain,
            slope=0.2,
            output_weight=output.weight.detach()[3] * output.weight_gain * math.sqrt(2.0),
            output_bias=output.bias.detach()[3] * output.bias_gain,
            box=self.box,
        )

    def fast(self) -> TriplaneField | FastField:
        """The same field without gradients, quicker on a CPU; ValueError for a batch of several objects."""
        if len(self.planes) != 1:
            raise ValueError(f"a fast field is of one object, found {len(self.planes)}")
        return self if self.planes.is_cuda else FastField(self.planes[0].detach(), self.decoder, self.box)
