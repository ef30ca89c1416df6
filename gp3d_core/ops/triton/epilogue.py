"""`resampling.finish` as kernels: filter, demodulation, noise, bias and leaky ReLU in one pass over memory.

Only the result is kept for backward: the leaky ReLU can be inverted, so what it was made from is found again from it.
Differentiable once. Letters: B batch, C channels, H W size of the result.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gp3d_core.ops.triton.resample import GROW, filtered, launch

_BLOCK = 1024  # pixels of a program
_FIR_GAIN = 4.0
_ABOVE = tl.constexpr(math.sqrt(2.0))  # the leaky ReLU's derivative for positive numbers, with its gain
_BELOW = tl.constexpr(0.2 * math.sqrt(2.0))


def finish(
    x: Tensor, scale: Tensor, bias: Tensor, noise: Tensor | None, strength: Tensor, *, filtered: bool = False
) -> Tensor:
    """As `resampling.finish`."""
    return _Finish.apply(x, scale, bias, strength, noise, filtered)


class _Finish(torch.autograd.Function):
    """(x, scale [B,C], bias [C], strength, noise or None, filtered) → [B,C,H,W]."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        bias: Tensor,
        strength: Tensor,
        noise: Tensor | None,
        filter_first: bool,
    ) -> Tensor:
        x, scale, bias = x.contiguous(), scale.contiguous(), bias.contiguous()
        noise = None if noise is None else noise.contiguous()
        batch, channels, height, width = x.shape
        height, width = (height - 1, width - 1) if filter_first else (height, width)
        result = x.new_empty(batch, channels, height, width)
        blocks = triton.cdiv(height * width, _BLOCK)
        if result.numel():
            finish_kernel[(batch * channels * blocks,)](
                x,
                (scale, bias, strength, noise),
                result,
                blocks,
                (channels, height, width),
                _per_sample(noise),
                FILTER=filter_first,
                N=_BLOCK,
            )
        ctx.save_for_backward(result, scale, bias, strength, noise)
        ctx.filter_first = filter_first
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        result, scale, bias, strength, noise = ctx.saved_tensors
        slope = slope.contiguous()
        batch, channels, height, width = result.shape
        blocks = triton.cdiv(height * width, _BLOCK)
        back = torch.empty_like(result)
        sums = torch.zeros(3, batch, channels, blocks, dtype=torch.float32, device=result.device)
        if result.numel():
            finish_slope_kernel[(batch * channels * blocks,)](
                slope,
                result,
                (scale, bias, strength, noise),
                back,
                sums,
                blocks,
                (batch, channels, height, width),
                _per_sample(noise),
                N=_BLOCK,
            )
        to_x, to_scale, to_bias, to_strength = ctx.needs_input_grad[:4]
        if ctx.filter_first and to_x:
            back = launch(back, None, GROW, _FIR_GAIN)
        totals = sums.sum(dim=3)
        return (
            back if to_x else None,
            totals[0].to(scale.dtype) if to_scale else None,
            totals[1].sum(dim=0).to(bias.dtype) if to_bias else None,
            totals[2].sum().to(strength.dtype) if to_strength and noise is not None else None,
            None,
            None,
        )


def _per_sample(noise: Tensor | None) -> int:
    """Numbers between the noise maps of neighbouring samples: 0 where all share one."""
    return 0 if noise is None or noise.shape[0] == 1 else noise.shape[2] * noise.shape[3]


@triton.jit
def offsets(
    small: tl.tuple,
    sample: tl.tensor,
    channel: tl.tensor,
    place: tl.tensor,
    seen: tl.tensor,
    stride: tl.tensor,
) -> tuple[tl.tensor, tl.tensor]:
    """The noise map's numbers [N], and what is added to the scaled features: noise and bias [N]."""
    noise = tl.zeros(place.shape, tl.float32)
    if small[3] is not None:
        noise = tl.load(small[3] + sample * stride + place, mask=seen, other=0.0).to(tl.float32)
    bias = tl.load(small[1] + channel).to(tl.float32)
    return noise, noise * tl.load(small[2]).to(tl.float32) + bias


@triton.jit
def finish_kernel(
    x: tl.tensor,
    small: tl.tuple,
    result: tl.tensor,
    blocks: tl.tensor,
    sizes: tl.tuple,
    stride: tl.tensor,
    FILTER: tl.constexpr,
    N: tl.constexpr,
) -> None:
    """N pixels of one channel of one sample."""
    channels, height, width = sizes
    program = tl.program_id(0)
    image = (program // blocks).to(tl.int64)
    place = (program % blocks) * N + tl.arange(0, N)
    seen = place < height * width
    if FILTER:
        start = x + image * (height + 1) * (width + 1)
        row, column = place // width, place % width
        value = filtered(start, row, column, 0, height + 1, width + 1, seen, 1, 1, 1, 1) / 16.0
    else:
        value = tl.load(x + image * height * width + place, mask=seen, other=0.0).to(tl.float32)
    _, shift = offsets(small, image // channels, image % channels, place, seen, stride)
    value = value * tl.load(small[0] + image).to(tl.float32) + shift
    value = value * tl.where(value > 0.0, _ABOVE, _BELOW)
    tl.store(result + image * height * width + place, value.to(result.dtype.element_ty), mask=seen)


@triton.jit
def finish_slope_kernel(
    slope: tl.tensor,
    result: tl.tensor,
    small: tl.tuple,
    back: tl.tensor,
    sums: tl.tensor,
    blocks: tl.tensor,
    sizes: tl.tuple,
    stride: tl.tensor,
    N: tl.constexpr,
) -> None:
    """Slopes to the (filtered) features of N pixels, and this block's share of those to scale, bias and strength."""
    batch, channels, height, width = sizes
    program = tl.program_id(0)
    image = (program // blocks).to(tl.int64)
    place = (program % blocks) * N + tl.arange(0, N)
    seen = place < height * width
    start = image * height * width
    value = tl.load(result + start + place, mask=seen, other=0.0).to(tl.float32)
    gain = tl.where(value > 0.0, _ABOVE, _BELOW)
    inner = tl.load(slope + start + place, mask=seen, other=0.0).to(tl.float32) * gain
    noise, shift = offsets(small, image // channels, image % channels, place, seen, stride)
    scale = tl.load(small[0] + image).to(tl.float32)
    tl.store(back + start + place, (inner * scale).to(back.dtype.element_ty), mask=seen)
    features = (value / gain - shift) / scale
    share = sums + program
    total = batch * channels * blocks
    tl.store(share, tl.sum(tl.where(seen, inner * features, 0.0)))
    tl.store(share + total, tl.sum(inner))
    tl.store(share + 2 * total, tl.sum(inner * noise))
