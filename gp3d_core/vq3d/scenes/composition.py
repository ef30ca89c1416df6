"""Fields cut, moved and put together; rendered once, so that what is in front hides what is behind.

A field takes world points [B,N,3] and returns rgb [B,N,3] in [0, 1] and sigma [B,N,1]; a region takes world points and
returns a share [B,N,1] from 0 (outside) to 1. A step turns one field into another. Each field contracts space in its
own coordinates. Letters: B scenes, N points, h pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.errors import GP3DError
from gp3d_core.vq3d.rendering.views import RADIUS, Field

_FAINT = 1e-8  # density of the backdrop's colour everywhere, so that the opaque end of a ray is never black
_EDGE = 0.25  # share of a region's depth over which it fades out


class RegionError(GP3DError):
    """A region that holds nothing, or that cannot be read; the message says what was expected."""


@dataclass(frozen=True, eq=False)
class LiftedMask:
    """What a mask [h,h] in the input view covers: within `tolerance` of a surface, as a rule the visible one.

    `inverse` [h,h] and `tolerance` are inverse depths; `reach` is the tangent of half the field of view. `edge` is the
    share of the tolerance over which it fades out.
    """

    mask: Tensor
    inverse: Tensor
    reach: float
    tolerance: float
    edge: float = _EDGE

    def __call__(self, points: Tensor) -> Tensor:
        """Share [B,N,1] of points [B,N,3]; 0 behind the camera."""
        depth = (RADIUS - points[..., 2]).clamp(min=1e-6)
        plane = points[..., :2] / (self.reach * depth[..., None])
        grid = torch.stack([plane[..., 0], -plane[..., 1]], dim=-1)[:, None]  # row 0 of a picture is y = +1
        maps = torch.stack([self.mask, self.inverse])[None].expand(len(points), -1, -1, -1).to(points)
        share, surface = F.grid_sample(maps, grid, align_corners=True, padding_mode="border")[:, :, 0].unbind(
            1
        )
        inside = (plane.abs() <= 1).all(dim=-1) & (points[..., 2] < RADIUS)
        near = (1 - (1 / depth - surface).abs() / self.tolerance) / self.edge
        return (share * inside * near.clamp(0, 1))[..., None]

    @property
    def centre(self) -> Tensor:
        """Mean world point [3] of the surface under the mask."""
        weights = self.mask / self.mask.sum()
        return (surface_points(self.inverse, self.reach) * weights[..., None]).sum(dim=(0, 1))


def is_in_frame(points: Tensor, reach: float) -> Tensor:
    """Whether the input view shows the world points [...,3]; `reach` as a lifted mask has it."""
    depth = RADIUS - points[..., 2]
    return (depth > 0) & (points[..., :2].abs() <= reach * depth[..., None] * (1 + 1e-4)).all(dim=-1)


def surface_points(inverse: Tensor, reach: float) -> Tensor:
    """World points [h,h,3] of the surface `inverse` [h,h] of the input view; `reach` as a lifted mask has it."""
    line = torch.linspace(-1, 1, len(inverse), device=inverse.device)
    depth = 1 / inverse
    return torch.stack([line[None] * reach * depth, -line[:, None] * reach * depth, RADIUS - depth], dim=-1)


@dataclass(frozen=True)
class Box:
    """What lies between two corners, x, y, z of the `low` and of the `high` one, with an edge that is soft inside."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, points: Tensor) -> Tensor:
        """Share [B,N,1] of points [B,N,3]."""
        low, high = points.new_tensor(self.low), points.new_tensor(self.high)
        inside = torch.minimum(points - low, high - points) / (high - low)
        return (inside.amin(dim=-1, keepdim=True) * 2 / _EDGE).clamp(0, 1)

    @property
    def centre(self) -> Tensor:
        """The middle [3]."""
        return (torch.tensor(self.low) + torch.tensor(self.high)) / 2


Region = LiftedMask | Box


@dataclass(frozen=True, eq=False)
class Keep:
    """Step: only what is in the region stays."""

    region: Region

    def __call__(self, field: Field) -> Field:
        """The field with sigma times the share of the region."""

        def kept(points: Tensor) -> tuple[Tensor, Tensor]:
            rgb, sigma = field(points)
            return rgb, sigma * self.region(points)

        return kept


@dataclass(frozen=True, eq=False)
class Remove:
    """Step: what is in the region goes."""

    region: Region

    def __call__(self, field: Field) -> Field:
        """The field with sigma times what the region leaves."""

        def left(points: Tensor) -> tuple[Tensor, Tensor]:
            rgb, sigma = field(points)
            return rgb, sigma * (1 - self.region(points))

        return left


@dataclass(frozen=True)
class Place:
    """Step: a point x goes to `scale` · R · x + `shift`, R the turn by `yaw` degrees about y (growing: towards −x).

    Density is per length, hence σ / scale: what is opaque stays so.
    """

    scale: float
    yaw: float
    shift: tuple[float, ...]

    def __call__(self, field: Field) -> Field:
        """The field, moved."""

        def moved(points: Tensor) -> tuple[Tensor, Tensor]:
            back = (points - points.new_tensor(self.shift)) @ self._turn().to(points) / self.scale
            rgb, sigma = field(back)
            return rgb, sigma / self.scale

        return moved

    def moved(self, points: Tensor) -> Tensor:
        """Where the points [...,3] go."""
        return self.scale * points @ self._turn().to(points).T + points.new_tensor(self.shift)

    def _turn(self) -> Tensor:
        """R [3,3]; rows · R is the inverse turn of row vectors."""
        cos, sin = math.cos(math.radians(self.yaw)), math.sin(math.radians(self.yaw))
        return torch.tensor([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])


@dataclass(frozen=True)
class Fade:
    """Step: `share` of the density stays."""

    share: float

    def __call__(self, field: Field) -> Field:
        """The field with sigma times the share."""

        def faded(points: Tensor) -> tuple[Tensor, Tensor]:
            rgb, sigma = field(points)
            return rgb, sigma * self.share

        return faded


Step = Keep | Remove | Place | Fade


def place_about(centre: Tensor, *, scale: float, yaw: float, shift: Sequence[float]) -> Place:
    """Turns and scales about `centre` [3], then moves by `shift`. Raises RegionError for a scale of 0 or less."""
    if not scale > 0:
        raise RegionError(f"expected a scale above 0, found {scale:g}")
    turn = Place(scale, yaw, (0.0, 0.0, 0.0))
    offset = centre + centre.new_tensor(list(shift)) - scale * turn._turn().to(centre) @ centre
    return Place(scale, yaw, tuple(offset.tolist()))


def backdrop_share(steps: Sequence[Step]) -> float:
    """How much of a field's own backdrop is left after `steps`: none of what was cut out of it."""
    share = 1.0
    for step in steps:
        share *= step.share if isinstance(step, Fade) else 0.0 if isinstance(step, Keep) else 1.0
    return share


def together(fields: Sequence[Field], backdrops: Sequence[float]) -> Field:
    """All fields at once: σ = Σ σᵢ, colour Σ σᵢ cᵢ / Σ σᵢ.

    Where hardly anything is, the colour is that of the fields weighted by their `backdrops`.
    """
    if len(fields) == 1:
        return fields[0]

    def sum_of(points: Tensor) -> tuple[Tensor, Tensor]:
        colour, total, weight = torch.zeros_like(points), torch.zeros_like(points[..., :1]), 0.0
        backdrop = torch.zeros_like(points)
        for field, share in zip(fields, backdrops, strict=True):
            rgb, sigma = field(points)
            colour, total = colour + sigma * rgb, total + sigma
            backdrop, weight = backdrop + share * rgb, weight + share
        faint = _FAINT if weight else 0.0
        backdrop = backdrop / weight if weight else backdrop
        return (colour + faint * backdrop) / (total + max(faint, math.ulp(0.0))), total

    return sum_of


def lift(mask: Tensor, inverse: Tensor, fov: float, tolerance: float) -> LiftedMask:
    """The region that `mask` [h,h] in [0, 1] covers in a view with surface `inverse` [h,h]; `fov` in degrees.

    Raises RegionError for a mask that covers nothing.
    """
    if not float(mask.max()) > 0:
        raise RegionError("the mask is empty: expected something white, or a rectangle with something in it")
    return LiftedMask(mask.float(), inverse.float(), math.tan(math.radians(fov) / 2), tolerance)
