"""`gp3d data stats`: what a data set looks like, in numbers and pictures.

stats.json and, where there is something to draw: depth.png (histograms), classes.png (balance), cameras.png (angles),
sheet.png (images with their depth beside them: near light, far dark). Depth is normalised, −1 near to 1 far.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gp3d_core.atomic import replacing, write_json
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.sources.naming import readable
from gp3d_core.visualization import caption, depth_to_uint8, save_picture

_BINS = 64
_TILE = 128
_COLUMNS = 4  # examples in a row of the sheet
_NAMED = 60  # classes that are drawn with their names
_LONGEST = 38  # characters of a name
_AT_ONCE = 256


@dataclass
class Tally:
    """Sums over images: `depth_bins` [64] counts of pixels, `means` and `spreads` of depth of each image.

    far, near: share of pixels at the ends of the range, of each image; `at_far` such pixels in all. color_sum,
    color_squares: [3] of values in [0, 1] over `pixels` pixels.
    """

    depth_bins: NDArray[Any] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))
    means: list[float] = field(default_factory=list)
    spreads: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    near: list[float] = field(default_factory=list)
    at_far: int = 0
    color_sum: NDArray[Any] = field(default_factory=lambda: np.zeros(3))
    color_squares: NDArray[Any] = field(default_factory=lambda: np.zeros(3))
    pixels: int = 0

    def add_image(self, image: NDArray[Any]) -> None:
        """Counts an image uint8 [R,R,3]."""
        values = image.reshape(-1, 3) / 255.0
        self.color_sum += values.sum(0)
        self.color_squares += (values**2).sum(0)
        self.pixels += len(values)

    def add_depth(self, depth: NDArray[Any]) -> None:
        """Counts a depth map uint16 [R,R]."""
        self.depth_bins += np.bincount(depth.ravel() // (depth_codes.STEPS // _BINS), minlength=_BINS)
        self.at_far += int(np.count_nonzero(depth == depth_codes.BACKGROUND))
        normalised = depth_codes.to_normalised(depth)
        self.means.append(float(normalised.mean()))
        self.spreads.append(float(normalised.std()))
        self.far.append(float(np.mean(depth == depth_codes.BACKGROUND)))
        self.near.append(float(np.mean(depth == 0)))


def write_statistics(path: Path, out: Path, *, samples: int = 32, workers: int = 4) -> list[Path]:
    """Writes stats.json and the pictures on the data set at `path` into the folder `out`; returns what was written.

    Depth may be missing. Raises DatasetError for data that cannot be read.
    """
    dataset = Dataset(path, needs_depth=False)
    out.mkdir(parents=True, exist_ok=True)
    tally = _tally(dataset, workers)
    counts = _class_counts(dataset)
    written = [out / "stats.json"]
    write_json(written[0], _facts(dataset, tally, counts))
    drawings: dict[str, Callable[[Path], None]] = {}
    if tally.means:
        drawings["depth.png"] = lambda target: _draw_depth(tally, target)
    if counts:
        drawings["classes.png"] = lambda target: _draw_classes(counts, target)
    if dataset.angles is not None:
        angles = dataset.angles
        drawings["cameras.png"] = lambda target: _draw_angles(angles, target)
    drawings["sheet.png"] = lambda target: save_picture(contact_sheet(dataset, samples), target)
    for name, draw in drawings.items():
        draw(out / name)
        written.append(out / name)
    return written


def _tally(dataset: Dataset, workers: int) -> Tally:
    lacking = set(dataset.without_depth)

    def load(index: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        lacks = dataset.names[index] in lacking
        return dataset.load_image(index), None if lacks else dataset.load_depth(index)

    tally = Tally()
    bar = tqdm(total=len(dataset), desc="counting", unit="img", leave=False, disable=None)
    with ThreadPoolExecutor(workers) as pool, bar:
        for start in range(0, len(dataset), _AT_ONCE):  # in portions, so that few wait decoded
            for image, depth in pool.map(load, range(start, min(start + _AT_ONCE, len(dataset)))):
                tally.add_image(image)
                if depth is not None:
                    tally.add_depth(depth)
                bar.update()
    return tally


def _class_counts(dataset: Dataset) -> list[tuple[str, int]]:
    found = np.bincount(dataset.labels, minlength=dataset.num_classes)
    return [(record["name"], int(found[record["label"]])) for record in dataset.classes]


def _facts(dataset: Dataset, tally: Tally, counts: list[tuple[str, int]]) -> dict[str, Any]:
    mean = tally.color_sum / tally.pixels
    facts: dict[str, Any] = {
        "images": len(dataset),
        "resolution": dataset.resolution,
        "with_depth": len(tally.means),
        "color": {
            "mean": _rounded(mean),
            "std": _rounded(np.sqrt(np.maximum(tally.color_squares / tally.pixels - mean**2, 0))),
        },
        "classes": [{"name": name, "images": count} for name, count in counts],
    }
    if tally.means:
        facts["depth"] = {
            "histogram": (tally.depth_bins / tally.depth_bins.sum()).round(6).tolist(),
            "bin_edges": np.linspace(-1, 1, _BINS + 1).tolist(),
            "mean_of_images": _quantiles(tally.means),
            "spread_of_images": _quantiles(tally.spreads),
            "share_at_far_end": _quantiles(tally.far),
            "share_at_near_end": _quantiles(tally.near),
        }
    if dataset.angles is not None:
        facts["yaw"], facts["pitch"] = (_quantiles(dataset.angles[:, k].tolist()) for k in (0, 1))
    return facts


def _quantiles(values: list[float]) -> dict[str, float]:
    names = ("least", "quarter", "median", "three_quarters", "most")
    found = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return {name: round(float(value), 6) for name, value in zip(names, found, strict=True)}


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(value), 6) for value in values]


def contact_sheet(dataset: Dataset, count: int) -> Image.Image:
    """Up to `count` images, spread over every class in turn, each with its depth beside it and its class below."""
    some = _spread(dataset, count)
    lacking = set(dataset.without_depth)
    cells = []
    for index in some:
        name = dataset.names[index]
        pair = Image.new("RGB", (2 * _TILE, _TILE), (236, 236, 236))  # grey where there is no depth
        pair.paste(_tile(dataset.load_image(index)), (0, 0))
        if name not in lacking:
            codes = torch.from_numpy(dataset.load_depth(index).astype(np.float32))
            depth = depth_codes.to_normalised(codes)[None, None]
            pair.paste(_tile(depth_to_uint8(depth, -1, 1)[0]), (_TILE, 0))
        classes = dataset.classes
        title = _title(classes[int(dataset.labels[index])]["name"] if classes else Path(name).stem)
        cells.append((pair, caption(title, 2 * _TILE)))
    height = _TILE + cells[0][1].height
    columns = min(_COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    canvas = Image.new("RGB", (columns * (2 * _TILE + 8), rows * (height + 4)), "white")
    for k, (pair, text) in enumerate(cells):
        left, top = k % columns * (2 * _TILE + 8), k // columns * (height + 4)
        canvas.paste(pair, (left, top))
        canvas.paste(text, (left, top + _TILE))
    return canvas


def _title(name: str) -> str:
    """A name on one line, and no longer than a picture has room for."""
    shown = readable(name)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _spread(dataset: Dataset, count: int) -> list[int]:
    """Up to `count` images, of every class about as many, evenly over its names; sorted by class."""
    groups = [np.flatnonzero(dataset.labels == label) for label in np.unique(dataset.labels)]
    if len(groups) > count:
        groups = [groups[k] for k in np.linspace(0, len(groups) - 1, count).round().astype(int)]
    quota = np.full(len(groups), count // len(groups))
    quota[: count % len(groups)] += 1
    return [
        int(group[k])
        for group, wanted in zip(groups, quota, strict=True)
        for k in np.unique(np.linspace(0, len(group) - 1, min(int(wanted), len(group))).round().astype(int))
    ]


def _tile(image: NDArray[Any]) -> Image.Image:
    kind = Image.Resampling.NEAREST if image.shape[0] < _TILE else Image.Resampling.LANCZOS
    return Image.fromarray(image).resize((_TILE, _TILE), kind)


def _draw_depth(tally: Tally, path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(12, 3), layout="constrained")
    axes = figure.subplots(1, 4)
    edges = np.linspace(-1, 1, _BINS + 1)
    total, short = int(tally.depth_bins.sum()), tally.depth_bins.copy()
    short[-1] -= tally.at_far  # a plain background would hide the rest
    axes[0].stairs(short / total, edges, fill=True)
    axes[0].set_title(f"depth (−1 near, 1 far); {tally.at_far / total:.0%} more at the far end", fontsize=9)
    axes[1].hist(tally.means, np.linspace(-1, 1, 41))
    axes[1].set_title("mean depth of an image", fontsize=9)
    axes[2].hist(tally.spreads, np.linspace(0, 1, 41))
    axes[2].set_title("standard deviation within an image", fontsize=9)
    axes[3].hist([tally.near, tally.far], np.linspace(0, 1, 21), label=["nearest", "farthest"])
    axes[3].set_title("share of an image at the ends", fontsize=9)
    axes[3].legend(fontsize=8)
    _save(figure, path)


def _draw_classes(counts: list[tuple[str, int]], path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import

    order = sorted(counts, key=lambda row: -row[1])
    named = len(order) <= _NAMED
    figure = Figure(figsize=(7, 1 + 0.22 * len(order)) if named else (10, 3), layout="constrained")
    axis = figure.subplots()
    if named:
        axis.barh(range(len(order)), [count for _, count in order])  # by places: two classes may share a name
        axis.set_yticks(range(len(order)), [_title(name) for name, _ in order], parse_math=False)
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.set_xlabel("images")
    else:
        axis.bar(range(len(order)), [count for _, count in order], width=1)
        ends = [_title(order[k][0]) for k in (0, -1)]
        axis.set_xlabel(f"{len(order)} classes, from {ends[0]} to {ends[1]}", parse_math=False)
        axis.set_ylabel("images")
    _save(figure, path)


def _draw_angles(angles: NDArray[Any], path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(12, 3), layout="constrained")
    yaw_axis, pitch_axis, both = figure.subplots(1, 3)
    yaw_axis.hist(angles[:, 0], 60)
    yaw_axis.set_title("yaw, radians (0 = front)", fontsize=9)
    pitch_axis.hist(angles[:, 1], 60)
    pitch_axis.set_title("pitch, radians (0 above, π/2 level)", fontsize=9)
    both.hist2d(angles[:, 0], angles[:, 1], 40)
    both.invert_yaxis()
    both.set_title("yaw and pitch", fontsize=9)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)
