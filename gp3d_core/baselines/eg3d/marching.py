"""EG3D's way along a ray (its §4.2, and what its release does): intervals between samples instead of samples.

Legend: B batch, R rays, S samples of a ray and S - 1 intervals between them, F numbers of a feature.
Colour, raw density and distance of an interval are the means of its ends, so that the light of the last sample ends
there and a ray can stay empty. Jitter is one-sided and goes on in evaluation: samples reach beyond the far plane.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.config.schema import RenderConfig
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.reference import activate_density, cut_density, invert_histogram

_LEAK = 1e-10  # added to the light that passes an interval, as the release does
_EVEN = 0.01  # added to the pooled weights of the released guide
_LITTLE = 1e-5  # so that no bin of a histogram is empty


class Marched(NamedTuple):
    """What rays bring back: features [B,R,F] in about [-1, 1], depth and opacity [B,R,1], weights [B,R,S-1]."""

    features: Tensor
    depth: Tensor
    opacity: Tensor
    weights: Tensor


def coarse_distances(near: Tensor | float, far: Tensor | float, u: Tensor) -> Tensor:
    """Distances [B,R,S] that begin at `near` + (k + u) · step, for uniforms `u` [B,R,S] in [0, 1].

    near and far are numbers, or [B,R,1]; S - 1 steps lead from one to the other.
    """
    steps = u.shape[-1]
    return near + (torch.arange(steps, device=u.device, dtype=u.dtype) + u) * ((far - near) / (steps - 1))


def march(
    colours: Tensor,
    raw: Tensor,
    t: Tensor,
    config: RenderConfig,
    *,
    cut_quantile: float = 0.0,
) -> Marched:
    """Composites colours [B,R,S,F] in [0, 1] and raw densities [B,R,S] at increasing distances t [B,R,S].

    The density of an interval is that of the mean raw density. What an empty ray shows is black or, with a white
    background, white: -1 or 1. Its depth is the largest of all `t`. Of densities those below their `cut_quantile`,
    over all intervals, count as 0.
    """
    sizes = check_shape("raw", raw, "B R S")
    check_shape("t", t, "B R S", sizes)
    check_shape("colours", colours, "B R S F", sizes)
    middle, between, length = _means(colours, 2), _means(raw, 2), t.diff(dim=-1)
    sigma = activate_density(
        between, scale=config.density_scale, gain=config.density_gain, shift=config.density_shift
    )
    if cut_quantile > 0:
        sigma = cut_density(sigma, cut_quantile)
    # 1 - exp and not expm1: rays are empty, and as deep as the batch, where the release's are
    alpha = 1.0 - torch.exp(-sigma * length)
    passed = F.pad(torch.cumprod(1.0 - alpha + _LEAK, dim=-1)[..., :-1], (1, 0), value=1.0)
    weights = alpha * passed
    opacity = weights.sum(dim=-1, keepdim=True)
    features = (weights[..., None] * middle).sum(dim=-2)
    if config.background == "white":
        features = features + (1.0 - opacity)
    some = opacity > 0
    mean = (weights * _means(t, 2)).sum(dim=-1, keepdim=True) / torch.where(some, opacity, 1.0)
    depth = torch.where(some, mean, t.max()).clamp(t.min(), t.max())
    return Marched(features * 2.0 - 1.0, depth, opacity, weights)


def _means(values: Tensor, axis: int) -> Tensor:
    """Means of neighbours along `axis`."""
    count = values.shape[axis] - 1
    return (values.narrow(axis, 0, count) + values.narrow(axis, 1, count)) / 2


@torch.no_grad()
def fine_distances(t: Tensor, weights: Tensor, u: Tensor, guide: Literal["intervals", "released"]) -> Tensor:
    """Distances [B,R,N] where the `weights` [B,R,S-1] of the intervals of `t` [B,R,S] are large, for uniforms
    u [B,R,N].

    "intervals": bins are the intervals, with their weights. "released": weights are smoothed first, and then those of
    the inner intervals, but for the last, go to bins between the middles of intervals: half a step nearer.
    """
    smooth = weights.flatten(0, 1)[:, None]
    smooth = F.avg_pool1d(F.max_pool1d(smooth, 2, 1, padding=1), 2, 1)[:, 0].unflatten(0, weights.shape[:2])
    if guide == "intervals":
        return invert_histogram(t, smooth + (_EVEN + _LITTLE), u)
    middles = _means(t, 2)
    return invert_histogram(middles[..., :-1], smooth[..., 1:-1] + (_EVEN + _LITTLE), u)


def cross_box(rays_o: Tensor, rays_d: Tensor, half: float) -> tuple[Tensor, Tensor, Tensor]:
    """Distances [B,R] where rays [B,R,3] enter and leave the cube [-half, half]³, and which [B,R] cross it at all."""
    to_low, to_high = (-half - rays_o) / rays_d, (half - rays_o) / rays_d
    near = torch.minimum(to_low, to_high).amax(dim=-1)
    far = torch.maximum(to_low, to_high).amin(dim=-1)
    return near, far, near <= far


def box_limits(
    rays_o: Tensor, rays_d: Tensor, half: float, *, released: bool = False
) -> tuple[Tensor, Tensor]:
    """Distances [B,R,1] between which samples of rays lie, for a cube of half an edge `half`.

    Rays that miss it are sampled from where the first one enters to where the last one leaves; `released`: to where
    the last one enters.
    """
    near, far, hits = cross_box(rays_o, rays_d, half)
    if bool(hits.any()):
        last = (near if released else far)[hits].max()
        near, far = torch.where(hits, near, near[hits].min()), torch.where(hits, far, last)
    return near[..., None], far[..., None]
