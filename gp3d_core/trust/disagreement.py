"""Where a mesh and the field that it was made of differ, seen by cameras all around.

Where the field stops more than half of the light, the mean distance of what stops it is its depth. A vertex that a
camera sees has a distance of its own; the difference, times the cosine of the surface to the ray, is how far the two
surfaces are apart. It is large over fog, over shells that a level cuts off, and where simplification or edits have
moved the mesh; a hundredth is within the steps of the rays. All lengths are shares of the longest side of the mesh's
box. V vertices, h picture size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_opening

from gp3d_core.config.schema import CameraConfig, RenderConfig
from gp3d_core.meshing.cleaning import vertex_normals
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import project, render_mesh, seen_vertices
from gp3d_core.rendering.cameras import Cameras, cam2world, mean_camera, sample_rays
from gp3d_core.rendering.volume import Field, rays_at_a_time, render

VIEWS = 12
SIZE = 80
_STEPS = 64  # of either pass along a ray: training has fewer, which would put depths up to a step too far
MOST = 0.1  # that is counted: a vertex where the field is transparent has this
_FACING = 0.3  # cosine below which depths change too fast from pixel to pixel
_SQUARE = np.ones((5, 5), bool)
_FEWEST = 64  # thin pixels of all views that anything can be said about
_LAST = 1e-3  # interval after the last sample, as in `meshing.agreement`


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Distances float32 [V] between mesh and field, NaN where no camera looks; thin pixels of the field's silhouettes.

    `thin_kept` is the share of the thin pixels that the mesh covers too, None for fewer than 64 of them; `thin` is
    the share of the silhouettes that is thin.
    """

    amount: NDArray[Any]
    thin: float
    thin_kept: float | None


def all_around(config: CameraConfig, count: int = VIEWS) -> Cameras:
    """`count` cameras evenly around the origin, with the prior's mean radius and field of view."""
    middle = mean_camera(config)
    place = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * place + 1) / count  # of a sphere's spiral: equal areas
    yaw = (place * math.pi * (3 - math.sqrt(5))) % (2 * math.pi)
    angles = torch.stack([yaw, height.acos(), torch.zeros(count)], dim=1).float()
    return Cameras(angles, middle.fov.repeat(count), middle.radius.repeat(count), torch.zeros(count, 3))


@torch.no_grad()
def disagreement(
    mesh: Mesh, field: Field, cameras: Cameras, camera: CameraConfig, config: RenderConfig, size: int = SIZE
) -> Disagreement:
    """How far `mesh` and `field` are apart as the cameras [B] see them in pictures of `size`² pixels."""
    steps = {name: max(_STEPS, getattr(config, name)) for name in ("coarse_steps", "fine_steps")}
    config = replace(config, last_interval=_LAST, **steps)
    normals, vertices = vertex_normals(mesh), mesh.vertices.astype(np.float64)
    longest = float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    total, count = np.zeros(len(vertices)), np.zeros(len(vertices))
    bare = Mesh(mesh.vertices, mesh.faces)
    thin = kept = solid = 0
    for index in range(len(cameras)):
        one = cameras[index]
        depth = field_depth(field, one, camera, config, size)
        mask, drawn = (
            np.isfinite(depth),
            render_mesh(bare, one.to("cpu"), size).mask,
        )
        fine = thin_pixels(mask)
        thin, solid = thin + int(fine.sum()), solid + int(mask.sum())
        kept += int((fine & binary_dilation(drawn)).sum())
        apart, facing = _apart(mesh, normals, one.to("cpu"), depth, drawn)
        total += np.where(facing > 0, np.minimum(apart / longest, MOST) * facing, 0)
        count += facing
    amount = np.where(count > 0, total / np.maximum(count, _FACING), np.nan).astype(np.float32)
    return Disagreement(amount, thin / max(solid, 1), kept / thin if thin >= _FEWEST else None)


def thin_pixels(mask: NDArray[Any]) -> NDArray[Any]:
    """The pixels of a silhouette bool [h,h] that lie more than two pixels away from all its squares of five by five."""
    thin: NDArray[Any] = mask & ~binary_dilation(binary_opening(mask, _SQUARE), _SQUARE)
    return thin


def field_depth(
    field: Field, one: Cameras, camera: CameraConfig, config: RenderConfig, size: int
) -> NDArray[Any]:
    """Mean distance [h,h] along the rays of one camera of what stops the light; infinite where half passes."""
    device = one.angles.device
    seen = render(field, *sample_rays(one, size), camera, config, jitter=False, chunk=rays_at_a_time(1))
    weights, t = seen.weights[0].to(device), seen.t[0].to(device)
    opacity = weights.sum(dim=1)
    mean = (weights * t).sum(dim=1) / opacity.clamp(min=1e-6)
    return torch.where(opacity > 0.5, mean, torch.inf).reshape(size, size).cpu().double().numpy()


def _apart(
    mesh: Mesh, normals: NDArray[Any], one: Cameras, depth: NDArray[Any], drawn: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Distances [V] between vertices and the field's `depth` as one camera sees them, and cosines [V] of the surface.

    Infinite where the mesh is drawn all around the vertex and the field is transparent there; a cosine is 0 where
    nothing is known.
    """
    size = len(depth)
    pixel, _, distance = project(mesh.vertices, one, size)
    towards = cam2world(one)[0, :3, 3].double().numpy() - mesh.vertices
    facing = np.einsum("vd,vd->v", normals, towards) / np.maximum(np.linalg.norm(towards, axis=1), 1e-12)
    looked = (facing > _FACING) & seen_vertices(mesh, one, size)
    column, row = np.clip(np.floor(pixel), 0, size - 2).astype(int).T
    right, down = np.clip(pixel - np.stack([column, row], axis=1), 0, 1).T
    around = [(row + i, column + j) for i in (0, 1) for j in (0, 1)]
    shares = [(down if i else 1 - down) * (right if j else 1 - right) for i in (0, 1) for j in (0, 1)]
    depths = np.stack([depth[place] for place in around])
    solid = np.isfinite(depths)
    mean = sum(share * value for share, value in zip(shares, np.where(solid, depths, 0.0), strict=True))
    through = ~solid.any(axis=0) & np.stack([drawn[place] for place in around]).all(axis=0)
    apart = np.where(through, np.inf, np.abs(mean - distance) * np.clip(facing, 0, 1))
    return apart, np.where(looked & (solid.all(axis=0) | through), facing, 0.0)
