"""Cameras: where a view is taken from, drawn by seed; and the pinhole that takes it.

World frame: right-handed, y up, the object's front looks along +z. A camera at (yaw, pitch, radius) sits at
radius * (-sin pitch sin yaw, cos pitch, sin pitch cos yaw) and looks at the origin: yaw 0, pitch pi/2 sees the
front, and positive yaw moves the camera towards -x. Camera frame: x right, y up, looking along -z (OpenGL).
Pixels: centres at integers, row 0 on top; the field of view spans from the first to the last pixel *centre*.
Angles in radians, `fov` in degrees, distances in world units.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_POLE = 1e-5  # pitch keeps this distance from the poles, where "up" is undefined
_PLASTIC = 1.324717957244746  # 1/it and 1/it^2 are the steps of the evenest sequence in the unit square


@dataclass(frozen=True, kw_only=True)
class ViewDistribution:
    """Distribution of viewpoints; the defaults are the protocol of the 3DGP paper for ShapeNet.

    `kind` "normal": `yaw` and `pitch` are (mean, standard deviation) of normal distributions. "turntable": view k
    stands `k / turn` of a circle past the mean yaw, at the mean pitch, the deviations shaking it. "sphere": uniform on
    the sphere, and as even as any number of views can be; yaw and pitch do not count. Depth is coded between `t_near`
    and `t_far`. Raises ValueError where a number makes no camera.
    """

    kind: Literal["normal", "turntable", "sphere"] = "normal"
    yaw: tuple[float, float] = (0.0, math.pi / 8)
    pitch: tuple[float, float] = (math.pi / 2, math.pi / 8)
    turn: int = 24
    radius: float = 2.0
    fov: float = 40.0
    t_near: float = 1.45
    t_far: float = 2.55

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        numbers = (*self.yaw, *self.pitch, self.radius, self.fov, self.t_near, self.t_far)
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError("every camera number must be finite")
        if self.kind not in ("normal", "turntable", "sphere") or self.turn < 1:
            raise ValueError(
                f"expected normal, turntable or sphere and a turn of 1 or more views, "
                f"found {self.kind} and {self.turn}"
            )
        if self.yaw[1] < 0 or self.pitch[1] < 0:
            raise ValueError(f"deviations must not be negative, found {self.yaw[1]} and {self.pitch[1]}")
        Viewpoint(yaw=self.yaw[0], pitch=self.pitch[0], radius=self.radius, fov=self.fov)
        if not 0 < self.t_near < self.t_far:
            raise ValueError(f"expected 0 < near < far, found {self.t_near} and {self.t_far}")


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """One camera on its sphere, looking at the origin without roll. Raises ValueError where it sees nothing."""

    yaw: float
    pitch: float
    radius: float = 2.0
    fov: float = 40.0

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not 0 < self.pitch < math.pi:
            raise ValueError(f"the pitch must lie between 0 and pi, where up is known; found {self.pitch}")
        if not 0 < self.fov < 180:
            raise ValueError(f"the field of view must lie between 0 and 180 degrees, found {self.fov}")
        if self.radius <= 0:
            raise ValueError(f"the radius must be positive, found {self.radius}")

    @property
    def look_at(self) -> tuple[float, float, float]:
        """The origin as (yaw, pitch, radius), the way cameras with other targets would write it."""
        return (0.0, math.pi / 2, 0.0)

    @cached_property
    def _cam2world(self) -> Array:
        origin = self.radius * np.array(
            [
                -math.sin(self.pitch) * math.sin(self.yaw),
                math.cos(self.pitch),
                math.sin(self.pitch) * math.cos(self.yaw),
            ]
        )
        backward = origin / np.linalg.norm(origin)
        right = np.cross([0.0, 1.0, 0.0], backward)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3] = np.stack([right, np.cross(backward, right), backward, origin], axis=1)
        return matrix

    def cam2world(self) -> Array:
        """[4,4] matrix from camera to world coordinates (3DGP §3.2: look-at with y up), the caller's own."""
        return self._cam2world.copy()


def sample_viewpoint(distribution: ViewDistribution, seed: int, model: str, view: int) -> Viewpoint:
    """The viewpoint of one view: a function of (seed, model, view) alone, whatever the order of work."""
    if distribution.kind == "sphere":
        yaw, pitch = _on_sphere(seed, model, view)
    else:
        normal = [NormalDist().inv_cdf(share) for share in pick_shares(f"{seed} {model} {view}")]
        yaw = distribution.yaw[0] + distribution.yaw[1] * normal[0]
        pitch = distribution.pitch[0] + distribution.pitch[1] * normal[1]
        if distribution.kind == "turntable":
            yaw += 2 * math.pi * view / distribution.turn
    pitch = min(max(pitch, _POLE), math.pi - _POLE)
    return Viewpoint(yaw=yaw, pitch=pitch, radius=distribution.radius, fov=distribution.fov)


def _on_sphere(seed: int, model: str, view: int) -> tuple[float, float]:
    """Yaw in [-pi, pi) and pitch: a sequence of even steps over the square, begun anywhere, bent to the sphere."""
    start = pick_shares(f"{seed} {model} sphere")
    around, down = (
        (share + view / _PLASTIC**power) % 1.0 for power, share in zip((1, 2), start, strict=True)
    )
    return 2 * math.pi * (around - 0.5), math.acos(1 - 2 * down)


def room_colours(seed: int, model: str) -> list[tuple[float, float, float]]:
    """Colours of the ground and the walls of a model's room, light in [0, 1]; a function of (seed, model) alone."""
    colours = []
    for part, strength, value in (("ground", 0.4, 0.5), ("walls", 0.35, 0.7)):
        hue, shade = pick_shares(f"{seed} {model} {part}")
        colours.append(colorsys.hsv_to_rgb(hue, strength * shade, value * (0.5 + 0.5 * shade)))
    return colours


def pick_shares(text: str) -> tuple[float, float]:
    """Two independent numbers between 0 and 1, decided by the text."""
    digest = hashlib.sha256(text.encode()).digest()
    first, second = ((int.from_bytes(digest[i : i + 6], "big") + 0.5) / 2**48 for i in (0, 8))
    return first, second


def intrinsics(fov: float, resolution: int) -> Array:
    """[3,3] pinhole matrix of a square image with pixel centres at integers (x right, y down, z forward)."""
    centre = (resolution - 1) / 2
    focal = centre / math.tan(math.radians(fov) / 2)
    return np.array([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])


_NEAREST = 1e-3  # to the camera's plane: what is nearer may be anywhere in the picture


def covered_pixels(
    viewpoint: Viewpoint, points: Array, resolution: int, reach: float = 0.5
) -> tuple[int, int, int, int]:
    """The first column and row, and the first column and row beyond, of the box around `points` [N,3] in the picture.

    A pixel belongs to it that reaches into it, `reach` pixels from its centre. It is cut at the picture's border, and
    empty where the points lie beside the picture. All of the picture where one of them lies beside or behind the
    camera.
    """
    camera, matrix = viewpoint.cam2world(), intrinsics(viewpoint.fov, resolution)
    right, up, backward = np.ascontiguousarray(((points - camera[:3, 3]) @ camera[:3, :3]).T)
    if not (backward < -_NEAREST).all():
        return 0, 0, resolution, resolution
    places = np.stack([right, -up]) / -backward * matrix[0, 0] + matrix[0, 2]
    low = np.clip(np.ceil(places.min(axis=1) - reach), 0, resolution)  # a pixel's centre is at an integer
    high = np.clip(np.floor(places.max(axis=1) + reach) + 1, 0, resolution)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def ray_lengths(matrix: Array, resolution: int) -> Array:
    """[resolution, resolution] Euclidean length of every pixel's ray per unit of z-depth."""
    pixels = np.arange(resolution)
    x = (pixels - matrix[0, 2]) / matrix[0, 0]
    y = (pixels - matrix[1, 2]) / matrix[1, 1]
    return np.asarray(np.sqrt(x[None, :] ** 2 + y[:, None] ** 2 + 1.0))
