"""The pixels that an object covers, and what is around it. Maps [h,h] are inverse depths, or masks from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from gp3d_core.vq3d.scenes.composition import LiftedMask, RegionError

_BINS = 64
_MIDDLE = (0.25, 0.25, 0.75, 0.75)
_FOOT = 0.4  # of Otsu's threshold: an object reaches down to this, where it comes near the ground that it stands on
_LEVEL = 100.0  # how much more a filled pixel takes after its row than after its column
_INTO = 0.12  # share of the nearness of what is around an object that goes with it: the object's colour is on that, too
_SOME = 0.1  # of a mask, below it is the noise of a compressed picture
_DEEP = 0.65  # of the way from an object to what is behind it, each way from its middle: all of it and some air before
_SHARP = 0.1  # of the depth of a hole, over which it fades out: about one sample of a ray


def nearest_in(inverse: Tensor, rectangle: Sequence[float]) -> Tensor:
    """A mask of what is near within a rectangle of a view with surface `inverse`.

    `rectangle`: left, top, right, bottom as shares of the picture. Near is above Otsu's threshold of inverse depth
    within it. Raises RegionError for a rectangle that holds no pixel.
    """
    inside = _within(len(inverse), rectangle).to(inverse.device)
    return (inside & (inverse >= _otsu(inverse[inside]))).float()


def subject_depth(inverse: Tensor) -> float:
    """The depth to turn about: the median of what is near in the middle of a view, however thin it is."""
    return 1 / float(inverse[nearest_in(inverse, _MIDDLE) > 0].median())


def outstanding_in(inverse: Tensor, rectangle: Sequence[float]) -> Tensor:
    """A mask of what stands out within a rectangle: nearer than what is around the rectangle would be there.

    So the ground before an object is no part of it. What is above Otsu's threshold is, and what hangs together with it
    and is above a part of that. Of the whole picture the outermost pixels are what is around. Raises RegionError for a
    rectangle that holds no pixel.
    """
    inside = _within(len(inverse), rectangle).to(inverse.device)
    if inside.all():
        inside[[0, -1]] = inside[:, [0, -1]] = False
    ahead = inverse - surroundings(inverse, inside)
    border = _otsu(ahead[inside])
    pieces, _ = scipy.ndimage.label((inside & (ahead >= min(border, _FOOT * border))).cpu().numpy())
    sure = (inside & (ahead >= border)).cpu().numpy()
    kept = np.isin(pieces, np.setdiff1d(pieces[sure], 0))
    return torch.from_numpy(kept).to(inverse)


def surroundings(inverse: Tensor, hole: Tensor) -> Tensor:
    """`inverse` with what is in the `hole` (truth values) filled smoothly from around it; the farthest if all is hole.

    Inverse depth of a plane is linear in the picture, so that a wall comes back as it was. Ground rises evenly from the
    bottom, and is level where the camera is: rows count more than columns.
    """
    values, size, missing = inverse.double().cpu().numpy().ravel(), len(inverse), hole.cpu().numpy().ravel()
    if missing.all():
        return torch.full_like(inverse, float(inverse.min()))
    from scipy import sparse  # slow to import
    from scipy.sparse.linalg import spsolve

    steps = sparse.diags([-1.0, 1.0], [0, 1], shape=(size - 1, size))
    bending, same = steps.T @ steps, sparse.identity(size)
    system = (_LEVEL * sparse.kron(same, bending) + sparse.kron(bending, same)).tocsr()[missing]
    filled = values.copy()
    if missing.any():
        filled[missing] = spsolve(system[:, missing].tocsc(), -(system[:, ~missing] @ values[~missing]))
    return torch.from_numpy(filled.reshape(size, size)).to(inverse)


def hole_of(obj: LiftedMask) -> LiftedMask:
    """What has to go so that nothing of `obj` is left: a pixel more on every side, and all before its surroundings.

    The object's own reach does not matter here: what is inside it and behind its visible surface goes as well.
    """
    mask = _grown(obj.mask)
    around = surroundings(obj.inverse, _grown(mask) > _SOME)
    behind = torch.minimum(around, obj.inverse) * (1 - _INTO)
    tolerance = float(((obj.inverse - behind) * (mask > _SOME)).max()) * _DEEP
    return LiftedMask(mask, behind + tolerance, obj.reach, tolerance, _SHARP)


def _grown(mask: Tensor) -> Tensor:
    """The mask, a pixel larger on every side."""
    return max_pool2d(mask[None, None], 3, stride=1, padding=1)[0, 0]


def outline_distance(mask: Tensor) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """A function of points [N,3] of the cube that says how far inside the outline of `mask` [h,h] they are seen.

    Positive under the mask, in units of the cube, and never more than the true distance; None where the mask covers
    all. Raises RegionError for a mask without a pixel from one half on.
    """
    inside = mask.cpu().numpy() >= 0.5
    if not inside.any():
        raise RegionError("the mask shows no subject: nothing in it is above one half")
    if inside.all():
        return None
    pixels = scipy.ndimage.distance_transform_edt(inside) - scipy.ndimage.distance_transform_edt(~inside)
    pixels -= np.sign(pixels) / 2  # the outline lies midway between two pixels
    last = len(inside) - 1
    distance = pixels * (2 / last) / math.sqrt(2)  # bilinear between the pixels it may grow so much faster

    def inwards(points: NDArray[Any]) -> NDArray[Any]:
        places = [(1 - points[:, 1]) * (last / 2), (points[:, 0] + 1) * (last / 2)]  # row 0 is on top
        return scipy.ndimage.map_coordinates(distance, places, order=1, mode="nearest")

    return inwards


def _within(size: int, rectangle: Sequence[float]) -> Tensor:
    left, top, right, bottom = (round(edge * (size - 1)) for edge in rectangle)
    if not (0 <= left < right < size and 0 <= top < bottom < size):
        edges = ", ".join(f"{edge:g}" for edge in rectangle)
        raise RegionError(
            f"expected left, top, right, bottom as shares of the picture, 0 to 1 and growing, found {edges}"
        )
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[top : bottom + 1, left : right + 1] = True
    return inside


def _otsu(values: Tensor) -> float:
    """The split of `values` with the largest variance between its two sides."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    counts = torch.histc(values.float(), _BINS, low, high).double()
    centres = low + (torch.arange(_BINS) + 0.5).to(counts) * ((high - low) / _BINS)
    below, mass = counts.cumsum(0), (counts * centres).cumsum(0)
    above = below[-1] - below
    gap = mass / below.clamp(min=1) - (mass[-1] - mass) / above.clamp(min=1)
    return low + (int((below * above * gap.square()).argmax()) + 1) * (high - low) / _BINS
