"""Depth and depth edges as the release of Shih et al. 2020 makes them ("3D photography using context-aware layered
depth inpainting"), for the row of lifted pictures as it was measured. Reliefs are otherwise torn as `edges` says.

Depth [H,W] is 1 / disparity, which goes up to 3 and not below 0.05: from 1/3 to 20. Legend: H, W size of a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from gp3d_core.lifting.edges import Links, closed

LARGEST, LEAST = 3.0, 0.05  # disparity
RATIO = LARGEST / LEAST  # of the farthest depth to the nearest
STEP = 0.04  # of disparity between neighbours, that is an edge
# The release makes a fifth round and then takes what went into it.
WINDOWS = (7, 7, 5, 5)


def depth_of(disparity: NDArray[Any]) -> NDArray[Any]:
    """Depth float32 [H,W] of a disparity of any scale and offset, slightly blurred."""
    raised = (disparity - disparity.min()).astype(np.float64)
    blurred = ndimage.uniform_filter(raised, 3, mode="mirror")
    largest = blurred.max()
    scaled = blurred * (LARGEST / largest) if largest > 0 else np.full_like(blurred, LARGEST)
    return (1.0 / np.maximum(scaled, LEAST)).astype(np.float32)


def discontinuities(depth: NDArray[Any]) -> NDArray[Any]:
    """Whether disparity steps to the neighbour above, below, to the left and to the right, bool [4,H,W].

    Pixels at the rim of the picture step nowhere.
    """
    down, right = _steps(depth, 0), _steps(depth, 1)
    found = np.zeros((4, *depth.shape), bool)
    found[0, 1:], found[1, :-1], found[2, :, 1:], found[3, :, :-1] = down, down, right, right
    found[:, [0, -1]] = False
    found[:, :, [0, -1]] = False
    return found


def median_round(depth: NDArray[Any], window: int) -> NDArray[Any]:
    """`depth` with the median of what is at no edge where a window [window²] around a pixel holds an edge.

    Pixels whose window is all edge keep their depth. The rim takes that of the pixel beside it first.
    """
    torn = np.pad(np.logical_or.reduce(discontinuities(depth))[1:-1, 1:-1], 1, mode="edge")
    depth = np.pad(depth[1:-1, 1:-1], 1, mode="edge")
    reach, size = window // 2, (window, window)
    marked = sliding_window_view(np.pad(torn, reach, mode="edge"), size).reshape(*depth.shape, -1)
    rows, columns = np.nonzero(marked.any(axis=-1) & ~marked.all(axis=-1))
    around = sliding_window_view(np.pad(depth, reach, mode="edge"), size).reshape(*depth.shape, -1)
    at_edge = marked[rows, columns]
    values = np.sort(np.where(at_edge, np.inf, around[rows, columns]), axis=-1)
    ranks = _ranks(window**2)[(~at_edge).sum(axis=-1)]
    depth[rows, columns] = np.take_along_axis(values, ranks[:, None], axis=-1)[:, 0]
    return depth


def filtered(depth: NDArray[Any]) -> NDArray[Any]:
    """`depth` after all rounds that count."""
    for window in WINDOWS:
        depth = median_round(depth, window)
    return depth


def links(depth: NDArray[Any], shortest: int = 0) -> Links:
    """Which neighbours stay one surface: those between which disparity does not step. Gaps of one pixel in an edge are
    closed, edges of less than `shortest` pixels dropped.
    """
    return closed(_steps(depth, 1), _steps(depth, 0), shortest)


def _steps(depth: NDArray[Any], axis: int) -> NDArray[Any]:
    steps: NDArray[Any] = np.abs(np.diff(1.0 / depth, axis=axis)) > STEP
    return steps


def _ranks(most: int) -> NDArray[Any]:
    """Of 0 to `most` sorted values the place of the median, int [most+1].

    Of two in the middle it is the one at which the cumulated weights, shares in single precision, exceed a half.
    """
    ranks = [0, 0]
    for count in range(2, most + 1):
        shares = np.full(count, np.float32(1.0) / np.float32(count), np.float32)
        ranks.append(min(int(np.digitize(0.5, np.cumsum(shares, dtype=np.float32))), count - 1))
    return np.array(ranks)
