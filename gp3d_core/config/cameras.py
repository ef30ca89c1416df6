"""The camera groups that presets choose from: distributions of cameras, and the part of space that they see."""

from __future__ import annotations

import math
from dataclasses import replace

from gp3d_core.config.schema import CameraConfig, CameraGeneratorConfig, Prior


def _cameras(
    *, fov: Prior, yaw: Prior, pitch: Prior, radius: float = 1.0, look_at_max: float = 0.0, **space: float
) -> CameraConfig:
    """Camera prior whose look-at point is uniform in a ball of radius `look_at_max` around the origin."""
    return CameraConfig(
        fov=fov,
        yaw=yaw,
        pitch=pitch,
        radius=Prior(kind="constant", mean=radius, low=radius, high=radius),
        look_at_yaw=Prior(kind="uniform", low=-math.pi, high=math.pi),
        look_at_pitch=Prior(kind="spherical_uniform", low=0.0, high=math.pi),
        look_at_radius=Prior(kind="uniform", low=0.0, high=look_at_max),
        **space,
    )


def _fov(degrees: float) -> Prior:
    return Prior(kind="constant", mean=degrees, low=10.0, high=45.0)


_YAW = {"low": -math.pi / 2, "high": math.pi / 2}
_PITCH = {"low": math.pi / 8, "high": 7 * math.pi / 8}

CAMERAS = {
    "uniform": _cameras(
        fov=Prior(kind="uniform", low=10.0, high=45.0),
        yaw=Prior(kind="uniform", low=-1.57, high=1.57),
        pitch=Prior(kind="uniform", low=math.pi / 4, high=3 * math.pi / 4),
        look_at_max=0.2,
    ),
    "shapenet": _cameras(
        fov=_fov(40.0),
        yaw=Prior(kind="normal", mean=0.0, std=math.pi / 8, **_YAW),
        pitch=Prior(kind="normal", mean=math.pi / 2, std=math.pi / 8, **_PITCH),
        radius=2.0,
        t_near=1.45,
        t_far=2.55,
        box=1.2,
    ),
    "epigraf": _cameras(
        fov=_fov(12.0),
        yaw=Prior(kind="normal", mean=0.0, std=0.6, **_YAW),
        pitch=Prior(kind="normal", mean=1.57, std=0.3, **_PITCH),
        t_near=0.88,
        t_far=1.12,
        box=0.2,
    ),
    "static": _cameras(
        fov=_fov(12.0),
        yaw=Prior(kind="constant", mean=0.0, **_YAW),
        pitch=Prior(kind="constant", mean=1.57, **_PITCH),
        t_near=0.8,
        t_far=1.2,
        box=0.257,
    ),
}

SPREADS = {"default": (0.3, 0.155), "wide": (0.6, 0.3)}  # of yaw and pitch: deviations in radians


def photograph_cameras(spread: str) -> CameraConfig:
    """Cameras in front of photographs whose angles nobody knows, with one of SPREADS."""
    camera, (yaw, pitch) = CAMERAS["epigraf"], SPREADS[spread]
    level = replace(camera.pitch, mean=math.pi / 2, std=pitch)
    return replace(camera, yaw=replace(camera.yaw, std=yaw), pitch=level)


KNOWN_CAMERAS = CameraGeneratorConfig(
    adjust=(), regulariser="none", force_mean_weight=0.0
)  # nothing is adjusted
