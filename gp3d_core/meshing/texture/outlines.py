"""What a photograph shows beside the outlines of what is near.

A model's outlines are less exact than a photograph's. So of the pixels on the far side of an edge of depth some show
what is near: its colours would land on what lies behind. Which ones those are, the photograph's colours tell: colours
of either side, a little away from the edge, are a normal distribution each, and a pixel is of the near side as far as
that explains its colour better. What both explain alike does no harm on either.

Conventions. Maps are square, S pixels a side. An outline is so many of them wide as it may be wrong by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

# outlines from an edge, on its far side: where colours do not tell, nothing is taken up to the first, all from the
# second on
_BESIDE = (1.0, 2.0)
_SURE = 1.0  # outlines from an edge, from which on its near side shows nothing but what is near
_AROUND = 6.0  # outlines from an edge, up to which colours of a side are of what is beside it
_UNSURE = 1e-3  # weight of pixels that may be of the other side, among those that say what colours a side has
_WIDE = 8.0  # outlines: side of the squares over which colours are gathered, twice
_FINE = 0.25  # outlines: deviation of the blur of what is told pixel by pixel
_MIXED = 0.5  # outlines beside what is near that mix its colours with others
_LEVELS = 8.0  # of 255: deviation that every colour has at least
_MOST = 3.0  # the most that a single pixel's colour says, logarithm of odds
# logarithm of odds that a pixel shows what is near: up to the first it is taken, from the second on it is not
_NEAR = (0.0, 1.5)


@dataclass(frozen=True, eq=False)
class Edges:
    """Of each pixel of a map the `distance` [S,S] from the nearest edge, in outlines, and whether it is `beyond` that.

    An edge is the far side of a step of depth. `near` [S,S]: pixels in front of the nearest edge.
    """

    distance: NDArray[Any]
    beyond: NDArray[Any]
    near: NDArray[Any]

    @classmethod
    def of(cls, inverse: NDArray[Any], least: float, outline: float) -> Edges | None:
        """The edges of a map of inverse depth [S,S], 0 where nothing is; None if there are none.

        An edge is where inverse depth falls below `least` of the neighbour's; `outline` is in pixels.
        """
        middle = np.zeros_like(inverse)  # where a pixel is the far side of an edge: the inverse depth midway
        for axis in (0, 1):
            for shift in (1, -1):
                beside = np.roll(inverse, shift, axis)
                border: list[slice | int] = [slice(None), slice(None)]
                border[axis] = 0 if shift == 1 else -1
                beside[tuple(border)] = 0
                jump = (inverse < least * beside) & (inverse > 0)
                middle = np.where(jump, np.maximum(middle, (inverse + beside) / 2), middle)
        if not middle.any():
            return None
        distance, (row, column) = scipy.ndimage.distance_transform_edt(middle == 0, return_indices=True)
        beyond = (inverse > 0) & (inverse < middle[row, column])
        return cls(distance / outline, beyond, (inverse > 0) & ~beyond)

    def taken(self, rgb: NDArray[Any], outline: float) -> NDArray[Any]:
        """How much [S,S], 0 to 1, of the photograph `rgb` [S,S,3] of bytes is taken; all but beside edges."""
        far_off = ramp(self.distance, *_BESIDE)
        smooth = scipy.ndimage.gaussian_filter(rgb.astype(np.float64), (_FINE * outline, _FINE * outline, 0))
        near = np.where(self.near & (self.distance <= _AROUND), _weight(self.distance, _SURE), 0.0)
        far = np.where(self.beyond & (self.distance <= _AROUND), _weight(self.distance, _BESIDE[1]), 0.0)
        known, likely = zip(*(_likelihood(smooth, side, outline) for side in (near, far)), strict=True)
        evidence = np.clip(likely[0] - likely[1], -_MOST, _MOST)  # that a pixel shows what is near
        evidence = scipy.ndimage.gaussian_filter(evidence, _FINE * outline)
        evidence = scipy.ndimage.maximum_filter(evidence, 2 * round(_MIXED * outline) + 1)
        told = 1 - ramp(scipy.ndimage.gaussian_filter(evidence, _FINE * outline), *_NEAR)
        return np.where(self.beyond, np.maximum(far_off, told * known[0] * known[1]), 1.0)


def _weight(distance: NDArray[Any], sure: float) -> NDArray[Any]:
    return np.where(distance >= sure, 1.0, _UNSURE)


def _likelihood(rgb: NDArray[Any], side: NDArray[Any], outline: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether the colours of a `side` (weights [S,S]) are known around each pixel, and how likely `rgb` is of them.

    Logarithms of a density [S,S], the mean over the channels, which say much the same.
    """
    width = max(1, round(_WIDE * outline))

    def around(values: NDArray[Any]) -> NDArray[Any]:
        once = scipy.ndimage.uniform_filter(values, width, mode="constant")
        gathered: NDArray[Any] = scipy.ndimage.uniform_filter(once, width, mode="constant")
        return gathered

    count = around(side)
    known = count > 1e-9
    total = np.zeros_like(side)
    for channel in np.moveaxis(rgb, -1, 0):
        mean = around(side * channel) / np.maximum(count, 1e-9)
        square = around(side * channel**2) / np.maximum(count, 1e-9)
        variance = np.maximum(square - mean**2, 0) + _LEVELS**2
        total -= ((channel - mean) ** 2 / variance + np.log(variance)) / 2
    return known, total / 3


def ramp(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """0 up to `low`, 1 from `high` on, smooth between."""
    share = np.clip((values - low) / (high - low), 0, 1)
    smooth: NDArray[Any] = share * share * (3 - 2 * share)
    return smooth
