"""Frames and units of other programs: where our cameras and depths stand in them. docs/exchange.md draws them.

Ours: world y up, front +z; camera x right, y up, looking along -z; pixel centres at integers; world units.
NeRF: world z up, front -y; the same camera; pixel centres at half-integers. BOP: world and models z up, millimetres;
camera x right, y down, looking along +z; pixel centres at integers.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.exchange.source import Floats, Mask

Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # our world -> theirs, a rotation
_TO_OPENCV = np.diag([1.0, -1.0, -1.0])  # camera axes, either way
_MOST = 65535


def nerf_pose(cam2world: Floats) -> Floats:
    """[4,4] camera to the z-up world, camera axes as they are."""
    matrix = np.eye(4)
    matrix[:3] = Z_UP @ cam2world[:3]
    return matrix


def nerf_intrinsics(matrix: Floats) -> tuple[float, float, float, float]:
    """fl_x, fl_y, cx, cy in pixels, where the first pixel reaches from 0 to 1."""
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2] + 0.5), float(matrix[1, 2] + 0.5)


def bop_pose(cam2world: Floats, millimetres: float) -> tuple[Floats, Floats]:
    """Rotation [3,3] and translation [3] in mm from the z-up world to the OpenCV camera; `millimetres` a world unit."""
    turn = _TO_OPENCV @ cam2world[:3, :3].T @ Z_UP.T
    return turn, -turn @ Z_UP @ cam2world[:3, 3] * millimetres


def depth_png(z_depth: Floats, steps: float) -> bytes:
    """16-bit PNG of z-depth in whole steps, `steps` a world unit; 0 where nothing was hit, or too far for 16 bits."""
    with np.errstate(invalid="ignore"):
        code = np.round(z_depth * steps)
    return png(np.where(np.isfinite(code) & (code <= _MOST), code, 0).astype(np.uint16))


def mask_png(mask: Mask) -> bytes:
    """8-bit PNG, 255 where the object is."""
    return png(np.where(mask, 255, 0).astype(np.uint8))


def png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bytes:
    """A PNG of grey or RGB pixels."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()
