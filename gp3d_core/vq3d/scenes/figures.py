"""Pictures and films of scenes: colour, and beside it normalised disparity, light where near."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gp3d_core.signals import Progress, counted, no_progress
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, sheet
from gp3d_core.vq3d.rendering.depth import DepthSpace
from gp3d_core.vq3d.scenes.scenefile import Scene

YAWS = (-15.0, 0.0, 15.0)


def render_pair(
    scene: Scene, yaw: float = 0.0, pitch: float = 0.0, *, dolly: float = 1.0, resolution: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Colour and disparity uint8 [R,R,3] of `scene`, turned by `yaw` and `pitch` degrees."""
    view = scene.view(yaw, pitch, dolly=dolly, resolution=resolution)
    disparity = DepthSpace.of(scene.camera).normalise(view.disparity)
    return rgb_to_uint8(view.images)[0], depth_to_uint8(-disparity[:, None], -1.0, 0.0)[0]


def side_by_side(
    scene: Scene, yaw: float = 0.0, pitch: float = 0.0, *, dolly: float = 1.0, resolution: int | None = None
) -> NDArray[Any]:
    """Colour beside disparity, uint8 [R,2R,3]."""
    return np.concatenate(render_pair(scene, yaw, pitch, dolly=dolly, resolution=resolution), axis=1)


def to_picture(image: Tensor) -> NDArray[Any]:
    """Uint8 [R,R,3] of an image [3,R,R] in [-1, 1]."""
    return rgb_to_uint8(image[None])[0]


def columns(
    scenes: Sequence[Scene],
    inputs: Sequence[NDArray[Any]] | None = None,
    *,
    heads: Sequence[Sequence[str]] = (),
    resolution: int | None = None,
    tile: int = 128,
    progress: Progress = no_progress,
) -> Image.Image:
    """A sheet with one column a scene: its input, its views at three yaws, and its disparity.

    `heads` are lines of text above each column. `progress` hears of the stage views.
    """
    rows: list[tuple[str, list[NDArray[Any]]]] = [] if inputs is None else [("input", list(inputs))]
    wanted = [(scene, yaw) for yaw in (0.0, *(yaw for yaw in YAWS if yaw)) for scene in scenes]
    seen = [
        (yaw, render_pair(scene, yaw, resolution=resolution))
        for scene, yaw in counted(wanted, "views", progress)
    ]
    for yaw in dict.fromkeys(yaw for yaw, _ in seen):
        title = "as the input camera sees it" if yaw == 0.0 else f"turned by {yaw:+.0f} degrees"
        rows.append((title, [colour for turn, (colour, _) in seen if turn == yaw]))
        if yaw == 0.0:
            rows.append(("disparity", [disparity for turn, (_, disparity) in seen if turn == yaw]))
    return sheet(rows, tile=tile, heads=heads)


def orbit_frames(
    scene: Scene,
    *,
    yaw: float,
    pitch: float,
    count: int,
    resolution: int | None = None,
    progress: Progress = no_progress,
) -> Iterator[NDArray[Any]]:
    """`count` frames [R,2R,3] of a loop in front of the scene: yaw·sin and pitch·cos; colour beside disparity."""
    for k in counted(range(count), "frames", progress):
        turn = 2 * math.pi * k / count
        yield side_by_side(scene, yaw * math.sin(turn), pitch * math.cos(turn), resolution=resolution)


def still_frames(
    scenes: Sequence[Scene], *, resolution: int | None = None, progress: Progress = no_progress
) -> Iterator[NDArray[Any]]:
    """One frame [R,2R,3] a scene, from the input camera: colour beside disparity."""
    for scene in counted(scenes, "frames", progress):
        yield side_by_side(scene, resolution=resolution)
