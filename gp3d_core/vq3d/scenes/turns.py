"""How far the cameras of two pictures are turned about what both show, from the pictures alone.

Cameras stand equally far from the point on both their axes, turned by a yaw about the vertical through it. So a yaw
says on which line of the other picture a pixel lies, wherever on its ray its surface is, and only near the right one
are pixels that look the same on those lines. Depth is therefore no more than what is tried out: a sweep of planes.

Conventions. Pictures are [R,R,3] in [0, 1]; world and angles are those of `rendering.views`, with both cameras at
distance 1 of the origin: the scale of the scene does not matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_NEAREST, _FARTHEST, _PLANES = 0.35, 6.0, 40  # distances of the cameras from the origin
_WINDOW = 9  # pixels a side of what is compared
_BLUR = 0.7  # pixels: deviation
_MOST = 40 / 255  # difference of a channel that counts at most, and outside the other picture
_SALIENT = 0.3  # of the pixels, those around which most changes: the others look like all their neighbours
_VISIBLE = 0.7  # of these, those that look most alike: the others the other camera may not see


def unlikeness(one: NDArray[Any], other: NDArray[Any], yaw: float, fov: float) -> float:
    """How unlike, in [0, 40/255], two pictures are at best if the camera of the `other` is turned by `yaw` degrees.

    `fov` is the field of view between the centres of the outer pixels, in degrees.
    """
    one, other = (ndimage.gaussian_filter(picture, (_BLUR, _BLUR, 0)) for picture in (one, other))
    return (_seen_by(one, other, yaw, fov) + _seen_by(other, one, -yaw, fov)) / 2


def _seen_by(one: NDArray[Any], other: NDArray[Any], yaw: float, fov: float) -> float:
    """The same, of the pixels of `one` alone."""
    best = np.full(one.shape[:2], np.inf)
    for inverse in np.linspace(1 / _NEAREST, 1 / _FARTHEST, _PLANES):
        place, inside = _place(len(one), inverse, yaw, fov)
        channels = [
            ndimage.map_coordinates(other[..., k], place, order=1, mode="nearest") - one[..., k]
            for k in range(3)
        ]
        off = np.where(inside, np.minimum(np.abs(channels).mean(axis=0), _MOST), _MOST)
        best = np.minimum(best, ndimage.uniform_filter(off, _WINDOW))
    found = np.sort(best[_salient(one)])
    return float(found[: max(1, round(_VISIBLE * len(found)))].mean())


def _place(size: int, inverse: float, yaw: float, fov: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where pixels (row, column) at this inverse depth lie in the other picture [2,R,R], and whether within it."""
    reach, turn = math.tan(math.radians(fov) / 2), math.radians(yaw)
    line = np.linspace(-1, 1, size) * reach
    right, up, back = np.broadcast_to(line, (size, size)), -line[:, None], -1.0
    x, y, z = right / inverse, up / inverse, 1 + back / inverse  # in the world, whose origin is the pivot
    across = math.cos(turn) * x + math.sin(turn) * z
    ahead = 1 + math.sin(turn) * x - math.cos(turn) * z
    safe = np.where(ahead > 1e-6, ahead, np.inf)
    place = (np.stack([-y / safe, across / safe]) / reach + 1) * (size - 1) / 2
    return place, (ahead > 1e-6) & (np.abs(place - (size - 1) / 2) <= (size - 1) / 2).all(axis=0)


def _salient(picture: NDArray[Any]) -> NDArray[Any]:
    """The pixels [R,R] around which brightness changes most."""
    slope = ndimage.uniform_filter(ndimage.gaussian_gradient_magnitude(picture.mean(axis=2), 1.0), _WINDOW)
    chosen: NDArray[Any] = slope >= np.quantile(slope, 1 - _SALIENT)
    return chosen
