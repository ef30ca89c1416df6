"""Depth maps beside the images of a data set, from a network or from files.

u in [0, 1] is a depth within its picture: 0 the nearest point, 1 the farthest. Its normalised depth is 2·u − 1 and its
code in `_depth.png` round(65536·u), at most 65535 (docs/dataset.md). Scale and shift are free: u stretches what is
known up to scale and shift over the whole range, picture by picture.

A disparity is an inverse depth, known up to scale and shift. With the camera's t_near and t_far, q in [0, 1] of it
stands for 1/t = 1/t_far + q·(1/t_near − 1/t_far); `ratio` = t_far / t_near is all that u keeps of the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gp3d_core.atomic import replacing
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.archive import DatasetError, depth_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import read_card, record_step
from gp3d_core.signals import Interruption

Kind = Literal["depth", "disparity"]

_SURE = 5  # pictures from which on their common direction says something


class DepthSource(Protocol):
    """Where depth comes from. `record` says so in JSON values; equal records give equal maps."""

    record: dict[str, Any]

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """u, float [R,R], of each of the `images` uint8 [R,R,3], whose paths are `names`."""


@dataclass
class DepthReport:
    """What was done: maps `made` now and `kept` from before, `flat` ones among the new, whether it was `stopped`.

    downwards: correlation of depth with the row, from the top down, of each new map that is not flat.
    """

    made: int
    kept: int
    flat: int
    downwards: list[float]
    stopped: bool

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
    if path.is_file():
        raise DatasetError(
            f"{path} is not a folder, but depth maps are written beside the images; unpack it first"
        )
    return Dataset(path, needs_depth=False)


def make_depth(
    path: Path, source: DepthSource, stop: Interruption, *, batch: int = 8, overwrite: bool = False
) -> DepthReport:
    """Writes the depth maps that the images of the data set folder `path` lack, `batch` at a time.

    The source's record goes into the card first; going on with another one is refused, and so are maps of unknown
    origin, unless `overwrite` removes what is there. Raises DatasetError.
    """
    dataset = open_for_depth(path)
    lacking = set(dataset.without_depth)
    todo = [i for i, name in enumerate(dataset.names) if name in lacking]
    if _take_over(path, source.record, known=len(todo) < len(dataset), overwrite=overwrite):
        for name in dataset.names:
            (path / depth_name(name)).unlink(missing_ok=True)
        todo = list(range(len(dataset)))
    report = DepthReport(made=0, kept=len(dataset) - len(todo), flat=0, downwards=[], stopped=False)
    with (
        ThreadPoolExecutor(4) as pool,
        tqdm(total=len(dataset), initial=report.kept, desc="depth", unit="img", disable=None) as bar,
    ):
        chunks = [todo[start : start + batch] for start in range(0, len(todo), batch)]
        # What the network waits for is read, and what it has made is written, while it works.
        loading = pool.map(dataset.load_image, chunks[0] if chunks else [])
        saving: Iterator[None] = iter(())
        for number, chunk in enumerate(chunks, 1):
            images = list(loading)
            loading = pool.map(dataset.load_image, chunks[number] if number < len(chunks) else [])
            names = [dataset.names[i] for i in chunk]
            maps = source.maps(names, images)
            deque(saving, maxlen=0)
            saving = pool.map(_save, [path / depth_name(name) for name in names], maps)
            _count(report, maps)
            bar.update(len(chunk))
            if stop.requested:
                report.stopped = True
                break
        deque(saving, maxlen=0)
    return report


def _take_over(path: Path, record: dict[str, Any], *, known: bool, overwrite: bool) -> bool:
    """Enters `record` into the card of the data set `path`; says whether the maps that are there must go first."""
    steps = [step for step in read_card(path)["steps"] if step.get("step") == "depth"]
    found = {key: value for key, value in steps[0].items() if key != "step"} if steps else None
    if found == record and not overwrite:
        return False
    if known and not overwrite:
        if found is None:
            raise DatasetError(f"{path} has depth maps of unknown origin; `overwrite` replaces all of them")
        key = next(key for key in {**record, **found} if found.get(key) != record.get(key))
        raise DatasetError(
            f"{path} has depth maps made with {key} = {found.get(key)}, asked for is {record.get(key)}; "
            "`overwrite` replaces all of them"
        )
    record_step(path, "depth", record)
    return known


def _save(path: Path, u: NDArray[Any]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(depth_codes.encode(u)).save(temporary, format="PNG")


def _count(report: DepthReport, maps: Sequence[NDArray[Any]]) -> None:
    for u in maps:
        report.made += 1
        if np.ptp(u) == 0:
            report.flat += 1
            continue
        row_means = u.mean(axis=1)
        rows = np.arange(len(row_means)) - (len(row_means) - 1) / 2
        spread = np.sqrt((rows**2).mean()) * u.std()
        report.downwards.append(float((rows * row_means).mean() / spread))
