"""Cameras for pictures and films: one camera [1] becomes a few views or a way around the object (3DGP, supplement).

Every function takes the camera to start from, usually `mean_camera`, and returns a batch. Angles in radians, fov in
degrees, both as in `cameras`. s runs from 0 to 1 over a way's frames, both ends included; N counts frames. Pitches
keep off the poles by POLE_MARGIN. Where nothing else is said the look-at point stays where it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gp3d_core.errors import GP3DError
from gp3d_core.rendering.cameras import PARAMETERS, POLE_MARGIN, Cameras

_YAWS = (-0.5, 0.0, 0.5)
_SIDE = 1.57  # a quarter turn, with the two decimals that the trajectories are published with
_MOST_FOV = 179.0


def point(camera: Cameras) -> Cameras:
    """The camera itself [1]."""
    return _moved(camera, 1)


def points(camera: Cameras) -> Cameras:
    """Three cameras [3]: the given one turned by yaws −0.5, 0 and 0.5."""
    return _moved(camera, len(_YAWS), yaw=torch.tensor(_YAWS))


def line(camera: Cameras, count: int) -> Cameras:
    """From one side to the other [N]: yaw offset −1.57 → 1.57, everything else constant."""
    return _moved(camera, count, yaw=_steps(count) * 2 * _SIDE - _SIDE)


def wiggle(camera: Cameras, count: int) -> Cameras:
    """From one side to the other [N], high and low: yaw offset −1.57 → 1.57, pitch π/2 + 0.5·cos(2πs), absolute."""
    s = _steps(count)
    pitch = math.pi / 2 + 0.5 * torch.cos(2 * math.pi * s) - camera.angles[0, 1].item()
    return _moved(camera, count, yaw=s * 2 * _SIDE - _SIDE, pitch=pitch)


def front_circle(camera: Cameras, count: int) -> Cameras:
    """A circle in front of the object [N], the last camera where the first is.

    Offsets: yaw 0.5·sin(2πs), pitch 0.3·cos(2πs), fov 1·sin(2πs) degrees; published with N = 64. Raises GP3DError
    where the fov would leave 0 to 179 degrees.
    """
    turn = 2 * math.pi * _steps(count)
    return _moved(camera, count, yaw=0.5 * torch.sin(turn), pitch=0.3 * torch.cos(turn), fov=torch.sin(turn))


def turntable(camera: Cameras, count: int) -> Cameras:
    """A full turn [N] at the camera's pitch, at yaw offsets 2πk/N, so that a film of it repeats without a jolt.

    The look-at point turns with the camera, as if the object turned on a table: what was in the middle stays there.
    """
    _check_count(count)
    turn = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    return _moved(camera, count, yaw=turn, look_at_yaw=turn)


def _steps(count: int) -> Tensor:
    """The N values of s, float64."""
    _check_count(count)
    return torch.linspace(0.0, 1.0, count, dtype=torch.float64)


def _check_count(count: int) -> None:
    if count < 2:
        raise GP3DError(f"a camera's way has at least 2 frames, found {count}")


def _moved(camera: Cameras, count: int, **offsets: Tensor) -> Cameras:
    """`count` copies of a camera [1] plus offsets [N] by parameter name."""
    if len(camera) != 1:
        raise ValueError(f"expected one camera to start from, got {len(camera)}")
    flat = camera.flat().double().repeat(count, 1)
    for name, offset in offsets.items():
        flat[:, PARAMETERS.index(name)] += offset.to(flat)
    pitch, fov = flat[:, PARAMETERS.index("pitch")], flat[:, PARAMETERS.index("fov")]
    pitch.clamp_(POLE_MARGIN, math.pi - POLE_MARGIN)
    if not bool(((fov > 0) & (fov <= _MOST_FOV)).all()):
        raise GP3DError(
            f"the way needs fovs above 0 and up to {_MOST_FOV:g} degrees, found {fov.min():.3g} to {fov.max():.3g}"
        )
    return Cameras.from_flat(flat.to(camera.fov.dtype))
