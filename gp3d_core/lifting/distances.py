"""How far away every part of a photograph is: depth maps from files or from a network, on a grid of cells.

A map says depth or disparity, known up to scale and shift, or metres. What is known up to scale and shift is stretched
from t = 1 to t = `ratio`; by default the relief is then as deep as the longer side of the picture is wide at its middle
depth, so that a telephoto picture becomes no tunnel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gp3d_core.preparation.depth.files import check_shape, filled, in_metres, read_numbers
from gp3d_core.preparation.depth.kinds import Meaning
from gp3d_core.preparation.depth.making import DepthSource, stretch, to_unit

_FARTHEST = 100.0  # times the nearest: where metres end, for there is sky in pictures
_LARGEST = 1024  # pixels of the longer side that a network is given


@dataclass(frozen=True, eq=False)
class Distances:
    """t float64 [h,w], depth along the camera's axis; metric if that is metres, else the nearest is 1; missing: share
    of the map that held no distance and was taken from the nearest that did.
    """

    t: NDArray[Any]
    metric: bool
    missing: float


def usual_ratio(fov: float) -> float:
    """t_far / t_near of a relief as deep as the longer side, under `fov` degrees, is wide at its middle depth.

    The middle is that of inverse depth, 2r / (1 + r): (r − 1)(r + 1) = 2·r·2·tan(fov / 2).
    """
    width = 2 * math.tan(math.radians(fov) / 2)
    return width + math.sqrt(width**2 + 1)


def distances_of_file(
    path: Path, picture: tuple[int, int], grid: tuple[int, int], meaning: Meaning, ratio: float
) -> Distances:
    """The distances that the depth map at `path` holds for a picture of (height, width), on `grid` (h, w).

    PNG of 16 or 8 bits, npy or npz [H,W] of any size in the picture's proportions. meaning: "depth" and "disparity" are
    stretched; "metric" numbers are metres, those of a PNG millimetres. NaN holds no distance, nor do metric numbers of
    0 or less, nor an infinite disparity (stereo marks so what it did not match); other infinite ones are the farthest.
    Raises DatasetError for a file that cannot be read, has other proportions, or holds hardly any distance.
    """
    values = read_numbers(path)
    check_shape(values, path, (picture[1], picture[0]))
    values, missing = filled(in_metres(values, path) if meaning == "metric" else values, meaning, path)
    if meaning == "metric":
        t = 1 / _to_grid(1 / np.minimum(values, values.min() * _FARTHEST), grid)
        return Distances(t, True, missing)
    unit = to_unit(stretch(values, str(path)), meaning, ratio)
    return Distances(1 / _to_grid(1 / (1 + unit * (ratio - 1)), grid), False, missing)


def distances_of_model(
    source: DepthSource, rgb: NDArray[Any], name: str, grid: tuple[int, int], ratio: float
) -> Distances:
    """The distances that a network, whose disparity is turned into depth with `ratio`, sees in `rgb` uint8 [H,W,3]."""
    height, width = rgb.shape[:2]
    scale = min(1.0, _LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    unit = source.maps([name], [small])[0]
    return Distances(1 / _to_grid(1 / (1 + unit * (ratio - 1)), grid), False, 0.0)


def _to_grid(values: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """`values` [H,W] on the cells of `grid`: those that lie nearest to a cell's middle, if there are more than cells,
    since means over a depth edge are no depth of anything; in between linear if there are fewer.
    """
    if values.shape == grid:
        return values
    places = [(np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(grid, values.shape, strict=True)]
    order = 1 if values.size < grid[0] * grid[1] else 0
    found: NDArray[Any] = ndimage.map_coordinates(
        values, np.meshgrid(*places, indexing="ij"), order=order, mode="nearest"
    )
    return found
