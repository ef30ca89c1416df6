"""Which real models snapshots are compared with, and views of models, all by the same cameras in the same light."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.comparison.subjects import ComparisonError, Subject
from benchmarks.programs import call
from gp3d_core.atomic import write_json
from gp3d_core.datasets import depth_codes
from gp3d_core.evaluation.shapes.library import Model, read_library
from gp3d_core.evaluation.shapes.scores import Reference, references
from gp3d_core.evaluation.true_views import TruthViews
from synthetic.layouts.shapenet import load_library, split_of

# A circle's thirds, from a little above, without chance: of every model the same sides, in every set of models.
CAMERAS = ("--preset", "turntable", "--turn", "3", "--yaw", "0.6", "0", "--pitch", "1.22", "0")
# Around the front, as the first renders of the pretrained model's own data: for a classifier of one view a model
AROUND_THE_FRONT = ("--preset", "turntable", "--turn", "3", "--yaw", "0", "0.8", "--pitch", "1.22", "0.25")


def read_libraries(libraries: Sequence[Path], split: Literal["all", "test"] = "all") -> list[Model]:
    """The models of all `libraries`, or those of the tenth that is kept for tests (docs/dataset.md), variants with it.

    Raises ComparisonError for a library in another layout than that of ShapeNetCore.v2 and for two models of one key,
    LibraryError for a folder without models.
    """
    models = [model for library in libraries for model in read_library(library)]
    plain = [model.path for model in models if not model.turned]
    if plain:
        raise ComparisonError(
            f"{plain[0]}: expected the layout of ShapeNetCore.v2, as synthetic.shapes and synthetic.library write it"
        )
    keys = Counter(model.key for model in models)
    if twice := [key for key, count in keys.items() if count > 1]:
        raise ComparisonError(f"{twice[0]} is in two of the libraries; leave one of them out")
    if split == "all":
        return models
    kept = {model.key for model in load_library(*libraries) if split_of(model.key, model.parent) == split}
    return [model for model in models if model.key in kept]


def choose_references(
    subjects: Sequence[Subject],
    models: Sequence[Model],
    per_class: int,
    seed: int,
    wanted: Sequence[str] = (),
) -> dict[str, Reference]:
    """For every class of the snapshots, or those `wanted`, by name: models to compare with, and others for the floor.

    Both halves have at most `per_class` of the `models`; classes with fewer than four are left out. Raises
    ComparisonError for a class that no snapshot knows, LibraryError if no class has models.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for subject in subjects:
        known |= {name: record for name, record in subject.records.items() if name not in known}
    if unknown := set(wanted) - known.keys():
        raise ComparisonError(
            f"no snapshot knows the class {min(unknown)!r}; expected names such as {min(known)!r}"
        )
    names = [name for name in known if not wanted or name in wanted]
    numbered = [{**known[name], "label": place} for place, name in enumerate(names)]
    chosen, without = references(numbered, models, per_class * len(names), seed)
    if without:
        print(f"too few models to compare with: {', '.join(without)}", file=sys.stderr)
    return {names[place]: reference for place, reference in chosen.items()}


def part_of_libraries(libraries: Sequence[Path], models: Sequence[Model], folder: Path) -> Path:
    """A library in `folder` of some models of others; files are the same ones where the disk allows that."""
    folder.mkdir(parents=True, exist_ok=True)
    named = [json.loads(path.read_text(encoding="utf-8")) for path in _beside(libraries, "classes.json")]
    write_json(folder / "classes.json", {key: record for classes in named for key, record in classes.items()})
    synsets = [json.loads(path.read_text(encoding="utf-8")) for path in _beside(libraries, "taxonomy.json")]
    entries = {entry["synsetId"]: entry for taxonomy in synsets for entry in taxonomy}
    if entries:  # ShapeNetCore's categories are known without it, unless there is one
        write_json(folder / "taxonomy.json", list(entries.values()))
    for model in models:
        if not (folder / model.key).exists():
            shutil.copytree(model.path.parents[1], folder / model.key, copy_function=_same_file)
    return folder


def _beside(libraries: Sequence[Path], name: str) -> list[Path]:
    return [library / name for library in libraries if (library / name).exists()]


def _same_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)


def render(
    models: Path | Sequence[Path], out: Path, views: int, resolution: int, cameras: Sequence[str] = CAMERAS
) -> None:
    """Renders what is missing of one library's models, or several's, in the data set `out`. Raises ProgramError."""
    wanted = ("--views", views, "--resolution", resolution, "--workers", 1, "--seed", 0)
    libraries = [models] if isinstance(models, Path) else models
    call("synthetic.render", *libraries, out, *cameras, *wanted)


def pictures(views: TruthViews, record: Mapping[str, Any], *, first: bool = False) -> tuple[Tensor, Tensor]:
    """Images uint8 [N,3,R,R] of the class that a record names, and where the object is, bool [N,R,R].

    `first` leaves all but the first view of each model out.
    """
    chosen = [index for index in views.of_class(record) if not first or _is_first(views, index)]
    loaded = [views.dataset.load(index) for index in chosen]
    if not loaded:
        size = views.dataset.resolution
        return torch.empty(0, 3, size, size, dtype=torch.uint8), torch.empty(0, size, size, dtype=torch.bool)
    images = torch.from_numpy(np.stack([image for image, _ in loaded])).permute(0, 3, 1, 2)
    return images, torch.from_numpy(np.stack([codes != depth_codes.BACKGROUND for _, codes in loaded]))


def _is_first(views: TruthViews, index: int) -> bool:
    return Path(views.dataset.names[index]).stem.endswith("_000")
