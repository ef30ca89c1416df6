"""Ball-in-sphere cameras: their record, their prior, their pose and their rays (3DGP §3.2).

World: right-handed, y up, an object's front looks along +z. A point at (yaw ψ, pitch θ, radius r) is
    P = r · (−sin θ sin ψ, cos θ, sin θ cos ψ)
so yaw 0 and pitch π/2 is in front of the object, and growing yaw moves towards −x. The camera sits on a sphere around
the origin and looks at a point in a ball around the origin, upright. Camera frame: x right, y up, looking along −z.
Units: angles in radians, pitch from the +y pole; fov in degrees, between the *centres* of the first and the last
pixel. Rays have unit directions, so a distance along them is Euclidean. docs/conventions.md draws all of this.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from gp3d_core.config.schema import CameraConfig, Prior
from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.constants import constant
from gp3d_core.rendering.patches import Patches, full_patch, image_plane

POLE_MARGIN = 1e-5  # pitch keeps this distance from 0 and π
VERTICAL = 1e-6  # a view whose horizontal part is shorter counts as vertical
PARAMETERS = ("yaw", "pitch", "roll", "fov", "radius", "look_at_yaw", "look_at_pitch", "look_at_radius")


@dataclass(frozen=True, eq=False)
class Cameras:
    """A batch of cameras: angles [B,3] (yaw, pitch, roll), fov [B], radius [B], look_at [B,3] (yaw, pitch, radius).

    Roll is carried for the flat 8-vector's sake and never turns the image. Raises ValueError on other shapes.
    """

    angles: torch.Tensor
    fov: torch.Tensor
    radius: torch.Tensor
    look_at: torch.Tensor

    def __post_init__(self) -> None:
        """Check the shapes."""
        sizes = check_shape("angles", self.angles, "B 3")
        check_shape("fov", self.fov, "B", sizes)
        check_shape("radius", self.radius, "B", sizes)
        check_shape("look_at", self.look_at, "B 3", sizes)

    def __len__(self) -> int:
        """Number of cameras B."""
        return len(self.fov)

    def __getitem__(self, index: int | slice | torch.Tensor) -> Cameras:
        """The selected cameras; an integer gives a batch of one."""
        if isinstance(index, int):
            index = slice(index, index + 1 or None)
        return Cameras(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Cameras:
        """The same cameras on a device and in a floating-point type."""
        return Cameras(*(getattr(self, field.name).to(device, dtype) for field in dataclasses.fields(self)))

    def flat(self) -> torch.Tensor:
        """The 8-vectors [B,8] in the order of PARAMETERS."""
        return torch.cat([self.angles, self.fov[:, None], self.radius[:, None], self.look_at], dim=1)

    @staticmethod
    def from_flat(flat: torch.Tensor) -> Cameras:
        """Cameras of 8-vectors [B,8] in the order of PARAMETERS."""
        check_shape("flat", flat, "B 8")
        return Cameras(flat[:, :3], flat[:, 3], flat[:, 4], flat[:, 5:])

    @staticmethod
    def cat(batches: Sequence[Cameras]) -> Cameras:
        """One batch made of several."""
        return Cameras.from_flat(torch.cat([cameras.flat() for cameras in batches]))


def spherical_to_cartesian(yaw: torch.Tensor, pitch: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """World points [...,3] at angles and distances of any common shape."""
    x, y, z = -torch.sin(pitch) * torch.sin(yaw), torch.cos(pitch), torch.sin(pitch) * torch.cos(yaw)
    return torch.stack([x, y, z], dim=-1) * radius.unsqueeze(-1)


def cam2world(cameras: Cameras) -> torch.Tensor:
    """Poses [B,4,4]: columns right, up, backward and position of each camera in the world.

    A camera that looks straight up or down takes its right-hand side from its yaw, which is the limit of tilting it
    there; so poses and their gradients stay finite at the poles.
    """
    yaw, pitch, _ = cameras.angles.unbind(dim=-1)
    origin = spherical_to_cartesian(yaw, pitch, cameras.radius)
    forward = _unit(spherical_to_cartesian(*cameras.look_at.unbind(dim=-1)) - origin)
    right = torch.stack([-forward[:, 2], torch.zeros_like(yaw), forward[:, 0]], dim=-1)
    at_pole = torch.stack([torch.cos(yaw), torch.zeros_like(yaw), torch.sin(yaw)], dim=-1)
    vertical = right.detach().norm(dim=-1, keepdim=True) < VERTICAL
    right = _unit(torch.where(vertical, at_pole, right))
    up = _unit(torch.linalg.cross(right, forward))
    top = torch.stack([right, up, -forward, origin], dim=-1)
    bottom = constant((0.0, 0.0, 0.0, 1.0), top).expand(len(cameras), 1, 4)
    return torch.cat([top, bottom], dim=1)


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def sample_rays(
    cameras: Cameras, resolution: int, patches: Patches | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and unit directions, both [B,h²,3], of the h² pixels of a patch (None: the whole image), top row first.

    Differentiable in every camera parameter. Raises ValueError when there is not one patch per camera.
    """
    patches = full_patch(len(cameras), cameras.fov.device) if patches is None else patches
    if len(patches) != len(cameras):
        raise ValueError(f"expected one patch per camera ({len(cameras)}), got {len(patches)}")
    plane = image_plane(resolution, patches.to(dtype=cameras.fov.dtype)).flatten(1, 2)  # [B,h²,2]
    z = -1.0 / torch.tan(torch.deg2rad(cameras.fov) / 2)
    in_camera = _unit(torch.cat([plane, z[:, None, None].expand(-1, plane.shape[1], 1)], dim=-1))
    pose = cam2world(cameras)
    rays_d = in_camera @ pose[:, :3, :3].transpose(1, 2)
    return pose[:, None, :3, 3].expand_as(rays_d), rays_d


def sample_cameras(config: CameraConfig, batch: int, generator: torch.Generator) -> Cameras:
    """Cameras drawn from the prior, float32, on the generator's device, all randomness from `generator`.

    Custom angles, which only the data set knows, are at their mean here.

    Pitches keep a small distance from the poles; roll is 0.
    """
    drawn = {name: _sample(prior, batch, generator) for name, prior in _priors(config).items()}
    for name in ("pitch", "look_at_pitch"):
        drawn[name] = drawn[name].clamp(POLE_MARGIN, math.pi - POLE_MARGIN)
    drawn["roll"] = torch.zeros_like(drawn["yaw"])
    return Cameras.from_flat(torch.stack([drawn[name] for name in PARAMETERS], dim=1).float())


def mean_camera(config: CameraConfig) -> Cameras:
    """The camera [1] at the mean of every prior; its look-at point is the mean of the *spherical* parameters."""
    return Cameras.from_flat(torch.tensor([mean_parameters(config)]))


def mean_parameters(config: CameraConfig) -> list[float]:
    """The mean of every prior, in the order of PARAMETERS."""
    means = {name: _mean(prior) for name, prior in _priors(config).items()} | {"roll": 0.0}
    return [means[name] for name in PARAMETERS]


def turn_camera(camera: Cameras, yaw: float, count: int = 1) -> Cameras:
    """`count` copies of one camera [1], moved around the object by `yaw` radians."""
    flat = camera.flat().repeat(count, 1)
    flat[:, PARAMETERS.index("yaw")] += yaw
    return Cameras.from_flat(flat)


def _priors(config: CameraConfig) -> dict[str, Prior]:
    """Priors by parameter, in the order they are drawn."""
    return {name: getattr(config, name) for name in PARAMETERS if name != "roll"}


def _mean(prior: Prior) -> float:
    return (
        prior.mean
        if prior.kind in ("constant", "normal", "hybrid", "custom")
        else (prior.low + prior.high) / 2
    )


def _sample(prior: Prior, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Draws [batch], each the inverse distribution function at a uniform number; float64, for the tails' sake."""
    u = torch.rand(batch, generator=generator, device=generator.device, dtype=torch.float64)
    centre, length = _mean(prior), prior.high - prior.low
    if prior.kind in ("constant", "custom"):
        return torch.full_like(u, centre)
    if prior.kind == "uniform":
        return prior.low + length * u
    if prior.kind == "spherical_uniform":
        height = ((u - 0.5) * length + centre) / math.pi
        return torch.arccos(1.0 - 2.0 * height.clamp(1e-5, 1.0 - 1e-5))
    if prior.kind == "truncnorm":
        tail = torch.special.ndtr(torch.full_like(u, -length / 2 / prior.std))
        return (centre + prior.std * torch.special.ndtri(tail + u * (1.0 - 2.0 * tail))).clamp(
            prior.low, prior.high
        )
    normal = centre + prior.std * torch.special.ndtri(u.clamp(min=1e-16))
    if prior.kind == "hybrid":
        coin = torch.rand(1, generator=generator, device=generator.device)
        return torch.where(coin < 0.5, centre + prior.std * 4.0 * (u - 0.5), normal)
    return normal


def normalise_cameras(cameras: Cameras, config: CameraConfig) -> Cameras:
    """Cameras as the camera generator reads them: every parameter mapped from [low, high] of its prior to [0, 1].

    Roll and radius pass unchanged. A parameter whose range is a point becomes 0, with derivative 0.
    """
    # The release divides by span + 1e-8 instead. A pole that was clamped to 1e-5 is then read as 1000, which drives
    # the sigmoid of every other parameter to one end for all cameras, where nothing can be learnt any more.
    flat = cameras.flat()
    low, span = (constant(values, flat) for values in _ranges(config))
    scale = torch.where(span > 0, 1.0 / span.clamp(min=1e-30), 0.0)
    return _keeping((flat - low) * scale, roll=cameras.angles[:, 2], radius=cameras.radius)


def denormalise_cameras(
    raw: Cameras, config: CameraConfig, *, look_at_low: Literal["radius", "pitch"] = "radius"
) -> Cameras:
    """Cameras from what the camera generator writes: sigmoid(raw) stretched over [low, high] of each prior.

    Pitches end a small distance inside their range, if it is more than a point; roll becomes 0, radius passes
    unchanged. `look_at_low="pitch"` starts the look-at radius at the look-at pitch's minimum, as the release does.
    """
    flat = raw.flat()
    lowest, spans = _ranges(config)
    if look_at_low == "pitch":
        lowest[7], spans[7] = lowest[6], config.look_at_radius.high - lowest[6]
    low, span = constant(lowest, flat), constant(spans, flat)
    margins = [POLE_MARGIN if "pitch" in name else 0.0 for name in PARAMETERS]
    margin = constant([min(m, s / 2) for m, s in zip(margins, spans, strict=True)], flat)
    physical = torch.sigmoid(flat) * (span - 2.0 * margin) + low + margin
    return _keeping(physical, roll=torch.zeros_like(raw.radius), radius=raw.radius)


def _ranges(config: CameraConfig) -> tuple[list[float], list[float]]:
    """Lowest values [8] and spans [8] of the parameters; roll's are 0."""
    priors = {"roll": Prior(kind="constant", low=0.0, high=0.0)} | _priors(config)
    low = [priors[name].low for name in PARAMETERS]
    return low, [priors[name].high - priors[name].low for name in PARAMETERS]


def _keeping(flat: torch.Tensor, *, roll: torch.Tensor, radius: torch.Tensor) -> Cameras:
    """Cameras of [B,8] with two parameters replaced."""
    cameras = Cameras.from_flat(flat)
    angles = torch.cat([cameras.angles[:, :2], roll[:, None]], dim=1)
    return dataclasses.replace(cameras, angles=angles, radius=radius)
