"""Layers of points, which know nothing of their neighbours: what radiance fields and 1×1 convolutions are made of.

Legend: B batch, I, O input and output channels, N points or pixels, D width of a style code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gp3d_core.networks.layers import GAINS, Activation, ModulatedConv, activate


def encode_positions(points: Tensor, octaves: int, *, scale: float, raw: bool) -> Tensor:
    """Sines and cosines of 2^i · `scale` · `points` [B,N,K] for i < octaves, by octave: [B, 2K·octaves, N].

    With `raw` the coordinates themselves come first.
    """
    points = points.transpose(1, 2)
    parts = [points] if raw else []
    for octave in range(octaves):
        angles = (2.0**octave * scale) * points
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, dim=1)


class PointLayer(nn.Module):
    """Modulated linear layer of points, [B,I,N] → [B,O,N]: a 1×1 convolution with a kernel of each sample's own."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        activation: Activation = "lrelu",
        *,
        demodulate: bool = True,
    ) -> None:
        """The bias starts at zero."""
        super().__init__()
        self.activation: Activation = activation
        self.conv = ModulatedConv(inputs, outputs, 1, w_dim, up=False, demodulate=demodulate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = GAINS[activation]

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """The layer's activations, with gain, of `x` [B,I,N] for the style code `w` [B,D]."""
        gain = self.gain  # taken into the small factors, with which the activation commutes
        x = torch.baddbmm((self.bias * gain)[:, None], self._kernels(w) * gain, x)
        return activate(x, self.activation)

    def multiply(self, x: Tensor, w: Tensor) -> Tensor:
        """Before bias, activation and gain: [B,O,H,W] of pixels [B,I,H,W]."""
        return torch.bmm(self._kernels(w), x.flatten(2)).unflatten(2, x.shape[2:])

    def finish(self, x: Tensor) -> Tensor:
        """The activations, with gain, of what `multiply` gave, [B,O,H,W]."""
        x = activate(x + self.bias[:, None, None], self.activation)
        return x if self.gain == 1.0 else x * self.gain

    def _kernels(self, w: Tensor) -> Tensor:
        """[B,O,I]."""
        style = self.conv.modulation(w)
        kernels = self.conv.weight.flatten(1) * style[:, None]
        return kernels * self.conv.demodulation(style)[:, :, None] if self.conv.demodulate else kernels


class PlainPointLayer(nn.Module):
    """Linear layer of points without style, [B,I,N] → [B,O,N], with equalised learning rate or an ordinary one."""

    def __init__(self, inputs: int, outputs: int, *, equalised: bool) -> None:
        """Weights N(0, 1) and bias 0 if equalised, else torch's own."""
        super().__init__()
        plain = nn.Linear(inputs, outputs)
        self.weight = nn.Parameter(torch.randn(outputs, inputs)) if equalised else plain.weight
        self.bias = nn.Parameter(torch.zeros(outputs)) if equalised else plain.bias
        self.weight_gain = 1.0 / math.sqrt(inputs) if equalised else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """The layer's sums, without activation."""
        kernel = (self.weight * self.weight_gain).expand(len(x), -1, -1)
        return torch.baddbmm(self.bias[:, None], kernel, x)
