"""`gp3d data check`: everything that is wrong with a data set, not only the first thing.

Faults keep a data set from being trained on, notes do not. Of each kind the first few are named, all are counted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gp3d_core.datasets.archive import (
    HEADER,
    SUFFIXES,
    UNFINISHED,
    Archive,
    DatasetError,
    Header,
    depth_name,
    image_names,
    is_depth,
    maps_command,
    mask_name,
    read_header,
)
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.feature_table import features_description, open_features
from gp3d_core.datasets.images import Pixels, width_of
from gp3d_core.preparation.maps.masks import SUBJECT
from gp3d_core.signals import Interruption

_ROWS_AT_ONCE = 4096
_FILES_AT_ONCE = 256
_HARD_EDGE = 0.98  # share of a depth map at one end from which on there is little else


@dataclass
class Kind:
    """Findings of one kind: `text` says what they are, `fault` whether they forbid training, `remedy` what to do."""

    text: str
    fault: bool
    remedy: str = ""
    count: int = 0
    named: list[str] = field(default_factory=list)


@dataclass
class CheckReport:
    """What a data set holds, and what is wrong with it.

    images, resolution: as found. class_counts: number of images by name of the class. most: findings named of a kind.
    """

    images: int = 0
    resolution: int | None = None
    class_counts: list[tuple[str, int]] = field(default_factory=list)
    kinds: dict[str, Kind] = field(default_factory=dict)
    most: int = 20

    @property
    def sound(self) -> bool:
        """Whether nothing forbids training."""
        return not any(kind.fault for kind in self.kinds.values())

    def add(self, text: str, names: Iterable[str], *, fault: bool = True, remedy: str = "") -> None:
        """Notes a finding of the kind `text` for each of `names`."""
        for name in names:
            kind = self.kinds.setdefault(text, Kind(text, fault, remedy))
            kind.count += 1
            if len(kind.named) < self.most:
                kind.named.append(name)

    def lines(self) -> list[str]:
        """The findings for people, faults first."""
        lines = []
        for kind in sorted(self.kinds.values(), key=lambda k: not k.fault):
            remedy = f"; {kind.remedy}" if kind.remedy else ""
            lines.append(f"{'FAULT' if kind.fault else 'note '}  {kind.count} × {kind.text}{remedy}")
            lines += [f"       {name}" for name in kind.named]
            if kind.count > len(kind.named):
                lines.append(f"       … and {kind.count - len(kind.named)} more")
        return lines


def check_dataset(
    path: Path,
    *,
    features: Path | None = None,
    most: int = 20,
    workers: int = 4,
    interruption: Interruption | None = None,
) -> CheckReport:
    """Reads everything in the data set at `path` once. Raises DatasetError only where there is no data set at all."""
    archive = Archive(path)
    report = CheckReport(most=most)
    names = image_names(archive)
    report.images = len(names)
    if not names:
        report.add(f"no images ({', '.join(SUFFIXES)})", [str(path)])
    header = _check_header(archive, report)
    _check_names(archive, names, report, path)
    _check_labels(header, names, report)
    report.resolution = header.resolution or _first_width(archive, names)
    if report.resolution is not None:
        _check_pixels(Pixels(archive, report.resolution), archive, names, report, workers, interruption)
    if features is not None:
        _check_features(features, names, report)
        _check_origin(features, path, report)
    return report


def _check_header(archive: Archive, report: CheckReport) -> Header:
    """The header, an empty one where it is wrong."""
    try:
        header = read_header(archive)
    except DatasetError as error:
        unfinished = HEADER not in archive.sizes and UNFINISHED in archive.sizes
        report.add("unfinished" if unfinished else f"{HEADER} is wrong", [str(error)])
        return Header()
    if HEADER not in archive.sizes:
        report.add(f"no {HEADER}", [str(archive.path)], fault=False, remedy="the data set has no classes")
    return header


def _check_names(archive: Archive, names: list[str], report: CheckReport, path: Path) -> None:
    lacking = [name for name in names if depth_name(name) not in archive.sizes]
    report.add("image without a depth map", lacking, remedy=f"`{maps_command('depth', path)}` makes them")
    owned = {depth_name(name) for name in names}
    if len(owned) < len(names):
        by_depth: dict[str, str] = {}
        same = [n for n in names if by_depth.setdefault(depth_name(n), n) != n]
        report.add("image that shares its depth map with another", same, remedy="give each a stem of its own")
    alone = [name for name in archive.sizes if is_depth(name) and _is_picture(name) and name not in owned]
    report.add("depth map without an image", alone, fault=False)
    masks = {mask_name(name) for name in names}
    if lone := [name for name in names if mask_name(name) not in archive.sizes]:
        some = lone if len(lone) < len(names) else []  # a data set need not have any
        report.add("image without a mask", some, fault=False, remedy="`gp3d data mask` makes them")
    strays = [name for name in archive.sizes if name.endswith("_mask.npz") and name not in masks]
    report.add("mask without an image", strays, fault=False)
    report.add("empty file", [name for name in names if archive.sizes[name] == 0])


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _check_labels(header: Header, names: list[str], report: CheckReport) -> None:
    known = set(names)
    for rows, what in ((header.labels, "label"), (header.angles, "camera angles")):
        if rows is not None:
            report.add(f"image without {what} in {HEADER}", [name for name in names if name not in rows])
            gone = [name for name in rows if name not in known]
            report.add(f"row of {what} for a file that is not there", gone, fault=False)
    if header.labels is None:
        return
    labels = {name: header.labels[name] for name in names if name in header.labels}
    classes = header.classes
    if classes is None:
        report.add("negative label", [f"{n} has {k}" for n, k in labels.items() if k < 0])
        report.class_counts = [(f"class {k}", n) for k, n in _counts(labels.values()).items()]
        return
    wrong = [f"{name} has {k}" for name, k in labels.items() if not 0 <= k < len(classes)]
    report.add(f"label beyond the {len(classes)} classes", wrong)
    counts = _counts(labels.values())
    report.class_counts = [(record["name"], counts.get(record["label"], 0)) for record in classes]
    report.add("class without an image", [name for name, n in report.class_counts if not n], fault=False)


def _counts(labels: Iterable[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items()))


def _first_width(archive: Archive, names: list[str]) -> int | None:
    """Pixels across of the first image that can be opened."""
    for name in names:
        try:
            return width_of(archive, name)
        except DatasetError:
            continue
    return None


def _check_pixels(
    pixels: Pixels,
    archive: Archive,
    names: list[str],
    report: CheckReport,
    workers: int,
    interruption: Interruption | None,
) -> None:
    """Decodes everything; what is known of a file goes into the report in the order of names."""
    bar = tqdm(total=len(names), desc="checking", unit="img", leave=False, disable=None)
    with ThreadPoolExecutor(workers) as pool, bar:
        for start in range(0, len(names), _FILES_AT_ONCE):
            part = names[start : start + _FILES_AT_ONCE]
            for faults, notes in pool.map(partial(_look, pixels, archive), part):
                report.add("file that cannot be used", faults)
                for note, about in notes:
                    report.add(note, [about], fault=False)
            bar.update(len(part))
            if interruption is not None and interruption.requested:
                return


def _look(pixels: Pixels, archive: Archive, name: str) -> tuple[list[str], list[tuple[str, str]]]:
    """What forbids training with the image `name`, and notes on what lies beside it: each kind, and of which file."""
    faults, notes = [], []
    try:
        pixels.image(name)
    except (DatasetError, OSError) as error:
        faults.append(_without(error, archive.path))
    if depth_name(name) in archive.sizes:
        try:
            if oddity := _oddity(pixels.depth(name)):
                notes.append((oddity, depth_name(name)))
        except (DatasetError, OSError) as error:
            faults.append(_without(error, archive.path))
    if mask_name(name) in archive.sizes:
        try:
            if pixels.mask(name).max() < SUBJECT:
                notes.append(("mask that shows no subject", mask_name(name)))
        except (DatasetError, OSError) as error:  # training reads none
            notes.append(("mask that cannot be used", _without(error, archive.path)))
    return faults, notes


def _without(error: Exception, path: Path) -> str:
    if isinstance(error, OSError) and error.filename:  # another process may have taken the file away
        return f"{os.path.relpath(error.filename, path)}: {error.strerror}"
    return " ".join(str(error).removeprefix(f"{path}: ").split())


def _oddity(depth: NDArray[Any]) -> str | None:
    """What is strange about a depth map [R,R] that can be read; None for most."""
    low, high = int(depth.min()), int(depth.max())
    if low == high:
        return "depth map of one value"
    if high < 256:
        return "depth map that uses the lowest 1/256 of the range (8 bits saved as 16?)"
    if np.mean(depth == low) > _HARD_EDGE or np.mean(depth == high) > _HARD_EDGE:
        return "depth map that is nearly all one value"
    return None


def _check_features(path: Path, names: list[str], report: CheckReport) -> None:
    try:
        features = open_features(path, names)
    except DatasetError as error:
        report.add(
            "features that do not fit",
            [" ".join(str(error).split())],
            remedy="`gp3d data features` makes them",
        )
        report.add("image without a row in the features", _without_row(path, names))
        return
    used: set[int] = set()
    for rows, whose in ((features.rows, "image"), (features.flipped, "mirror image")):
        if rows is not None:
            bad = [names[int(i)] for i in np.flatnonzero(~_finite(features.table, rows))]
            report.add(
                f"{whose} whose features are not finite", bad, remedy="`gp3d data features` makes them"
            )
            used.update(rows.tolist())
    if len(used) < len(features.table):
        unused = [f"{path}: {len(features.table) - len(used)} rows"]
        report.add("features with rows of no image", unused, fault=False)


def _check_origin(features: Path, path: Path, report: CheckReport) -> None:
    """A note where features say that they were computed of something else; `path` may be a selection of that."""
    try:
        made_of = json.loads(features_description(features).read_text(encoding="utf-8")).get("data")
        data = Dataset(path, needs_depth=False).fingerprint
    except (OSError, ValueError, AttributeError, RecursionError, DatasetError):
        return  # which is reported as what it is
    if made_of not in (None, data):
        text = "features of other or older images; right only where this is a selection of those"
        report.add(text, [str(features)], fault=False)


def _finite(table: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    """Whether each of the `rows` of `table` [M,D] holds finite numbers only."""
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    parts = (np.asarray(table[rows[start : start + _ROWS_AT_ONCE]]) for start in starts)
    return np.concatenate([np.isfinite(part).all(axis=1) for part in parts])


def _without_row(path: Path, names: list[str]) -> list[str]:
    """Images that the features' description does not know; none where it cannot be read."""
    try:
        known = json.loads(features_description(path).read_text(encoding="utf-8"))["filepath_to_idx"]
        return [name for name in names if name not in known]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
