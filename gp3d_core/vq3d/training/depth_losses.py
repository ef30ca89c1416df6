"""Depth supervision through the weights of rays, and what it is compared with.

Inverse depths here are normalised to [0, 1], 1 near. With Σ w = 1, pointwise = accumulated + variance along the ray:
    Σ_i w_i (D_i − T)² = (Σ_i w_i D_i − T)² + Var_w(D)
so that the pointwise loss also forbids density that is spread along a ray, which the accumulated one does not see.
Letters: B batch, R rays of a picture, S samples of a ray.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape
from gp3d_core.vq3d.config import DepthConfig

_TINY = 1e-8


def depth_loss(weights: Tensor, inverse: Tensor, target: Tensor, config: DepthConfig) -> Tensor:
    """The configured loss, a scalar, of rays with `weights` and `inverse` depths [B,R,S] and `target` [B,R]."""
    sizes = check_shape("weights", weights, "B R S")
    check_shape("inverse", inverse, "B R S", sizes)
    check_shape("target", target, "B R", sizes)
    if config.mode == "none":
        return weights.new_zeros(())
    if config.align == "lsq":
        inverse = aligned(weights, inverse, target, config)
    if config.mode == "point":
        return pointwise(weights, inverse, target)
    if config.mode == "accum":
        return accumulated(weights, inverse, target)
    return (dsnerf if config.mode == "dsnerf" else urf)(weights, inverse, target, config.surface)


def pointwise(weights: Tensor, inverse: Tensor, target: Tensor) -> Tensor:
    """Mean over rays of Σ w (D − T)²: every sample's distance from the surface, by its weight (VQ3D)."""
    return (weights * (inverse - target[..., None]).square()).sum(dim=-1).mean()


def accumulated(weights: Tensor, inverse: Tensor, target: Tensor) -> Tensor:
    """Mean over rays of (Σ w D − T)²: only the ray's mean has to be right."""
    return ((weights * inverse).sum(dim=-1) - target).square().mean()


def align(weights: Tensor, inverse: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and shift [B] that bring the samples of each picture closest to their targets, Σ w (s D + b − T)² → min.

    From prediction to target. The other way round a flat scene would cost nothing.
    """
    total = weights.sum(dim=(1, 2))
    wide = target[..., None].expand_as(inverse)
    mean_d, mean_t = ((weights * x).sum(dim=(1, 2)) / total for x in (inverse, wide))
    off_d, off_t = inverse - mean_d[:, None, None], wide - mean_t[:, None, None]
    slope = (weights * off_d * off_t).sum(dim=(1, 2)) / ((weights * off_d.square()).sum(dim=(1, 2)) + _TINY)
    return slope, mean_t - slope * mean_d


def aligned(weights: Tensor, inverse: Tensor, target: Tensor, config: DepthConfig) -> Tensor:
    """`inverse` after the best slope and shift, the slope kept within its bounds.

    Without bounds a thin slab, which is flat but for a trace of the target, would cost nothing. Slope and shift are
    constants for the gradient; where the bounds do not bind that changes nothing, since they are at their minimum.
    """
    with torch.no_grad():
        slope, _ = align(weights, inverse, target)
        slope = slope.clamp(config.slope_low, config.slope_high)
        total = weights.sum(dim=(1, 2))
        mean_d = (weights * inverse).sum(dim=(1, 2)) / total
        mean_t = (weights.sum(dim=-1) * target).sum(dim=1) / total
        shift = mean_t - slope * mean_d
    return slope[:, None, None] * inverse + shift[:, None, None]


def dsnerf(weights: Tensor, inverse: Tensor, target: Tensor, surface: float) -> Tensor:
    """−Σ log w · exp(−(D − T)² / 2σ²) · ΔD, mean over rays (DS-NeRF Eq. 7, in inverse depth); σ = `surface`."""
    near = torch.exp(-(inverse - target[..., None]).square() / (2 * surface**2))
    return -((weights + 1e-5).log() * near * _widths(inverse)).sum(dim=-1).mean()


def urf(weights: Tensor, inverse: Tensor, target: Tensor, surface: float) -> Tensor:
    """The mean depth; w like a Gaussian of σ/3 within σ = `surface` of the target; nothing before it (Urban Radiance
    Fields §3.2, in inverse depth). Sum of the three, mean over rays.
    """
    off = inverse - target[..., None]  # positive in front of the surface
    bell = torch.distributions.Normal(0.0, surface / 3).log_prob(off).exp() * _widths(inverse)
    near = torch.where(off.abs() <= surface, (weights - bell).square(), 0.0)
    before = torch.where(off > surface, weights.square(), 0.0)
    return accumulated(weights, inverse, target) + (near + before).sum(dim=-1).mean()


def _widths(inverse: Tensor) -> Tensor:
    """How much inverse depth each of the decreasing samples [B,R,S] stands for."""
    middles = (inverse[..., 1:] + inverse[..., :-1]) / 2
    edges = torch.cat([inverse[..., :1], middles, inverse[..., -1:]], dim=-1)
    return -edges.diff(dim=-1)
