"""What a model's colours lack beside the part of a surface that a photograph shows.

A model that sees few pixels gets colours wrong by much the same amount over some of the surface. Where the photograph
ends on it, that would be a seam. So the difference between photograph and model goes on beyond what the photograph
shows, smoothed, and fades out. In space, not in the picture: what is near says nothing about what lies behind it.

Conventions. Cells are as wide as a pixel of what the model sees, wherever they are: their coordinates are those in the
picture, from 0 to 1, and the logarithm of depth over the width of the picture at depth 1. N points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

_SMOOTH = (4.0, 1.0)  # cells: deviations of the smoothing, each of what the one before leaves
_REACH = 4.0  # deviations, beyond which nothing is left of it
_WHOLE = (
    0.25  # of what lies around a point of a surface that is all shown: all up to ⅔ deviation beyond its end
)
_MOST = 64  # cells across the picture
_LAYERS = 512  # of them, one behind the other


@dataclass(frozen=True, eq=False)
class Tones:
    """Differences of colour, the sum of those of several smoothings: far from the seam the widest are left."""

    scales: tuple[_Scale, ...]

    @classmethod
    def of(
        cls, place: NDArray[Any], depth: NDArray[Any], lacking: NDArray[Any], outline: float, width: float
    ) -> Tones:
        """The tones of differences `lacking` [N,3] at points at `place` [N,2] in the picture (column, row) and `depth`.

        `outline` is the width of a cell as a share of the picture's, `width` that of the picture at depth 1.
        """
        scales: list[_Scale] = []
        for smooth in _SMOOTH:
            scales.append(_Scale.of(place, depth, lacking, outline, width, smooth))
            mean, share = scales[-1](place, depth)
            lacking = lacking - mean * share[:, None]
        return cls(tuple(scales))

    def __call__(self, place: NDArray[Any], depth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Differences [N,3] at points, as `of` has them, and how much of each counts [N], from 0 to 1."""
        found = [scale(place, depth) for scale in self.scales]
        total = np.sum([mean * share[:, None] for mean, share in found], axis=0)
        most = np.max([share for _, share in found], axis=0)
        return total / np.maximum(most, 1e-12)[:, None], most


@dataclass(frozen=True, eq=False)
class _Scale:
    """Differences on a grid: `lacking` [L,C,C,3] in [-2, 2], and how much of each counts, [L,C,C]."""

    lacking: NDArray[Any]
    share: NDArray[Any]
    nearest: float
    width: float

    @classmethod
    def of(
        cls,
        place: NDArray[Any],
        depth: NDArray[Any],
        lacking: NDArray[Any],
        outline: float,
        width: float,
        smooth: float,
    ) -> _Scale:
        """As `Tones.of`, smoothed by so many cells."""
        cells = max(1, min(_MOST, round(1 / outline)))
        logarithm = np.log(depth)
        low, high = (float(logarithm.min()), float(logarithm.max())) if len(depth) else (0.0, 0.0)
        width = max(
            width, (high - low) * cells / _LAYERS
        )  # of tiny fields of view cells are longer than wide
        layer, margin = logarithm / width, _REACH * smooth / cells
        nearest = low / width - margin
        layers = math.ceil((high / width + margin - nearest) * cells) + 1
        shape = (layers, cells, cells)
        where = np.stack([(layer - nearest) * cells, place[:, 1] * (cells - 1), place[:, 0] * (cells - 1)])
        index = np.ravel_multi_index(tuple(np.round(where).astype(int)), shape, mode="clip")
        count = np.bincount(index, minlength=int(np.prod(shape)))
        sums = [np.bincount(index, lacking[:, k], len(count)) / np.maximum(count, 1) for k in range(3)]
        around = [
            scipy.ndimage.gaussian_filter(one.reshape(shape), smooth, truncate=_REACH, mode="constant")
            for one in (*sums, (count > 0).astype(float))
        ]
        flat = 1 / (np.sqrt(2 * np.pi) * smooth)  # of a surface that is all shown
        mean = np.stack(around[:3], axis=-1) / np.maximum(around[3], 1e-6)[..., None]
        return cls(mean, np.clip(around[3] / (_WHOLE * flat), 0, 1), nearest, width)

    def __call__(self, place: NDArray[Any], depth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Differences [N,3] at points, as `of` has them, and how much of each counts [N], from 0 to 1."""
        cells = self.share.shape[1]
        layer = np.log(np.maximum(depth, 1e-6)) / self.width
        where = np.stack(
            [(layer - self.nearest) * cells, place[:, 1] * (cells - 1), place[:, 0] * (cells - 1)]
        )
        share = scipy.ndimage.map_coordinates(self.share, where, order=1, mode="constant")
        mean = [
            scipy.ndimage.map_coordinates(self.lacking[..., k], where, order=1, mode="nearest")
            for k in range(3)
        ]
        return np.stack(mean, axis=1), share
