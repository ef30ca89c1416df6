"""EG3D's raw picture: rays through a field of features, in two passes.

Legend: B batch, R rays, S coarse and N fine samples of a ray, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gp3d_core.baselines.eg3d.marching import (
    Marched,
    box_limits,
    coarse_distances,
    fine_distances,
    march,
)
from gp3d_core.config.eg3d import Eg3dConfig
from gp3d_core.rendering.volume import points_on

_NOTHING = -1e4  # raw density of what lies outside the box, where nothing shall be


class HasFeatures(Protocol):
    """A field that tells colours beyond the three that are seen."""

    def decoded(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Colours [B,N,C] in [0, 1] and raw density [B,N,1] at points [B,N,3]."""


@dataclass(frozen=True, eq=False)
class Uniforms:
    """The random numbers of rays: of the coarse jitter [B,R,S], and of the fine distances [B,R,N]."""

    coarse: Tensor
    fine: Tensor


def uniforms(rays: Tensor, config: Eg3dConfig, source: torch.Generator | None) -> Uniforms:
    """Numbers for rays [B,R,3] from `source`; without one the middle of every stratum, and even steps."""
    coarse, fine = (
        (*rays.shape[:2], steps) for steps in (config.render.coarse_steps, config.render.fine_steps)
    )
    if source is None:
        even = torch.linspace(0.0, 1.0, fine[-1], device=rays.device, dtype=rays.dtype)
        return Uniforms(torch.full(coarse, 0.5, device=rays.device, dtype=rays.dtype), even.expand(fine))
    drawn = (torch.rand(shape, generator=source, device=source.device).to(rays) for shape in (coarse, fine))
    return Uniforms(*drawn)


@dataclass(frozen=True, eq=False)
class RawPicture:
    """What rays saw, and how: the coarse pass's distances and weights, and the fine distances as they were drawn."""

    marched: Marched
    t_coarse: Tensor
    coarse_weights: Tensor
    t_fine: Tensor


def render_features(
    field: HasFeatures,
    rays_o: Tensor,
    rays_d: Tensor,
    config: Eg3dConfig,
    numbers: Uniforms,
    *,
    cut_quantile: float = 0.0,
    chunk: int | None = None,
) -> RawPicture:
    """Features, depth and opacity of rays with origins and unit directions [B,R,3].

    `chunk` is how many rays the field is asked for at a time; it changes nothing but rounding.
    """
    camera, render, ours = config.camera, config.render, config.eg3d
    near: Tensor | float = camera.t_near
    far: Tensor | float = camera.t_far
    if ours.limits != "camera":
        near, far = box_limits(rays_o, rays_d, camera.box, released=ours.limits == "released")
    t = coarse_distances(near, far, numbers.coarse)
    colours, raw = _ask(field, rays_o, rays_d, t, config, chunk)
    coarse = march(colours, raw, t, render, cut_quantile=cut_quantile)
    if not render.fine_steps:
        return RawPicture(coarse, t, coarse.weights, t[..., :0])
    t_fine = fine_distances(t, coarse.weights, numbers.fine, ours.guide)
    more, more_raw = _ask(field, rays_o, rays_d, t_fine, config, chunk)
    merged, order = torch.cat([t, t_fine], dim=-1).sort(dim=-1)
    colours, raw = torch.cat([colours, more], dim=-2), torch.cat([raw, more_raw], dim=-1).gather(-1, order)
    colours = colours.gather(-2, order[..., None].expand_as(colours))
    return RawPicture(
        march(colours, raw, merged, render, cut_quantile=cut_quantile), t, coarse.weights, t_fine
    )


def _ask(
    field: HasFeatures, rays_o: Tensor, rays_d: Tensor, t: Tensor, config: Eg3dConfig, chunk: int | None
) -> tuple[Tensor, Tensor]:
    """Colours [B,R,S,C] and raw densities [B,R,S] at distances t [B,R,S]."""
    colours, densities = [], []
    for origins, directions, far in zip(
        *(x.split(chunk or t.shape[1], dim=1) for x in (rays_o, rays_d, t)), strict=True
    ):
        points = points_on(origins, directions, far)
        colour, raw = field.decoded(points.flatten(1, 2))
        raw = raw.reshape(far.shape)
        if config.render.outside_box == "empty":
            raw = torch.where((points.abs() <= config.camera.box).all(dim=-1), raw, _NOTHING)
        colours.append(colour.unflatten(1, far.shape[1:]))
        densities.append(raw)
    return torch.cat(colours, dim=1), torch.cat(densities, dim=1)
