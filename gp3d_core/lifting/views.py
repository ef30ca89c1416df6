"""Pictures of a relief from the camera that took the photograph, turned about the point on its axis at median depth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.lifting.relief import Relief
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import render_mesh
from gp3d_core.rendering.cameras import Cameras, cam2world
from gp3d_core.signals import Progress, counted, no_progress

GREY = 128  # where the relief shows nothing
USUAL_YAW, USUAL_PITCH = 15.0, 5.0  # degrees of a film, to either side


@dataclass(frozen=True, eq=False)
class ReliefView:
    """rgb uint8 [H,W,3], grey where nothing is, and mask bool [H,W] of what is the photograph, filled or nothing:
    seen and filled.
    """

    rgb: NDArray[Any]
    seen: NDArray[Any]
    filled: NDArray[Any]

    @property
    def holes(self) -> float:
        """Share of the view where nothing is."""
        return 1 - float((self.seen | self.filled).mean())


def view(relief: Relief, yaw: float = 0.0, pitch: float = 0.0, longer: int | None = None) -> ReliefView:
    """What is seen after moving the camera by `yaw` degrees around the relief, to its left, and `pitch` upwards.

    `longer` is the number of pixels of the longer side, None: as many as the photograph has.
    """
    longer = longer or max(relief.size)
    width, height = (max(2, round(side * longer / max(relief.size))) for side in relief.size)
    # the rasteriser's pictures are square; rows, or columns, are left out at both sides
    side = max(width, height)
    # where the photograph fills `longer` pixels, between outer edges, the angle between centres of `side` pixels
    half = math.tan(math.radians(relief.fov) / 2) * (side - 1) / longer
    angles = [[math.radians(yaw), math.pi / 2 - math.radians(pitch), 0.0]]
    camera = Cameras(
        torch.tensor(angles, dtype=torch.float64),
        torch.tensor([2 * math.degrees(math.atan(half))], dtype=torch.float64),
        torch.tensor([relief.distance], dtype=torch.float64),
        torch.tensor([[0.0, math.pi / 2, 0.0]], dtype=torch.float64),
    )
    top, left = (side - height) // 2, (side - width) // 2
    step = 2 * half / (side - 1)  # of a pixel, at distance 1
    offset = np.array([left - (side - width) / 2, (side - height) / 2 - top]) * step
    drawn = render_mesh(_moved(relief.seen, camera, offset), camera, side)
    rgb, depth, seen = drawn.rgb.copy(), drawn.depth, drawn.mask
    filled = np.zeros_like(seen)
    if relief.filled is not None:
        behind = render_mesh(_moved(relief.filled, camera, offset), camera, side)
        filled = behind.depth < depth
        rgb[filled] = behind.rgb[filled]
        seen = seen & ~filled
    rgb[~seen & ~filled] = GREY
    window = (slice(top, top + height), slice(left, left + width))
    return ReliefView(rgb[window], seen[window], filled[window])


def _moved(mesh: Mesh, camera: Cameras, offset: NDArray[Any]) -> Mesh:
    """The mesh sheared so that `camera` sees it `offset` (right, up) further in the plane at distance 1.

    Of an odd number of rows that are left out, half a row cannot be; the picture is moved by it instead.
    """
    if not offset.any():
        return mesh
    pose = cam2world(camera)[0].numpy()
    local = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]
    moved = mesh.vertices - (local[:, 2:] * offset) @ pose[:3, :2].T
    return replace(mesh, vertices=moved.astype(np.float32))


def swing_frames(
    relief: Relief,
    *,
    yaw: float = USUAL_YAW,
    pitch: float = USUAL_PITCH,
    count: int,
    longer: int,
    progress: Progress = no_progress,
) -> Iterator[NDArray[Any]]:
    """`count` frames uint8 [H,W,3] of a loop in front of the relief: yaw·sin and pitch·cos of a turn, degrees.

    `progress` hears of the stage frames.
    """
    small = shrunk(relief, longer)
    for k in counted(range(count), "frames", progress):
        turn = 2 * math.pi * k / count
        yield view(small, yaw * math.sin(turn), pitch * math.cos(turn), longer).rgb


def shrunk(relief: Relief, longer: int) -> Relief:
    """The relief with a photograph of `longer` pixels, if it has more: a picture that small shows no more of it."""
    texture = relief.seen.texture
    if texture is None or max(texture.shape[:2]) <= longer:
        return relief
    scale = longer / max(texture.shape[:2])
    size = (max(1, round(texture.shape[1] * scale)), max(1, round(texture.shape[0] * scale)))
    small = np.asarray(Image.fromarray(texture).resize(size, Image.Resampling.LANCZOS))
    return replace(relief, seen=replace(relief.seen, texture=small))
