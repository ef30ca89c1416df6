"""`reference.composite_rays` as kernels, and the sums along rays that the whole renderer shares.

Letters: R rays of a block, S samples of a ray, padded to a power of two M; C colour channels. Samples beyond S have
no thickness. T is the transmittance before a sample, w = T·(1 − exp(−thickness)) its weight.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gp3d_core.ops.reference import Background, Composite
from gp3d_core.ops.triton.density import absorb
from gp3d_core.ops.triton.launching import padded, rays_per_program, warps


def composite_rays(
    rgb: Tensor,
    sigma: Tensor,
    t: Tensor,
    *,
    last_interval: float,
    background: Background = "none",
    t_far: float,
) -> Composite:
    """As `reference.composite_rays`."""
    return Composite(*_Composite.apply(rgb, sigma, t, last_interval, background, t_far))


class _Composite(torch.autograd.Function):
    """(rgb, sigma, t) → rgb, depth, opacity, weights."""

    @staticmethod
    def forward(
        ctx: Any,
        rgb: Tensor,
        sigma: Tensor,
        t: Tensor,
        last_interval: float,
        background: str,
        t_far: float,
    ) -> tuple[Tensor, ...]:
        rgb, sigma, t = rgb.contiguous(), sigma.contiguous(), t.contiguous()
        *lead, samples, channels = rgb.shape
        found = (
            rgb.new_empty(*lead, channels),
            rgb.new_empty(*lead, 1),
            rgb.new_empty(*lead, 1),
            torch.empty_like(sigma),
        )
        ctx.save_for_backward(rgb, sigma, t)
        ctx.numbers = (last_interval, t_far)
        ctx.sizes = _sizes(samples, channels, background)
        ctx.set_materialize_grads(False)
        if sigma.numel():
            count = sigma.numel() // samples
            grid = (triton.cdiv(count, ctx.sizes["R"]),)
            composite_kernel[grid](rgb, sigma, t, *found, count, *ctx.numbers, **ctx.sizes)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        rgb, sigma, t = ctx.saved_tensors
        lead = rgb.shape[:2]
        shapes = ((*lead, rgb.shape[-1]), (*lead, 1), (*lead, 1), sigma.shape)
        given = [
            rgb.new_zeros(shape) if slope is None else slope.contiguous()
            for slope, shape in zip(slopes, shapes, strict=True)
        ]
        found = (torch.empty_like(rgb), torch.empty_like(sigma), torch.empty_like(t))
        if sigma.numel():
            count = sigma.numel() // sigma.shape[-1]
            grid = (triton.cdiv(count, ctx.sizes["R"]),)
            composite_backward_kernel[grid](rgb, sigma, t, *given, *found, count, *ctx.numbers, **ctx.sizes)
        return (*found, None, None, None)


def _sizes(samples: int, channels: int, background: str) -> dict[str, Any]:
    """Block sizes and choices that kernels are compiled for."""
    wide = padded(samples)
    rays = rays_per_program(wide)
    return {
        "SAMPLES": samples,
        "CHANNELS": channels,
        "BACKGROUND": background,
        "R": rays,
        "M": wide,
        "num_warps": warps(rays, wide),
    }


@triton.jit
def positions(R: tl.constexpr, M: tl.constexpr) -> tl.tensor:
    """Number [R,M] of a sample on its ray."""
    return tl.zeros([R, M], tl.int32) + tl.arange(0, M)[None, :]


@triton.jit
def intervals(
    t: tl.tensor, k: tl.tensor, last_interval: tl.tensor, SAMPLES: tl.constexpr, M: tl.constexpr
) -> tl.tensor:
    """Distance [R,M] to the next sample of a sorted ray; `last_interval` for the last."""
    after = tl.gather(t, tl.minimum(k + 1, M - 1), axis=1)
    return tl.where(k == SAMPLES - 1, last_interval, after - t)


@triton.jit
def transmittance(thickness: tl.tensor, k: tl.tensor, SAMPLES: tl.constexpr) -> tl.tensor:
    """Light [R,M] that reaches each sample of a sorted ray."""
    # the last sample, which may be a wall, hides nothing; without it the sums stay small
    passed = tl.cumsum(tl.where(k < SAMPLES - 1, thickness, 0.0), axis=1)
    before = tl.gather(passed, tl.maximum(k - 1, 0), axis=1)
    return tl.where(k == 0, 1.0, tl.exp(-before))


@triton.jit
def thickness_slope(
    pull: tl.tensor,
    light: tl.tensor,
    thickness: tl.tensor,
    k: tl.tensor,
    SAMPLES: tl.constexpr,
    M: tl.constexpr,
) -> tl.tensor:
    """Gradient [R,M] to the thicknesses, from the gradient `pull` to the weights."""
    spent = tl.cumsum(pull * light * absorb(thickness), axis=1, reverse=True)
    behind = tl.gather(spent, tl.minimum(k + 1, M - 1), axis=1)
    return pull * light * tl.exp(-thickness) - tl.where(k >= SAMPLES - 1, 0.0, behind)


@triton.jit
def composite_kernel(
    rgb: tl.tensor,
    sigma: tl.tensor,
    t: tl.tensor,
    colours: tl.tensor,
    depths: tl.tensor,
    opacities: tl.tensor,
    shares: tl.tensor,
    count: int,
    last_interval: float,
    t_far: float,
    SAMPLES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BACKGROUND: tl.constexpr,
    R: tl.constexpr,
    M: tl.constexpr,
) -> None:
    """A block of R rays."""
    ray = tl.cast(tl.program_id(0), tl.int64) * R + tl.arange(0, R)
    k = positions(R, M)
    real = (ray < count)[:, None] & (k < SAMPLES)
    row = ray[:, None] * SAMPLES + k
    distance = tl.load(t + row, mask=real, other=0.0)
    thickness = tl.load(sigma + row, mask=real, other=0.0)
    thickness *= intervals(distance, k, last_interval, SAMPLES, M)
    weights = transmittance(thickness, k, SAMPLES) * absorb(thickness)
    missing = 1.0 - tl.sum(weights, axis=1)
    if BACKGROUND == "last":
        weights = tl.where(k == SAMPLES - 1, weights + missing[:, None], weights)
    depth = tl.sum(weights * distance, axis=1)
    if BACKGROUND == "white":
        depth += missing * t_far
    for channel in tl.static_range(CHANNELS):
        colour = tl.sum(weights * tl.load(rgb + row * CHANNELS + channel, mask=real, other=0.0), axis=1)
        if BACKGROUND == "white":
            colour += missing
        tl.store(colours + ray * CHANNELS + channel, colour, mask=ray < count)
    tl.store(depths + ray, depth, mask=ray < count)
    tl.store(opacities + ray, tl.sum(weights, axis=1), mask=ray < count)
    tl.store(shares + row, weights, mask=real)


@triton.jit
def composite_backward_kernel(
    rgb: tl.tensor,
    sigma: tl.tensor,
    t: tl.tensor,
    colours: tl.tensor,
    depths: tl.tensor,
    opacities: tl.tensor,
    shares: tl.tensor,
    to_rgb: tl.tensor,
    to_sigma: tl.tensor,
    to_t: tl.tensor,
    count: int,
    last_interval: float,
    t_far: float,
    SAMPLES: tl.constexpr,
    CHANNELS: tl.constexpr,
    BACKGROUND: tl.constexpr,
    R: tl.constexpr,
    M: tl.constexpr,
) -> None:
    """A block of R rays: gradients to colours, densities and distances from those to what the forward kernel wrote."""
    ray = tl.cast(tl.program_id(0), tl.int64) * R + tl.arange(0, R)
    k = positions(R, M)
    real = (ray < count)[:, None] & (k < SAMPLES)
    row = ray[:, None] * SAMPLES + k
    distance = tl.load(t + row, mask=real, other=0.0)
    density = tl.load(sigma + row, mask=real, other=0.0)
    interval = intervals(distance, k, last_interval, SAMPLES, M)
    thickness = density * interval
    light = transmittance(thickness, k, SAMPLES)
    weights = light * absorb(thickness)
    if BACKGROUND == "last":
        rest = 1.0 - tl.sum(weights, axis=1)
        weights = tl.where(k == SAMPLES - 1, weights + rest[:, None], weights)
    depth = tl.load(depths + ray, mask=ray < count, other=0.0)[:, None]
    pull = tl.load(shares + row, mask=real, other=0.0) + depth * distance
    pull += tl.load(opacities + ray, mask=ray < count, other=0.0)[:, None]
    if BACKGROUND == "white":
        pull -= depth * t_far
    for channel in tl.static_range(CHANNELS):
        colour = tl.load(colours + ray * CHANNELS + channel, mask=ray < count, other=0.0)[:, None]
        tl.store(to_rgb + row * CHANNELS + channel, weights * colour, mask=real)
        pull += colour * tl.load(rgb + row * CHANNELS + channel, mask=real, other=0.0)
        if BACKGROUND == "white":
            pull -= colour
    if BACKGROUND == "last":
        pull -= tl.sum(tl.where(k == SAMPLES - 1, pull, 0.0), axis=1)[:, None]
    slope = thickness_slope(tl.where(real, pull, 0.0), light, thickness, k, SAMPLES, M)
    tl.store(to_sigma + row, slope * interval, mask=real)
    stretch = tl.where(k < SAMPLES - 1, slope * density, 0.0)
    before = tl.where(k == 0, 0.0, tl.gather(stretch, tl.maximum(k - 1, 0), axis=1))
    tl.store(to_t + row, weights * depth + before - stretch, mask=real)
