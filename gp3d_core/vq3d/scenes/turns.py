"""How far the cameras of two pictures are turned about what both show, from the pictures alone.

Cameras stand equally far from the point on both their axes and equally high, turned by a yaw about the vertical
through it. So a yaw and an elevation say on which line of the other picture a pixel lies, wherever on its ray its
surface is, and only near the right ones are pixels that look the same on those lines. Depth is therefore no more than
what is tried out: a sweep of planes. Of cameras that look down, elevation matters: with one that is too small the best
yaw is too large.

Conventions. Pictures are [R,R,3] in [0, 1]; world and angles are those of `rendering.views`, with both cameras at
distance 1 of the origin: the scale of the scene does not matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from gp3d_core.vq3d.rendering.views import orbit

_NEAREST, _FARTHEST, _PLANES = 0.35, 6.0, 40  # distances of the cameras from the origin
_WINDOW = 9  # pixels a side of what is compared
_BLUR = 0.7  # pixels: deviation
_MOST = 40 / 255  # difference of a channel that counts at most, and outside the other picture
_SALIENT = 0.3  # of the pixels, those around which most changes: the others look like all their neighbours
_VISIBLE = 0.7  # of these, those that look most alike: the others the other camera may not see


def unlikeness(
    one: NDArray[Any], other: NDArray[Any], yaw: float, fov: float, elevation: float = 0.0
) -> float:
    """How unlike, in [0, 40/255], two pictures are at best if the camera of the `other` is turned by `yaw` degrees.

    `fov` is the field of view between the centres of the outer pixels, `elevation` how far both look down, in degrees.
    """
    one, other = (scipy.ndimage.gaussian_filter(picture, (_BLUR, _BLUR, 0)) for picture in (one, other))
    there, back = _between(yaw, elevation), _between(-yaw, elevation)
    return (_seen_by(one, other, there, fov) + _seen_by(other, one, back, fov)) / 2


def _between(yaw: float, elevation: float) -> NDArray[Any]:
    """From the axes of one camera to those of another [3,3] that is turned by `yaw`."""
    numbers = (torch.tensor([x], dtype=torch.float64) for x in (yaw, 0.0, 1.0, 1.0, elevation))
    turned: NDArray[Any] = orbit(*numbers)[0, :3, :3].numpy().T
    return turned


def _seen_by(one: NDArray[Any], other: NDArray[Any], turn: NDArray[Any], fov: float) -> float:
    """The same, of the pixels of `one` alone."""
    best = np.full(one.shape[:2], np.inf)
    for inverse in np.linspace(1 / _NEAREST, 1 / _FARTHEST, _PLANES):
        place, inside = _place(len(one), inverse, turn, fov)
        channels = [
            scipy.ndimage.map_coordinates(other[..., k], place, order=1, mode="nearest") - one[..., k]
            for k in range(3)
        ]
        off = np.where(inside, np.minimum(np.abs(channels).mean(axis=0), _MOST), _MOST)
        best = np.minimum(best, scipy.ndimage.uniform_filter(off, _WINDOW))
    found = np.sort(best[_salient(one)])
    return float(found[: max(1, round(_VISIBLE * len(found)))].mean())


def _place(size: int, inverse: float, turn: NDArray[Any], fov: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where pixels (row, column) at this inverse depth lie in the other picture [2,R,R], and whether within it."""
    reach = math.tan(math.radians(fov) / 2)
    line = np.linspace(-1, 1, size) * reach
    right, up = np.broadcast_to(line, (size, size)), np.broadcast_to(-line[:, None], (size, size))
    points = np.stack(
        [right / inverse, up / inverse, np.full((size, size), 1 - 1 / inverse)]
    )  # from the pivot
    across, above, back = np.tensordot(turn, points, 1)
    ahead = 1 - back
    safe = np.where(ahead > 1e-6, ahead, np.inf)
    place = (np.stack([-above / safe, across / safe]) / reach + 1) * (size - 1) / 2
    return place, (ahead > 1e-6) & (np.abs(place - (size - 1) / 2) <= (size - 1) / 2).all(axis=0)


def _salient(picture: NDArray[Any]) -> NDArray[Any]:
    """The pixels [R,R] around which brightness changes most."""
    slope = scipy.ndimage.uniform_filter(
        scipy.ndimage.gaussian_gradient_magnitude(picture.mean(axis=2), 1.0), _WINDOW
    )
    chosen: NDArray[Any] = slope >= np.quantile(slope, 1 - _SALIENT)
    return chosen
