"""Cameras and rendering of VQ3D: rays sampled uniformly in inverse depth, the last interval opaque.

World (docs/conventions.md): right-handed, y up. The input camera sits at (0, 0, 1) and looks along −z: the origin
has depth 1. Poses are cam2world [B,4,4]: columns right, up, backward, position. Rays have unit *z* in the camera's
frame, so t is z-depth and D = 1/t inverse depth; optical lengths are multiplied by the ray's length.
Images are in [-1, 1], as everywhere. Colours of fields, and what rays add up of them, are radiance: rgb in [0, 1], 0
black, so that nothing along a ray adds nothing. `to_image` and `to_radiance` stand between the two.
Letters: B batch, h pixels a side, R = h² rays (top row first), S samples of a ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.constants import constant
from gp3d_core.ops.reference import sample_importance
from gp3d_core.rendering.patches import Patches, full_patch, image_plane
from gp3d_core.vq3d.config import CameraConfig, RenderConfig

RADIUS = 1.0  # of the input camera from the origin
_JITTER = 0.45  # of an interval, that its borders move by at most, so that they stay in order

Field = Callable[[Tensor], tuple[Tensor, Tensor]]  # points [B,N,3] → rgb [B,N,3] in [0, 1], sigma [B,N,1]


def to_image(rgb: Tensor) -> Tensor:
    """Values of an image, in [-1, 1], of radiance in [0, 1], any shape."""
    return rgb * 2 - 1


def to_radiance(image: Tensor) -> Tensor:
    """Radiance in [0, 1] of values of an image, in [-1, 1], any shape; exact for those of 8-bit images."""
    return (image + 1) / 2


class View(NamedTuple):
    """Views of B cameras: rgb [B,3,h,h] in [0, 1], disparity and its spread along the ray [B,h,h] (inverse depth).

    weights [B,R,S] sum to 1 over S; inverse [B,R,S] is the inverse depth D of every sample, largest first.
    """

    rgb: Tensor
    disparity: Tensor
    spread: Tensor
    weights: Tensor
    inverse: Tensor

    @property
    def images(self) -> Tensor:
        """The views as images [B,3,h,h] in [-1, 1]."""
        return to_image(self.rgb)


def orbit(
    yaw: Tensor,
    pitch: Tensor,
    pivot: Tensor,
    dolly: Tensor | None = None,
    elevation: Tensor | None = None,
) -> Tensor:
    """Poses [B,4,4] turned about the point at depth `pivot` [B] on the input camera's axis; all angles in degrees.

    As everywhere, growing `yaw` [B] moves the camera towards −x; growing `pitch` [B] moves it up. `dolly` [B]
    multiplies the distance to the pivot. Yaw and pitch 0 with dolly 1 is the input camera. `elevation` [B] is how far
    that looks down on what it shows: yaws turn about the vertical, which leans by so much out of its picture.
    """
    sizes = check_shape("yaw", yaw, "B")
    check_shape("pitch", pitch, "B", sizes)
    check_shape("pivot", pivot, "B", sizes)
    distance = pivot if dolly is None else pivot * dolly
    turn = _about_y(-torch.deg2rad(yaw)) @ _about_x(-torch.deg2rad(pitch))
    if elevation is not None:
        check_shape("elevation", elevation, "B", sizes)
        lean = torch.deg2rad(elevation)
        turn = _about_x(lean) @ turn @ _about_x(-lean)
    position = turn[:, :, 2] * distance[:, None]
    position = position + torch.stack(
        [torch.zeros_like(pivot), torch.zeros_like(pivot), RADIUS - pivot], dim=1
    )
    top = torch.cat([turn, position[:, :, None]], dim=2)
    bottom = constant((0.0, 0.0, 0.0, 1.0), yaw).expand(len(yaw), 1, 4)
    return torch.cat([top, bottom], dim=1)


def input_pose(count: int = 1, device: torch.device | str = "cpu") -> Tensor:
    """The input camera's pose, [count,4,4]."""
    zero = torch.zeros(count, device=device)
    return orbit(zero, zero, zero + RADIUS)


def _about_y(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=1).unflatten(1, (3, 3))


def _about_x(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).unflatten(1, (3, 3))


def pixel_rays(
    poses: Tensor, fov: float, resolution: int, patches: Patches | None = None
) -> tuple[Tensor, Tensor]:
    """Origins [B,1,3] and directions [B,R,3] (unit z in the camera's frame) of the pixels of a patch or picture.

    `fov` degrees span from the centre of the first pixel to that of the last, as everywhere.
    """
    check_shape("poses", poses, "B 4 4")
    patches = full_patch(len(poses), poses.device) if patches is None else patches
    plane = image_plane(resolution, patches).flatten(1, 2).to(poses.dtype)
    reach = math.tan(math.radians(fov) / 2)
    in_camera = torch.cat([plane * reach, -torch.ones_like(plane[..., :1])], dim=-1)
    return poses[:, None, :3, 3], in_camera @ poses[:, :3, :3].transpose(1, 2)


def sample_edges(
    camera: CameraConfig,
    steps: int,
    shape: Sequence[int],
    generator: torch.Generator | None,
    device: torch.device,
) -> Tensor:
    """Borders of S = `steps` intervals of inverse depth, [B,R,S+1], from 1/near down to 1/far.

    With a `generator` the inner borders are jittered.
    """
    edges = torch.linspace(1 / camera.near, 1 / camera.far, steps + 1, device=device)
    edges = edges.expand(*shape, -1)
    if generator is None:
        return edges
    noise = torch.rand(*shape, steps - 1, generator=generator, device=device) * 2 - 1
    width = (1 / camera.near - 1 / camera.far) / steps
    inner = edges[..., 1:-1] + noise * (_JITTER * width)
    return torch.cat([edges[..., :1], inner, edges[..., -1:]], dim=-1)


def ray_weights(sigma: Tensor, edges: Tensor, length: Tensor) -> Tensor:
    """Weights [B,R,S] of densities [B,R,S] in the intervals between `edges` [B,R,S+1], decreasing inverse depths.

    `length` [B,R] is that of the rays' directions. The last interval is opaque, hence Σ w = 1 on every ray.
    """
    steps = (1 / edges).diff(dim=-1)
    thickness = sigma * steps * length[..., None]
    before = torch.nn.functional.pad(thickness[..., :-1].cumsum(dim=-1), (1, 0))
    alpha = torch.cat([-torch.expm1(-thickness[..., :-1]), torch.ones_like(thickness[..., -1:])], dim=-1)
    return torch.exp(-before) * alpha


def render(
    field: Field,
    poses: Tensor,
    camera: CameraConfig,
    settings: RenderConfig,
    resolution: int,
    *,
    patches: Patches | None = None,
    generator: torch.Generator | None = None,
    chunk: int | None = None,
) -> View:
    """Views of a batch of B fields from cameras with `poses` [B,4,4], `resolution` pixels a side.

    `patches` are windows of the image plane. A `generator` jitters the samples, as in training. At most `chunk` rays of
    each picture are rendered at a time.
    """
    origins, directions = pixel_rays(poses, camera.fov, resolution, patches)
    parts = [
        _render_rays(field, origins, some, camera, settings, generator)
        for some in directions.split(chunk or directions.shape[1], dim=1)
    ]
    rgb, weights, inverse = (torch.cat(piece, dim=1) for piece in zip(*parts, strict=True))
    disparity = (weights * inverse).sum(dim=-1)
    variance = (weights * (inverse - disparity[..., None]).square()).sum(dim=-1)
    size = (resolution, resolution)
    return View(
        rgb.transpose(1, 2).unflatten(2, size),
        disparity.unflatten(1, size),
        variance.clamp(min=1e-12).sqrt().unflatten(1, size),
        weights,
        inverse,
    )


def _render_rays(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    camera: CameraConfig,
    settings: RenderConfig,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Colours [B,R,3], weights and inverse depths [B,R,S] of rays."""
    edges = sample_edges(camera, settings.steps, directions.shape[:2], generator, directions.device)
    if settings.fine_steps:
        with torch.no_grad():
            _, weights = _query(field, origins, directions, edges)
            edges = _refine(edges, weights, settings.fine_steps, generator)
    rgb, weights = _query(field, origins, directions, edges)
    inverse = (edges[..., 1:] + edges[..., :-1]) / 2
    return (weights[..., None] * rgb).sum(dim=2), weights, inverse


def _query(field: Field, origins: Tensor, directions: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Colours [B,R,S,3] and weights [B,R,S] of the middles of the intervals."""
    depth = 2 / (edges[..., 1:] + edges[..., :-1])
    points = origins[:, :, None] + directions[:, :, None] * depth[..., None]
    rgb, sigma = field(points.flatten(1, 2))
    weights = ray_weights(sigma.reshape(depth.shape), edges, directions.norm(dim=-1))
    return rgb.reshape(*depth.shape, 3), weights


def _refine(edges: Tensor, weights: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """`edges` [B,R,S+1] with `count` more where the `weights` [B,R,S] are large."""
    u = torch.linspace(0, 1, count + 2, device=edges.device)[1:-1].expand(*edges.shape[:2], -1)
    if generator is not None:
        u = torch.rand(*edges.shape[:2], count, generator=generator, device=edges.device).sort(dim=-1).values
    middles = -(edges[..., 1:] + edges[..., :-1]) / 2  # negated, since positions must increase
    more = -sample_importance(middles, weights, u)
    return torch.cat([edges, more], dim=-1).sort(dim=-1, descending=True).values
