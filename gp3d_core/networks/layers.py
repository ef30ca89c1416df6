"""Layers shared by the networks: equalised linear and convolution, modulated convolution, FIR resampling.

Equalised learning rate: weights are stored with unit variance and scaled when used by lr_multiplier /
sqrt(fan-in), so that Adam's step has the same relative size in every layer. Activations carry the gain that
keeps a unit variance; a leaky ReLU's is taken into the weights before it, with which it commutes, instead of into the
larger result. Letters: B batch, I/O input/output channels, H, W image size. Every operation here can be differentiated
twice (R1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.ops.backends import Backend
from gp3d_core.ops.resampling import GAIN, SLOPE, low_pass

Activation = Literal["linear", "lrelu", "softplus"]
GAINS: dict[Activation, float] = {"linear": 1.0, "lrelu": GAIN, "softplus": 1.0}


def activate(x: Tensor, activation: Activation) -> Tensor:
    """`x` after its non-linearity, without the gain of GAINS."""
    if activation == "lrelu":
        return F.leaky_relu(x, SLOPE)
    return F.softplus(x) if activation == "softplus" else x


def normalise_second_moment(x: Tensor) -> Tensor:
    """Rows of `x` [B,N] scaled to a mean square of one."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class EqualisedLinear(nn.Module):
    """Fully connected layer [..., inputs] → [..., outputs] with equalised learning rate."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Activation = "linear",
        *,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        """Weights start as N(0, 1) / lr_multiplier; the effective bias starts at `bias_init`."""
        super().__init__()
        self.activation: Activation = activation
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """The layer's activations, with gain."""
        gain = GAINS[self.activation]
        x = F.linear(x, self.weight * (self.weight_gain * gain), self.bias * (self.bias_gain * gain))
        return activate(x, self.activation)


class EqualisedConv(nn.Module):
    """Square convolution with zero padding and equalised learning rate, [B,I,H,W] → [B,O,H,W] or half the
    size.

    Weights are cast to the input's type, so that a half-precision input makes a half-precision layer.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        activation: Activation = "linear",
        *,
        bias: bool = True,
        down: bool = False,
        gain: float = 1.0,
        clamp: float | None = None,
        backend: Backend = "auto",
    ) -> None:
        """`gain` multiplies the result (not of softplus), `clamp` limits it to ±clamp·gain; `down` halves the image
        (kernel 1 or 3).
        """
        super().__init__()
        self.activation: Activation = activation
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = gain * GAINS[activation]
        self.weight_gain = self.gain / math.sqrt(inputs * kernel**2)
        self.down = down
        self.clamp = None if clamp is None else clamp * gain
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """The layer's activations, with gain and clamp."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.gain).to(x.dtype)
        kernel = weight.shape[-1]
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=kernel // 2)
        elif kernel == 1:  # the filter already drops the pixels that a stride would skip
            x = F.conv2d(low_pass(x, padding=1, stride=2, backend=self.backend), weight, bias)
        else:
            x = F.conv2d(low_pass(x, padding=2, backend=self.backend), weight, bias, stride=2)
        x = activate(x, self.activation)
        return x if self.clamp is None else F.hardtanh(x, -self.clamp, self.clamp)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, [B,I,H,W] → [B,O,H,W] or twice the size.

    w'_oik = s_i W_oik. Demodulated: w' / sqrt(Σ_ik w'² + 1e-8), hence no fan-in gain; otherwise s / sqrt(I
    k²). Scaling activations before and after a shared convolution is the same and needs no kernel per sample.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, w_dim: int, *, up: bool, demodulate: bool
    ) -> None:
        """Weights N(0, 1); the style starts around one."""
        super().__init__()
        self.style = EqualisedLinear(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.up = up
        self.demodulate = demodulate
        self.style_gain = 1.0 if demodulate else 1.0 / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Convolution of `x` [B,I,H,W] with the kernel that the style code `w` [B,w_dim] selects."""
        style = self.modulation(w)
        x = self.convolve(x, style)
        x = low_pass(x, padding=1, gain=4.0, backend="reference") if self.up else x
        return x * self.demodulation(style)[:, :, None, None] if self.demodulate else x

    def modulation(self, w: Tensor) -> Tensor:
        """What the input channels are scaled by, [B,I], for style codes `w` [B,w_dim]."""
        return self.style(w) * self.style_gain

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """Scaled by `style` [B,I] and convolved, but not demodulated: [B,O,H,W], or where it goes up [B,O,2H+1,2W+1],
        which the low-pass with padding 1 and gain 4 brings to twice the size.
        """
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            return F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        return F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)

    def demodulation(self, style: Tensor) -> Tensor:
        """What brings the output channels back to unit variance, [B,O]."""
        energy = style.square() @ self.weight.square().sum(dim=(2, 3)).T
        return torch.rsqrt(energy + 1e-8)
