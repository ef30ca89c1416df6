"""Scalar functions of the renderer inside kernels: density and its derivative, absorption, leaky ReLU, bounded colour.

Written out where Triton has no accurate function for small arguments; all in float32, of any shape.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def log_one_plus(e: tl.tensor) -> tl.tensor:
    """log(1 + e) for e ≥ 0, to float32's accuracy also where e is small."""
    series = e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - e * (0.25 - e * (0.2 - e / 6.0)))))
    return tl.where(e < 0.03125, series, tl.log(1.0 + e))


@triton.jit
def absorb(thickness: tl.tensor) -> tl.tensor:
    """1 − exp(−thickness): the share of light that an interval stops."""
    x = tl.minimum(thickness, 0.25)
    series = x * (1.0 - x / 2 * (1.0 - x / 3 * (1.0 - x / 4 * (1.0 - x / 5 * (1.0 - x / 6 * (1.0 - x / 7))))))
    return tl.where(tl.abs(thickness) < 0.25, series, 1.0 - tl.exp(-thickness))


@triton.jit
def softplus(x: tl.tensor) -> tl.tensor:
    """log(1 + exp x), and x itself above 20, as torch has it."""
    return tl.where(x > 20.0, x, log_one_plus(tl.exp(tl.minimum(x, 20.0))))


@triton.jit
def softplus_slope(x: tl.tensor) -> tl.tensor:
    """Derivative of `softplus`."""
    e = tl.exp(tl.minimum(x, 20.0))
    return tl.where(x > 20.0, 1.0, e / (1.0 + e))


@triton.jit
def leaky(x: tl.tensor) -> tl.tensor:
    """Leaky ReLU of slope 0.2."""
    return tl.where(x > 0.0, x, 0.2 * x)


@triton.jit
def leaky_slope(x: tl.tensor) -> tl.tensor:
    """Derivative of `leaky`."""
    return tl.where(x > 0.0, 1.0, 0.2)


@triton.jit
def colour(x: tl.tensor, BOUNDED: tl.constexpr) -> tl.tensor:
    """A colour out of the decoder's number: itself, or a sigmoid widened to [-1.002, 1.002]."""
    if BOUNDED:
        x = ((1.0 / (1.0 + tl.exp(-x))) * 1.002 - 0.001) * 2.0 - 1.0
    return x


@triton.jit
def colour_slope(rgb: tl.tensor, BOUNDED: tl.constexpr) -> tl.tensor:
    """Derivative of `colour`, from its value."""
    if BOUNDED:
        share = ((rgb + 1.0) * 0.5 + 0.001) / 1.002
        slope = share * (1.0 - share) * 2.004
    else:
        slope = tl.full(rgb.shape, 1.0, tl.float32)
    return slope
