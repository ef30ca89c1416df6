"""Rooms in two zips that are small enough to travel: `python -m benchmarks.pack_rooms TRAIN HELD [OUT]`.

TRAIN and HELD are what `synthetic.render --stage room` wrote for models to learn from, and for others to measure on.
OUT/rooms.zip gets models of TRAIN, from every class in turn, each with all its views, until both zips together have the
size that is asked for; OUT/held.zip those of HELD, unchanged, until it has its views. Of TRAIN colours become lossless
WebP, and depth keeps 12 of its 16 bits (of twelve metres 3 mm), which makes room for half as many models again.
`gp3d vq3d` takes the zips as they are.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from gp3d_core.atomic import replacing
from gp3d_core.datasets.archive import Archive, DatasetError, depth_name
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.depth_codes import BACKGROUND, STEPS
from gp3d_core.errors import GP3DError

MOST = 58 * 2**20 / 1e6  # megabytes; 64 MiB travel, with the code
_ENTRY = 76  # bytes that a zip needs for a file, beside twice its name
_SAID = 330  # bytes about a view in the three JSON files, compressed
_DEPTH_STEP = 16
_FACTS = ("dataset.json", "cameras.json", "manifest.json")


@dataclass(eq=False)
class Rooms:
    """A rendered data set: what its three JSON files say, and the numbers of the views of each model."""

    path: Path
    data: Dataset = field(init=False)
    archive: Archive = field(init=False)
    facts: dict[str, dict[str, Any]] = field(init=False)
    models: dict[str, list[int]] = field(init=False)

    def __post_init__(self) -> None:
        """Read them. Raises DatasetError for a data set that knows no cameras or models."""
        self.data, self.archive = Dataset(self.path), Archive(self.path)
        models: dict[str, list[int]] = defaultdict(list)
        try:
            self.facts = {name: json.loads(self.archive.read(name)) for name in _FACTS}
            for number, name in enumerate(self.data.names):
                models[str(self.facts["cameras.json"]["views"][name]["model"])].append(number)
            unknown = sorted(set(models) - set(self.facts["manifest.json"]["models"]))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise DatasetError(
                f"{self.path}: expected {', '.join(_FACTS)} of synthetic.render --stage room, found {error!r}"
            ) from error
        if unknown:
            raise DatasetError(f"{self.path}/manifest.json does not know the model {unknown[0]}")
        self.models = dict(models)

    def in_turn(self) -> Iterator[str]:
        """Models of every class in turn, by name, as long as it has any."""
        classes: dict[int, list[str]] = defaultdict(list)
        for model in sorted(self.models):
            classes[int(self.data.labels[self.models[model][0]])].append(model)
        for row in zip_longest(*(classes[label] for label in sorted(classes))):
            yield from (model for model in row if model is not None)


def main(arguments: list[str] | None = None) -> None:
    """Writes both zips and says what is in them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path, help="rooms to learn from, folder or zip")
    parser.add_argument("held", type=Path, help="rooms of other models to measure on")
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/gpu-data"))
    parser.add_argument("--megabytes", type=float, default=46.0, help="of both (46: the code is 17)")
    parser.add_argument("--held-views", type=int, default=400, help="at least, if there are as many (400)")
    options = parser.parse_args(arguments)
    try:
        pack(options)
    except (GP3DError, OSError) as error:
        sys.exit(f"pack_rooms: {error}")


def pack(options: argparse.Namespace) -> None:
    """Both zips. Raises DatasetError before anything is written, or, where nothing fits, with nothing left behind."""
    if not 0 < options.megabytes <= MOST or options.held_views < 1:
        raise DatasetError(
            f"expected at most {MOST:.1f} megabytes and a held-out view, found {options.megabytes:g} and "
            f"{options.held_views}"
        )
    train, held = Rooms(options.train), Rooms(options.held)
    check_pair(train, held)
    options.out.mkdir(parents=True, exist_ok=True)
    room = 1e6 * options.megabytes
    kept = options.out / "held.zip"
    room -= write(held, kept, room / 2, views=options.held_views, smaller=False)
    write(train, options.out / "rooms.zip", room, views=math.inf, smaller=True)


def check_pair(train: Rooms, held: Rooms) -> None:
    """Raises DatasetError unless one can learn from the first and measure on the second."""
    if train.data.resolution != held.data.resolution:
        raise DatasetError(
            f"{train.path} has {train.data.resolution} px pictures, {held.path} {held.data.resolution} px"
        )
    if shared := sorted(set(train.models) & set(held.models)):
        raise DatasetError(f"{held.path} is not held out: {shared[0]} is in {train.path} as well")
    lost = {c["name"] for c in held.data.classes} - {c["name"] for c in train.data.classes}
    if lost:
        raise DatasetError(f"{train.path} lacks the class {min(lost)!r} of {held.path}")


def write(rooms: Rooms, path: Path, room: float, *, views: float, smaller: bool) -> int:
    """Writes models in turn to the zip `path` until there are so many `views` or `room` bytes; returns its bytes."""
    renamed: dict[str, str] = {}
    models: list[str] = []
    total = min(room, sum(rooms.archive.sizes.values()))
    with (
        replacing(path) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive,  # pictures do not get smaller
        tqdm(desc=path.name, total=int(total), unit="B", unit_scale=True) as bar,
    ):
        for model in rooms.in_turn():
            files = [entry for k in rooms.models[model] for entry in entries(rooms, k, smaller)]
            size = sum(len(content) + 2 * len(name) + _ENTRY for _, name, content in files)
            size += _SAID * len(rooms.models[model])
            if len(renamed) >= views or size > room:
                break
            room -= size
            for _, name, content in files:
                archive.writestr(name, content)
            models.append(model)
            renamed |= {old: new for old, new, _ in files if old}
            bar.update(size)
        if not models:
            raise DatasetError(f"not one model of {rooms.path} fits into what is left, {room / 1e6:.2f} MB")
        for name, facts in about(rooms, renamed, set(models)).items():
            archive.writestr(name, json.dumps(facts), zipfile.ZIP_DEFLATED)
    classes = len({int(rooms.data.labels[rooms.models[model][0]]) for model in models})
    size = path.stat().st_size
    print(f"{path}: {size / 1e6:.1f} MB, {len(models)} models of {classes} classes, {len(renamed)} views")
    return size


def entries(rooms: Rooms, number: int, smaller: bool) -> list[tuple[str, str, bytes]]:
    """Picture and depth of a view: the picture's old name ("" for depth), the new one, and the bytes."""
    name = rooms.data.names[number]
    if not smaller:
        return [(old, new, rooms.archive.read(new)) for old, new in ((name, name), ("", depth_name(name)))]
    image, depth = rooms.data.load(number)
    new = str(Path(name).with_suffix(".webp"))
    picture, below = io.BytesIO(), io.BytesIO()
    Image.fromarray(image).save(picture, "webp", lossless=True, quality=100, method=4)
    Image.fromarray(rounded(depth)).save(below, "png", optimize=True)
    return [(name, new, picture.getvalue()), ("", depth_name(new), below.getvalue())]


def rounded(depth: np.ndarray) -> np.ndarray:
    """Depth uint16 to the nearest of 4096 steps; the largest code, which means background, stays apart."""
    whole = (depth.astype(np.int32) + _DEPTH_STEP // 2) // _DEPTH_STEP * _DEPTH_STEP
    return np.where(depth == BACKGROUND, BACKGROUND, whole.clip(max=STEPS - _DEPTH_STEP)).astype(np.uint16)


def about(rooms: Rooms, renamed: dict[str, str], models: set[str]) -> dict[str, dict[str, Any]]:
    """What the three JSON files say of the chosen views and models, by their new names."""
    dataset, cameras, manifest = (rooms.facts[name] for name in _FACTS)
    rows = {
        key: [[renamed[name], value] for name, value in dataset[key] if name in renamed]
        for key in ("labels", "camera_angles")
        if key in dataset
    }
    views = {renamed[name]: said for name, said in cameras["views"].items() if name in renamed}
    known = {model: said for model, said in manifest["models"].items() if model in models}
    return dict(
        zip(_FACTS, (dataset | rows, cameras | {"views": views}, manifest | {"models": known}), strict=True)
    )


if __name__ == "__main__":
    main()
