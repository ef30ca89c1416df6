"""The folder DATASET/points as docs/dataset.md describes it: how its points are drawn, and which models they are of.

points.json      what all files have in common; other points are refused
models.jsonl     {"model", "class", "split", perhaps "parent" and "licence"} of each model that has points
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from synthetic.atomic import content_of, write_whole
from synthetic.dataset import DatasetError, make_folder
from synthetic.layouts.licences import CreditRecord
from synthetic.layouts.shapenet import ClassRecord, Model, Split, split_of
from synthetic.staging.treatment import Treatment

_FORMAT = "gp3d-points"
_VERSION = 1
_FEWEST, _MOST = 6, 200_000  # the most take a worker about 1 GB
_ORDER = "morton"  # of points on the surface

# A line of models.jsonl; "class" is a keyword of Python.
_ClassOfModel = TypedDict("_ClassOfModel", {"class": ClassRecord})


class PointsModelRecord(_ClassOfModel):
    """A model that has points: what it shows, on which side of the split it is, whose it is."""

    model: str
    split: Split
    parent: NotRequired[str]  # only of variants
    licence: NotRequired[CreditRecord]  # only where the library states licences


@dataclass(frozen=True, kw_only=True)
class PointsSpec:
    """How many `points` are drawn for every model, and how many on its `surface`, by which `seed`, into which folder.

    `thin` is the share of the points near and on the surface that is drawn the more often the thinner the part.
    `treatment` says what becomes of transparent parts, cut-outs and colours that are missing, which only points on
    the surface have.
    """

    out: Path
    points: int = 8192
    surface: int = 0
    thin: float = 0.0
    seed: int = 0
    treatment: Treatment = field(default_factory=lambda: Treatment(missing_textures="color"))

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if not _FEWEST <= self.points <= _MOST:
            raise ValueError(f"--points must lie between {_FEWEST} and {_MOST}, found {self.points}")
        if not 0 <= self.surface <= _MOST:
            raise ValueError(f"--surface must lie between 0 and {_MOST}, found {self.surface}")
        if not 0 <= self.thin <= 1:
            raise ValueError(f"--thin must lie between 0 and 1, found {self.thin:g}")
        if self.seed < 0:
            raise ValueError(f"--seed must be 0 or more, found {self.seed}")

    def path(self, model: Model) -> Path:
        """The file of a model's points."""
        return self.out / f"{model.key}.npz"

    def as_json(self) -> dict[str, object]:
        """What points.json says of the points."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "points": self.points,
            "surface": self.surface,
            "seed": self.seed,
            "transparent": self.treatment.transparent,
            "cutouts": self.treatment.cutouts,
            **({"thin": self.thin} if self.thin else {}),
            **({"surface_order": _ORDER} if self.surface else {}),
        }


def check_points_place(folder: Path) -> None:
    """Makes sure, before anything is written, that `folder` is new, empty, or holds points. Raises DatasetError."""
    if not folder.is_dir() or (folder / "points.json").exists():
        return
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if names:
        raise DatasetError(
            f"{folder}: holds {names[0]!r} and no points.json; choose another data set or move it"
        )


def open_points(spec: PointsSpec) -> None:
    """Makes sure that the folder can take these points. Raises DatasetError where it holds others."""
    make_folder(spec.out)
    path = spec.out / "points.json"
    wanted = spec.as_json()
    usual = {
        "surface": 0,
        "transparent": "remove",
        "cutouts": "cut",
    }  # where an older version did not write it
    if path.exists():
        try:
            found = json.loads(content_of(path))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path}: is not readable as JSON ({error}); choose another folder") from None
        if not isinstance(found, dict) or {**usual, **found} != wanted:
            raise DatasetError(
                f"{path}: expected {wanted}, found {found}; ask for the same or choose another folder"
            )
    else:
        write_whole(path, (json.dumps(wanted) + "\n").encode())


def check_treatment(dataset: Path, treatment: Treatment) -> None:
    """Makes sure that renders that are there already show of the models what the points will. Raises DatasetError."""
    path = dataset / "dataset.json"
    if not path.exists():
        return
    try:
        index = json.loads(content_of(path))
        rendered = Treatment(**index["generator"]["settings"].get("treatment", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: is not readable as the index of a data set ({error!r}); render again"
        ) from None
    for option in ("transparent", "cutouts"):
        found, wanted = getattr(rendered, option), getattr(treatment, option)
        if found != wanted:
            raise DatasetError(
                f"{path}: was rendered with --{option} {found} (asked for: {wanted}); ask for the same"
            )


def check_frames(dataset: Path, models: Sequence[Model]) -> None:
    """Makes sure that renders that are there already stand as the points will. Raises DatasetError."""
    path = dataset / "manifest.json"
    if not path.exists():
        return
    try:
        rendered = json.loads(content_of(path))["models"]
        places = {
            model.key: np.array(rendered[model.key]["to_world"]) for model in models if model.key in rendered
        }
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path}: is not readable as a manifest ({error!r}); render again") from None
    for model in models:
        if model.key in places:
            turn = places[model.key][:3, :3]
            scale = np.linalg.norm(turn[0]) if model.placement.normalise else 1.0
            if not np.allclose(turn / scale, model.placement.rotation(), atol=1e-6):
                raise DatasetError(
                    f"{path}: {model.key} was rendered with another --front, --up or --normalise; ask for the same"
                )


def records_of(models: Sequence[Model]) -> dict[str, PointsModelRecord]:
    """What models.jsonl says of models, by key."""
    records: dict[str, PointsModelRecord] = {}
    for model in models:
        record: PointsModelRecord = {
            "model": model.key,
            "class": model.object_class.as_json(),
            "split": split_of(model.key, model.parent),
        }
        if model.parent:
            record["parent"] = model.parent
        if model.credit:
            record["licence"] = model.credit.as_json()
        records[model.key] = record
    return records


def read_models(folder: Path) -> dict[str, PointsModelRecord]:
    """The models that have points in a folder, by key, as its models.jsonl says. Raises DatasetError."""
    path = folder / "models.jsonl"
    records: dict[str, PointsModelRecord] = {}
    try:
        for line in content_of(path).splitlines() if path.exists() else ():
            record: PointsModelRecord = json.loads(line)
            key, _ = record["model"], record["class"]["wnid"]
            records[key] = record
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: is damaged ({error!r}); remove it and make the points again of all their libraries"
        ) from None
    return records


def join_models(
    folder: Path, known: Mapping[str, PointsModelRecord], models: Sequence[Model]
) -> dict[str, PointsModelRecord]:
    """What models.jsonl says of the models of a folder and of more of them.

    Raises DatasetError where one of a name, or a class, is another one already.
    """
    classes = {record["class"]["wnid"]: record["class"] for record in known.values()}
    joined = dict(known)
    for key, record in records_of(models).items():
        if joined.setdefault(key, record) != record:
            raise DatasetError(
                f"{folder}: holds points of another {key}, of other class, origin or licence; rename one or choose "
                "another folder"
            )
        wnid = record["class"]["wnid"]
        if classes.setdefault(wnid, record["class"]) != record["class"]:
            raise DatasetError(
                f"{folder}: {key} says {record['class']} while models that are there say {classes[wnid]}; make the "
                "classes of the libraries agree"
            )
    return joined


def write_models(folder: Path, records: Mapping[str, PointsModelRecord]) -> None:
    """Writes models.jsonl of those that have points."""
    lines = [
        json.dumps(record, ensure_ascii=False) + "\n"
        for key, record in sorted(records.items())
        if (folder / f"{key}.npz").exists()
    ]
    write_whole(folder / "models.jsonl", "".join(lines).encode())
