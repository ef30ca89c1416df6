"""How much a mesh looks like the field it came from, and the level at which it does most.

Both are seen by the same cameras, drawn from the range that the field was trained with; in front of white. The
field's silhouette is where it stops more than half of the light. R rays, S samples of a ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gp3d_core.config.schema import CameraConfig, RenderConfig
from gp3d_core.meshing.extraction import LARGEST_SHARE, SMALLEST_SHARE
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.ops.reference import ray_weights
from gp3d_core.rendering.cameras import Cameras, sample_rays
from gp3d_core.rendering.volume import Field, rays_at_a_time, render

_LEVELS = 64  # candidates
_STEPS = 96  # samples of a ray that levels are compared by
_THINNEST = 1e-3  # interval after the last sample: light may pass, so that there are silhouettes
_DEPTH_SHARE = 0.25  # of a difference of depths in a level's score: silhouettes count first


_BEST_PSNR = 99.0  # of pictures that are equal: infinity is no JSON


@dataclass(frozen=True, eq=False)
class Agreement:
    """Peak signal-to-noise ratio in dB over all pixels, intersection over union of the silhouettes, and the pictures.

    Pictures are uint8 [B,h,h,3], of the field and of the mesh.
    """

    psnr: float
    iou: float
    field: NDArray[Any]
    mesh: NDArray[Any]


@torch.no_grad()
def compare(
    mesh: Mesh, field: Field, cameras: Cameras, camera: CameraConfig, config: RenderConfig, size: int = 96
) -> Agreement:
    """How far `mesh` and `field` look the same from `cameras` [B], in pictures of `size`² pixels."""
    config = replace(config, last_interval=_THINNEST, background="white")
    fields, meshes, common, either = [], [], 0, 0
    for index in range(len(cameras)):
        rays = sample_rays(cameras[index], size)
        seen = render(field, *rays, camera, config, jitter=False, chunk=rays_at_a_time(1))
        drawn = render_mesh(mesh, cameras[index].to("cpu"), size)
        rgb = ((seen.rgb[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        solid = (seen.opacity[0, :, 0] > 0.5).reshape(size, size).cpu().numpy()
        fields.append(rgb.reshape(size, size, 3).cpu().numpy())
        meshes.append(drawn.rgb)
        common += int((solid & drawn.mask).sum())
        either += int((solid | drawn.mask).sum())
    pictures = np.stack(fields), np.stack(meshes)
    error = float(((pictures[0].astype(np.float64) - pictures[1]) ** 2).mean())
    psnr = min(10 * math.log10(255**2 / max(error, 1e-12)), _BEST_PSNR)
    return Agreement(psnr, common / either if either else 1.0, *pictures)


@torch.no_grad()
def agreeing_level(
    field: Field,
    survey: NDArray[Any],
    activation: Callable[[Tensor], Tensor],
    cameras: Cameras,
    camera: CameraConfig,
    size: int = 48,
) -> float | None:
    """The level whose surface has most nearly the field's silhouettes and depths; None if the field stops no light.

    `survey` [n,n,n] is the density, after `activation`, on a coarse grid: a level leaves 1e-4 to half of it inside. The
    silhouette of a level's surface is where a ray's largest density exceeds it; its depth is where a ray first does.
    Score: intersection over union, less a quarter of the mean difference of depths, in half box edges, where both are
    solid.
    """
    rays_o, rays_d = sample_rays(cameras, size)
    t = torch.linspace(camera.t_near, camera.t_far, _STEPS, device=rays_o.device)
    sigma = torch.stack(
        [_along(field, *pair, t, activation, camera.box) for pair in zip(rays_o, rays_d, strict=True)]
    )
    sigma = sigma.flatten(0, 1)
    weights = ray_weights(sigma[None], t.expand(1, len(sigma), -1), last_interval=_THINNEST)[0]
    solid = weights.sum(dim=1) > 0.5
    if not bool(solid.any()):
        return None
    depth = (weights @ t) / weights.sum(dim=1).clamp(min=1e-6)
    low, high = np.quantile(survey, [1 - LARGEST_SHARE, 1 - SMALLEST_SHARE])
    high = min(float(high), float(sigma.max()))
    if high <= max(float(low), 0.0):
        return None
    levels = np.geomspace(max(float(low), high * 1e-3), high, _LEVELS + 1)[:-1]
    return float(levels[int(np.argmax(_scores(sigma, t, solid, depth, levels, camera.box)))])


def _along(
    field: Field,
    rays_o: Tensor,
    rays_d: Tensor,
    t: Tensor,
    activation: Callable[[Tensor], Tensor],
    box: float,
) -> Tensor:
    """Density after activation [R,S] along rays; beyond the box there is nothing."""
    points = (rays_o[:, None] + t[:, None] * rays_d[:, None]).reshape(1, -1, 3)
    inside = points[0].abs().amax(dim=1) <= box
    sigma = torch.zeros(points.shape[1], device=points.device)
    sigma[inside] = activation(field(points[:, inside])[1])[0, :, 0]
    return sigma.reshape(len(rays_o), len(t))


def _scores(
    sigma: Tensor, t: Tensor, solid: Tensor, depth: Tensor, levels: NDArray[Any], box: float
) -> list[float]:
    """The score of each level, all of them in one search for where rays first exceed them."""
    wanted = torch.from_numpy(levels).to(sigma)
    asked = solid | (sigma.amax(dim=1) > wanted.min())
    solid, depth, highest = solid[asked], depth[asked], sigma[asked].cummax(dim=1).values
    first = torch.searchsorted(
        highest, wanted.expand(len(highest), -1).contiguous(), right=True
    ).T.contiguous()
    hit = first < len(t)
    both = hit & solid
    iou = both.sum(dim=1) / (hit | solid).sum(dim=1)
    scores = []
    for share, place, seen in zip(iou.tolist(), first, both, strict=True):
        away = (t[place[seen]] - depth[seen]).abs().mean() if bool(seen.any()) else math.inf
        scores.append(share - _DEPTH_SHARE * float(away) / box)
    return scores
