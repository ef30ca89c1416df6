"""Depth maps beside the images of a data set, from a network or from files.

u in [0, 1] is a depth within its picture: 0 the nearest point, 1 the farthest. Its normalised depth is 2·u − 1 and its
code in `_depth.png` round(65536·u), at most 65535 (docs/dataset.md). Scale and shift are free: u stretches what is
known up to scale and shift over the whole range, picture by picture.

A disparity is an inverse depth, known up to scale and shift. With the camera's t_near and t_far, q in [0, 1] of it
stands for 1/t = 1/t_far + q·(1/t_near − 1/t_far); `ratio` = t_far / t_near is all that u keeps of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.atomic import replacing
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError, depth_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.depth.kinds import Kind
from gp3d_core.preparation.maps.making import MapKind, MapReport, MapSource, make_maps, open_folder
from gp3d_core.signals import Interruption

_NARROW = 0.1  # of the range: maps that reach over less hardly show depth
_SURE = 5  # pictures from which on their common direction says something


class DepthSource(MapSource, Protocol):
    """Where depth comes from: `maps` are u, float [R,R]."""


@dataclass
class DepthReport(MapReport):
    """What was done; `flat` maps among the new ones.

    downwards: correlation of depth with the row, from the top down, of each new map that is not flat. reaches: over
    how much of the range it reaches, but for a hundredth of its pixels at either end.
    """

    flat: int = 0
    downwards: list[float] = field(default_factory=list)
    reaches: list[float] = field(default_factory=list)

    @property
    def reach(self) -> float:
        """Over how much of the range the middle one of the new maps reaches; 1 without any."""
        return float(np.median(self.reaches)) if self.reaches else 1.0

    @property
    def looks_flat(self) -> bool:
        """Whether the new maps use so little of the range that something else is meant by their numbers."""
        return self.reach < _NARROW

    @property
    def looks_inverted(self) -> bool:
        """Whether depth grows towards the bottom of most pictures, where photographs show the near ground."""
        return len(self.downwards) >= _SURE and float(np.median(self.downwards)) > 0


def stretch(values: NDArray[Any], name: str) -> NDArray[Any]:
    """`values` [H,W] mapped to float64 [0, 1] by their least and greatest; ½ where they are all the same.

    Raises DatasetError, with the `name` of what they belong to, for values that are not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DatasetError(f"depth of {name}: expected finite numbers, found NaN or infinity")
    low, high = values.min(), values.max()
    return np.full_like(values, 0.5) if low == high else (values - low) / (high - low)


def disparity_to_depth(q: NDArray[Any], ratio: float) -> NDArray[Any]:
    """u of q: with t_near = 1 and t_far = `ratio`, (t − t_near)/(t_far − t_near) of 1/t = 1/ratio + q·(1 − 1/ratio)."""
    return (1 / (q + (1 - q) / ratio) - 1) / (ratio - 1)


def to_unit(values: NDArray[Any], kind: Kind, ratio: float) -> NDArray[Any]:
    """u of values in [0, 1] that are depth, or disparity."""
    return values if kind == "depth" else disparity_to_depth(values, ratio)


def open_for_depth(path: Path) -> Dataset:
    """The data set in the folder `path`; DatasetError for a zip, beside whose images nothing can be written."""
    return open_folder(path, "depth maps")


def make_depth(
    path: Path, source: DepthSource, stop: Interruption, *, batch: int = 8, overwrite: bool = False
) -> DepthReport:
    """Writes the depth maps that the images of the data set folder `path` lack, `batch` at a time.

    The source's record goes into the card before the first map; going on with another one is refused, and so are
    maps of unknown origin, unless `overwrite` removes what is there. Raises DatasetError.
    """
    report = DepthReport()
    done = make_maps(
        path,
        MapKind("depth", "depth maps", depth_name, _save),
        source,
        stop,
        batch=batch,
        overwrite=overwrite,
        look=lambda maps: _count(report, maps),
    )
    return replace(report, made=done.made, kept=done.kept, stopped=done.stopped)


def _save(path: Path, u: NDArray[Any]) -> None:
    with replacing(path) as temporary:
        # A quarter of the time of the usual level, for files 4 % longer.
        Image.fromarray(depth_codes.encode(u)).save(temporary, format="PNG", compress_level=1)


def _count(report: DepthReport, maps: Sequence[NDArray[Any]]) -> None:
    for u in maps:
        if np.ptp(u) == 0:
            report.flat += 1
            continue
        low, high = np.quantile(u, [0.01, 0.99])
        report.reaches.append(float(high - low))
        row_means = u.mean(axis=1)
        rows = np.arange(len(row_means)) - (len(row_means) - 1) / 2
        spread = np.sqrt((rows**2).mean()) * u.std()
        report.downwards.append(float((rows * row_means).mean() / spread))
