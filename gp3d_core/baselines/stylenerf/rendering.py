"""Rays of StyleNeRF: z-depth instead of distance, an object before a background that reaches to infinity.

Legend: B batch, R rays, S coarse and F fine samples of the foreground, Q samples of the background, C channels.
    direction    goes one unit along the camera's axis, so that t is depth and a step is |direction| long
    inverse r    1 / distance from the origin, from 0.5 to 0 in the background (NeRF++ §4, inverted sphere)
The last foreground sample shows nothing: what passes the one before it goes on to the background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.baselines.marching import Query, march
from gp3d_core.ops.reference import ray_weights
from gp3d_core.rendering.cameras import Cameras, cam2world, sample_rays
from gp3d_core.rendering.volume import points_on

NEAREST_BACKGROUND = 0.5  # inverse radius
_PDF_FLOOR = 1e-5  # half of what 3DGP's release adds
_WALL = 1e10  # length of the background's last interval, which lets no light pass

PointFunction = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points [B,N,3 or 4] → colour and features [B,C,N], raw density [B,N]."""


@dataclass(frozen=True, eq=False)
class Draws:
    """Where rays are sampled: depths [B,R,S], numbers in [0,1] for the fine ones [B,R,F], falling inverse radii
    [B,R,Q]; and what is added to raw densities, [B,R,S+F] and [B,R,Q], if anything.
    """

    t: Tensor
    u_fine: Tensor
    inverse_radius: Tensor
    noise: Tensor | None = None
    background_noise: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """All samples of rays, foreground first: features [B,C,R,S+F+Q], weights [B,R,S+F+Q]; the foreground's depths t
    [B,R,S+F]; and the background's own weights [B,R,Q], as if there were nothing before it.
    """

    features: Tensor
    weights: Tensor
    t: Tensor
    background_weights: Tensor

    @property
    def foreground_weights(self) -> Tensor:
        """[B,R,S+F]."""
        return self.weights[..., : self.t.shape[-1]]

    def composite(self) -> Tensor:
        """Σ w · feature over each ray, [B,C,R]."""
        return (self.features * self.weights[:, None]).sum(dim=-1)


def depth_rays(cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
    """Origins and directions [B,h²,3] of the pixels of pictures of `resolution`², such that t is depth."""
    rays_o, rays_d = sample_rays(cameras, resolution)
    forward = -cam2world(cameras)[:, None, :3, 2]
    return rays_o, rays_d / (rays_d * forward).sum(dim=-1, keepdim=True)


def sphere_points(rays_o: Tensor, rays_d: Tensor, inverse_radius: Tensor) -> Tensor:
    """Where rays [B,R,3] leave spheres of `inverse_radius` [B,R,Q]: direction from the origin and it, [B,R,Q,4].

    Rays start inside all of them. Radius infinity is no exception.
    """
    unit = rays_d / rays_d.norm(dim=-1, keepdim=True)
    nearest = (
        rays_o - (rays_o * unit).sum(dim=-1, keepdim=True) * unit
    )  # the ray's point nearest to the origin
    sine = inverse_radius[..., None] * nearest[:, :, None]
    cosine = (1.0 - sine.square().sum(dim=-1, keepdim=True)).clamp(min=0.0).sqrt()
    return torch.cat([sine + cosine * unit[:, :, None], inverse_radius[..., None]], dim=-1)


def render(
    foreground: PointFunction,
    background: PointFunction,
    rays_o: Tensor,
    rays_d: Tensor,
    draws: Draws,
    *,
    unit: float = 1.0,
    cut_quantile: float = 0.0,
) -> Seen:
    """What rays with origins and directions [B,R,3] meet. The background's spheres are measured in `unit`, the distance
    of the cameras, so that they enclose these; `cut_quantile` as for `march`, of the foreground.
    """
    marched = march(
        _query(foreground, rays_o, rays_d, draws.noise, draws.t.shape[-1]),
        draws.t,
        draws.u_fine,
        last_interval=0.0,
        floor=_PDF_FLOOR,
        cut_quantile=cut_quantile,
    )
    left = 1.0 - marched.weights.sum(dim=-1, keepdim=True)
    inverse = draws.inverse_radius
    features, raw = background(sphere_points(rays_o / unit, rays_d, inverse).flatten(1, 2))
    raw = raw.unflatten(1, inverse.shape[1:])
    raw = raw if draws.background_noise is None else raw + draws.background_noise
    inner = ray_weights(F.relu(raw), -inverse, last_interval=_WALL)[..., :-1]
    behind = torch.cat([inner, 1.0 - inner.sum(dim=-1, keepdim=True)], dim=-1)
    return Seen(
        features=torch.cat([marched.features, features.unflatten(2, inverse.shape[1:])], dim=-1),
        weights=torch.cat([marched.weights, left * behind], dim=-1),
        t=marched.t,
        background_weights=behind,
    )


def _query(
    foreground: PointFunction, rays_o: Tensor, rays_d: Tensor, noise: Tensor | None, steps: int
) -> Query:
    """Features and density per unit of depth at depths along the rays."""
    length = rays_d.norm(dim=-1, keepdim=True)

    def query(t: Tensor, fine: bool) -> tuple[Tensor, Tensor]:
        features, raw = foreground(points_on(rays_o, rays_d, t).flatten(1, 2))
        raw = raw.unflatten(1, t.shape[1:])
        if noise is not None:
            raw = raw + (noise[..., steps:] if fine else noise[..., :steps])
        return features.unflatten(2, t.shape[1:]), F.relu(raw) * length

    return query
