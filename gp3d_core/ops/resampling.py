"""Filtered resampling ×2 and what follows a convolution, for StyleGAN2's networks: plain torch, or kernels on a GPU.

Legend: B batch, C channels, H W image size. The filter is the binomial [1, 3, 3, 1] of either axis.
`low_pass` and `upsample` are linear and can be differentiated any number of times (R1 needs two); `finish` once with
kernels. `backend` as in `backends`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.ops.backends import Backend, runs_triton
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.constants import constant

FIR_TAPS = (1.0, 3.0, 3.0, 1.0)  # of either axis, not yet normalised
SLOPE = 0.2  # of the leaky ReLU for negative numbers
# Where a picture has at most so many pairs of a pixel and a filtered one, the filter is a product with all of them.
_MOST_PRODUCTS = 2**17
GAIN = math.sqrt(2.0)  # of the leaky ReLU, which keeps a unit variance


def low_pass(
    x: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0, backend: Backend = "auto"
) -> Tensor:
    """`x` [B,C,H,W] filtered per channel; every `stride`-th pixel of the result, zeros assumed outside."""
    if runs_triton(x, backend):
        from gp3d_core.ops.triton import resample

        return resample.low_pass(x, padding=padding, stride=stride, gain=gain)
    if x.dtype == torch.bfloat16 and not x.is_cuda and x.is_contiguous():
        height, width = x.shape[2:]
        grown = 2 * padding - len(FIR_TAPS)
        size = tuple((side + grown) // stride + 1 for side in (height, width))
        if height * width * size[0] * size[1] <= _MOST_PRODUCTS:
            matrix = _low_pass_matrix(height, width, padding, stride, gain, x.dtype)
            return (x.flatten(2) @ matrix).unflatten(2, size)
    return _low_pass(x, padding, stride, gain)


def _low_pass(x: Tensor, padding: int, stride: int, gain: float) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(x, fir_kernel(channels, gain, x), padding=padding, stride=stride, groups=channels)


@lru_cache(maxsize=64)
def _low_pass_matrix(
    height: int, width: int, padding: int, stride: int, gain: float, dtype: torch.dtype
) -> Tensor:
    """The filter as a matrix [H·W, H'·W'] from pixels to filtered pixels, on the CPU; shared, never to be written to.

    With a bfloat16 processor's units for products of matrices this takes a third of the time of torch's convolutions of
    single channels, and a thirtieth where their gradient is strided. The taps are exact in bfloat16, so that results
    are the same.
    """
    # no inference mode: one made there could not take part in a gradient later
    with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
        pixels = torch.eye(height * width, device="cpu").view(-1, 1, height, width)
        return _low_pass(pixels, padding, stride, gain).flatten(1).to(dtype)


def upsample(x: Tensor, plus: Tensor | None = None, *, backend: Backend = "auto") -> Tensor:
    """`x` [B,C,H,W] at twice the size, [B,C,2H,2W]: zeros inserted, then the low-pass filter with gain 4; and `plus`
    [B,C,2H,2W] added.
    """
    if runs_triton(x, backend):
        from gp3d_core.ops.triton import resample

        return resample.upsample(x, plus)
    if x.dtype == torch.bfloat16:
        x = _Upsample.apply(x)  # type: ignore[no-untyped-call]
    else:
        channels = x.shape[1]
        x = F.conv_transpose2d(x, fir_kernel(channels, 4.0, x), stride=2, padding=1, groups=channels)
    return x if plus is None else x + plus


class _Upsample(torch.autograd.Function):
    """Inserting zeros and filtering with [1, 3, 3, 1] is linear interpolation of an image with a border of zeros, which
    torch does ten times faster in bfloat16 than a transposed convolution. What it is slow at, its own gradient, is a
    filtered and strided image.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        bordered = F.pad(x, (1, 1, 1, 1))
        return F.interpolate(bordered, scale_factor=2, mode="bilinear", align_corners=False)[..., 2:-2, 2:-2]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return _Downsample.apply(slopes[0])  # type: ignore[no-untyped-call]


class _Downsample(torch.autograd.Function):
    """The transpose of `_Upsample`; each is the other's gradient, so that both can be differentiated without end."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return low_pass(x, padding=1, stride=2, gain=4.0, backend="reference")

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return _Upsample.apply(slopes[0])  # type: ignore[no-untyped-call]


def resize(x: Tensor, size: int, *, antialias: float = 1.0) -> Tensor:
    """`x` [B,C,H,W] at [B,C,size,size], bilinear with the border along the outer pixels' edges.

    `antialias` is the share of the result that is low-passed where the size shrinks; the rest is read at points.
    """
    if x.shape[-2:] == (size, size):
        return x

    def at(filtered: bool) -> Tensor:
        return F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=filtered)

    if antialias in (0.0, 1.0):
        return at(antialias == 1.0)
    return torch.lerp(at(False), at(True), antialias)


def finish(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    strength: Tensor,
    *,
    filtered: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """What follows a modulated convolution `x`: leaky ReLU of (scale · x + strength · noise + bias), times √2.

    x [B,C,H,W], or [B,C,H+1,W+1] to be `filtered` first (low-pass with gain 4, padding 1). scale [B,C] is positive,
    bias [C], noise [1 or B,1,H,W] is a constant, strength a scalar.
    """
    sizes = check_shape("x", x, "B C H W")
    check_shape("scale", scale, "B C", sizes)
    check_shape("bias", bias, "C", sizes)
    if runs_triton(x, backend):
        from gp3d_core.ops.triton import epilogue

        return epilogue.finish(x, scale, bias, noise, strength, filtered=filtered)
    if filtered:
        x = low_pass(x, padding=1, gain=4.0, backend="reference")
    # the gain is taken into the small tensors, with which leaky ReLU commutes, and these into the type of the large one
    shift = (bias * GAIN)[:, None, None]
    if noise is not None:
        shift = shift + (strength * GAIN) * noise
    x = torch.addcmul(shift.to(x.dtype), x, (scale * GAIN)[:, :, None, None].to(x.dtype))
    return leaky(x)


def leaky(x: Tensor) -> Tensor:
    """The leaky ReLU of `x`, without gain."""
    return F.leaky_relu(x, SLOPE)


def fir_kernel(channels: int, gain: float, like: Tensor) -> Tensor:
    """The separable low-pass filter [channels,1,4,4] of sum `gain`, in the type and on the device of `like`."""
    taps = [tap / sum(FIR_TAPS) for tap in FIR_TAPS]
    square = constant([a * b * gain for a in taps for b in taps], like)
    return square.view(1, 1, 4, 4).expand(channels, 1, -1, -1)
