"""Layers shared by the networks: equalised linear and convolution, modulated convolution, FIR resampling.

Equalised learning rate: weights are stored with unit variance and scaled when used by lr_multiplier /
sqrt(fan-in), so that Adam's step has the same relative size in every layer. Activations carry the gain that
keeps a unit variance. Letters: B batch, I/O input/output channels, H, W image size. Every operation here can
be differentiated twice (R1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["linear", "lrelu", "softplus"]

# Binomial low-pass of every ×2 step, per axis, not yet normalised.
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """`x` after its non-linearity and gain: linear ×1, leaky ReLU (slope 0.2) ×√2, softplus ×1."""
    if activation == "lrelu":
        return F.leaky_relu(x, 0.2) * math.sqrt(2.0)
    return F.softplus(x) if activation == "softplus" else x


def normalise_second_moment(x: Tensor) -> Tensor:
    """Rows of `x` [B,N] scaled to a mean square of one."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def fir_kernel(channels: int, gain: float, like: Tensor) -> Tensor:
    """The separable low-pass filter [channels,1,4,4] of sum `gain`, in the type and on the device of `like`."""
    taps = torch.tensor(FIR_TAPS, dtype=like.dtype, device=like.device) / sum(FIR_TAPS)
    return (torch.outer(taps, taps) * gain).expand(channels, 1, -1, -1)


def low_pass(x: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """`x` [B,C,H,W] filtered per channel; every `stride`-th pixel of the result, zeros assumed outside."""
    channels = x.shape[1]
    return F.conv2d(x, fir_kernel(channels, gain, x), padding=padding, stride=stride, groups=channels)


def upsample(x: Tensor) -> Tensor:
    """`x` [B,C,H,W] at twice the size, [B,C,2H,2W]: zeros inserted, then the low-pass filter with gain 4."""
    channels = x.shape[1]
    return F.conv_transpose2d(x, fir_kernel(channels, 4.0, x), stride=2, padding=1, groups=channels)


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
        x = F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
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
    ) -> None:
        """`gain` multiplies the result, `clamp` limits it to ±clamp·gain; `down` halves the image (kernel 1
        or 3).
        """
        super().__init__()
        self.activation: Activation = activation
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.weight_gain = 1.0 / math.sqrt(inputs * kernel**2)
        self.down = down
        self.gain = gain
        self.clamp = clamp

    def forward(self, x: Tensor) -> Tensor:
        """The layer's activations, with gain and clamp."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        kernel = weight.shape[-1]
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=kernel // 2)
        elif kernel == 1:  # the filter already drops the pixels that a stride would skip
            x = F.conv2d(low_pass(x, padding=1, stride=2), weight, bias)
        else:
            x = F.conv2d(low_pass(x, padding=2), weight, bias, stride=2)
        x = activate(x, self.activation)
        x = x if self.gain == 1.0 else x * self.gain
        return x if self.clamp is None else x.clamp(-self.clamp * self.gain, self.clamp * self.gain)


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
        style = self.style(w) * self.style_gain
        x = x * style[:, :, None, None]
        if self.up:
            # A transposed convolution leaves 2H + 1 pixels; the filter's padding of 1 brings them to 2H.
            x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = low_pass(x, padding=1, gain=4.0)
        else:
            x = F.conv2d(x, self.weight, padding=self.weight.shape[-1] // 2)
        if not self.demodulate:
            return x
        energy = style.square() @ self.weight.square().sum(dim=(2, 3)).T
        return x * torch.rsqrt(energy + 1e-8)[:, :, None, None]
