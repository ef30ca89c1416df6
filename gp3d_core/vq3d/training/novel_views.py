"""Novel views to learn from: where their cameras stand, and what is known to be seen there.

What is known is a true view (data sets with cameras), or the input picture, moved by its own depth (any picture).
Letters: B batch, R pixels a side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.vq3d.config import CameraConfig
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.rendering.views import input_pose, orbit, pixel_rays, to_radiance

_TINY = 1e-6
_WHOLE = 1e-3  # of a pixel


@dataclass(frozen=True, eq=False)
class NovelView:
    """B cameras with poses [B,4,4], and what is known of their views, pixel by pixel.

    rgb [B,3,R,R] in [0, 1]; target [B,R,R], normalised inverse depth, 1 near; known [B,R,R], 1 where both are known
    and 0 where nothing is. None for views of which nothing is known at all.
    """

    poses: Tensor
    rgb: Tensor | None = None
    target: Tensor | None = None
    known: Tensor | None = None


def sample_poses(target: Tensor, yaw: float, camera: CameraConfig, generator: torch.Generator) -> Tensor:
    """Poses [B,4,4] turned about what each picture shows in its middle, see `pivot_of`.

    Up to `yaw` degrees to the sides, and as the camera's pitch and dolly allow.
    """
    turn = 2 * torch.rand(3, len(target), generator=generator, device=target.device) - 1
    return orbit(turn[0] * yaw, turn[1] * camera.pitch, pivot_of(target, camera), 1 + turn[2] * camera.dolly)


def pivot_of(target: Tensor, camera: CameraConfig) -> Tensor:
    """Median depth [B] in the middle of pictures whose normalised inverse depth is `target` [B,R,R]."""
    size = target.shape[-1]
    middle = target[:, size // 4 : size - size // 4, size // 4 : size - size // 4].flatten(1)
    return 1 / DepthSpace.of(camera).inverse(middle.median(dim=1).values)


@torch.no_grad()
def warp(images: Tensor, target: Tensor, poses: Tensor, camera: CameraConfig) -> NovelView:
    """What is known of the views from `poses` [B,4,4]: `images` [B,3,R,R] in [-1, 1], moved by their depth.

    `target` [B,R,R] is that depth, normalised inverse, from the input camera.
    Every pixel goes to the four pixels around its place in the novel view. Where several meet, the nearest to the
    camera stays; what none reaches is unknown.
    """
    count, size = len(target), target.shape[-1]
    space = DepthSpace.of(camera)
    origins, directions = pixel_rays(input_pose(count, target.device), camera.fov, size)
    points = origins + directions / space.inverse(target.flatten(1))[..., None]
    moved = (points - poses[:, None, :3, 3]) @ poses[
        :, :3, :3
    ]  # in the novel camera's frame, which looks along −z
    near = 1 / (-moved[..., 2]).clamp(min=_TINY)
    plane = moved[..., :2] * near[..., None] / math.tan(math.radians(camera.fov) / 2)
    column, row = _snap((plane[..., 0] + 1) / 2 * (size - 1)), _snap((1 - plane[..., 1]) / 2 * (size - 1))
    columns = torch.cat([column.floor(), column.ceil()] * 2, dim=1)
    rows = torch.cat([row.floor(), row.floor(), row.ceil(), row.ceil()], dim=1)
    near, ahead = near.repeat(1, 4), (moved[..., 2] < -_TINY).repeat(1, 4)
    inside = ahead & (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    pixel = torch.where(
        inside, rows * size + columns, size * size
    ).long()  # the last bin takes what is not seen
    nearest = near.new_zeros(count, size * size + 1).scatter_reduce(1, pixel, near, "amax")
    winner = (inside & (near >= nearest.gather(1, pixel) * (1 - _TINY))).to(near.dtype)
    known = near.new_zeros(count, size * size + 1).scatter_add(1, pixel, winner)
    colours = to_radiance(images).flatten(2).repeat(1, 1, 4) * winner[:, None]
    seen = near.new_zeros(count, 3, size * size + 1).scatter_add(2, pixel[:, None].expand(-1, 3, -1), colours)
    seen, known, nearest = (x[..., :-1].unflatten(-1, (size, size)) for x in (seen, known, nearest))
    depth = torch.where(known > 0, space.normalise(nearest), 0.0)
    return NovelView(poses, seen / known.clamp(min=1)[:, None], depth, (known > 0).to(near.dtype))


def _snap(place: Tensor) -> Tensor:
    """Places in pixels; those that are a whole number but for rounding errors are it."""
    whole = place.round()
    return torch.where((place - whole).abs() < _WHOLE, whole, place)
