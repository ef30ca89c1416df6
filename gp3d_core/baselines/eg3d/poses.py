"""Cameras as EG3D's networks are told them, and as its raw pictures need them.

The release's cameras look along +z with y down (OpenCV), ours along -z with y up, and its field of view spans the
edges of the outer pixels, ours their centres. So a picture of fewer pixels of the same view has another field of view
in our terms: tan(ours / 2) = tan(edges / 2) · (N - 1) / N for N pixels a side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gp3d_core.ops.constants import constant
from gp3d_core.rendering.cameras import Cameras, cam2world

POSE = 25  # numbers of a pose: cam2world and intrinsics, row by row


def edge_tangent(fov: Tensor, pixels: int) -> Tensor:
    """Tangent [B] of half the angle between the edges of the outer pixels, of `fov` [B] degrees between centres."""
    return torch.tan(torch.deg2rad(fov) / 2) * (pixels / (pixels - 1))


def with_pixels(cameras: Cameras, pixels: int, wanted: int) -> Cameras:
    """The cameras of pictures of `pixels`² as those of pictures of `wanted`² that show the same."""
    if pixels == wanted:
        return cameras
    tangent = edge_tangent(cameras.fov, pixels) * ((wanted - 1) / wanted)
    return replace(cameras, fov=torch.rad2deg(2 * torch.atan(tangent)))


def pose_vectors(cameras: Cameras, pixels: int) -> Tensor:
    """Poses [B,25] in the release's terms: cam2world [4,4] and intrinsics [3,3] in units of the picture's edge.

    `cameras` are those of pictures of `pixels`².
    """
    world = cam2world(cameras)
    world = world * constant((1.0, -1.0, -1.0, 1.0), world)  # columns: x stays, y and z change sign
    focal = 0.5 / edge_tangent(cameras.fov, pixels)
    zero, one, half = torch.zeros_like(focal), torch.ones_like(focal), torch.full_like(focal, 0.5)
    intrinsics = torch.stack([focal, zero, half, zero, focal, half, zero, zero, one], dim=1)
    return torch.cat([world.flatten(1), intrinsics], dim=1)
