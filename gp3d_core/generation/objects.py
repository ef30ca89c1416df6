"""Which objects are asked for: classes and seeds, checked against what a model knows; quick, without torch."""

from __future__ import annotations

import hashlib
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from gp3d_core.atomic import check_writable
from gp3d_core.errors import GP3DError
from gp3d_core.meshing.files.formats import FORMATS, check_libraries

if TYPE_CHECKING:
    from gp3d_core.datasets.imagenet import ClassRecord
    from gp3d_core.meshing.options import MeshOptions
    from gp3d_core.snapshots.catalogue import Catalogue
    from gp3d_core.snapshots.metadata import SnapshotFacts

DEFAULT_TRUNCATION = 0.7  # between the most typical object, 0, and all that a model can do, 1
MOST_TRUNCATION = 2.0  # above 1 objects are exaggerated; recipes of version 1 may say so
MOST_SEEDS = 10_000  # of one range
MOST_PARENTS = 64  # that an object is combined from
SHARE_ERROR = 1e-6  # by which shares of parents may miss 1


class KnowsClasses(Protocol):
    """A model, or what the header of its file says: where it lies, and the records of its classes."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def classes(self) -> list[ClassRecord]:
        """Records as in docs/dataset.md, in the order of their labels; empty without classes."""


Recipe = TypedDict(  # what made a mesh, docs/meshing.md; files may hold further keys, which are kept
    "Recipe",
    {
        "format": str,
        "version": int,
        "class": "ClassRecord",
        "seed": int,
        "truncation": float,
        "snapshot": str,
        "snapshot_sha256": str,
        "snapshot_path": str,
        "snapshot_classes": int,
        "nimg": int,
        "grid": int,
        "parents": list[dict[str, Any]],
        "late_from": int,
        "level": float,
        "raw_level": float,
        "faces": int,
        "dropped": int,
        "dropped_area": float,
        "psnr": float | None,
        "iou": float,
        "versions": dict[str, str],
    },
    total=False,
)


class RequestError(GP3DError):
    """A class, seed or option that cannot be generated; the message says what is possible."""


@dataclass(frozen=True)
class Parent:
    """An object that another is combined from: its class record and label, its seed, and its shares, 0 to 1.

    `early` is its share of the style codes of coarse layers, which say most about the shape, `late` its share of the
    others, which say most about colours.
    """

    record: ClassRecord
    label: int
    seed: int
    early: float = 1.0
    late: float = 1.0


@dataclass(frozen=True)
class ObjectSpec:
    """One object to make: a class record of the snapshot, without ratings, its label, and a seed.

    With `parents` its style codes are their weighted sum, and class and seed are those of the parent with the largest
    share of the shape; late codes are those from number `late_from` on, None for what is usual (docs/combinations.md).
    """

    record: ClassRecord
    label: int
    seed: int
    parents: tuple[Parent, ...] = ()
    late_from: int | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells objects of one model apart, for caches."""
        shares = tuple((one.label, one.seed, one.early, one.late) for one in self.parents)
        return self.label, self.seed, shares, self.late_from

    @property
    def stem(self) -> str:
        """File name without suffix, e.g. coffee_mug-0003, of a combined one with letters that say of which parents."""
        name = re.sub(r"[^a-z0-9]+", "_", str(self.record.get("name", "object")).lower()).strip("_")
        mark = hashlib.sha256(repr(self.identity[2:3]).encode()).hexdigest()[:8] if self.parents else ""
        return f"{name}-{self.seed:04d}" + f"-{mark}" * bool(mark)


def object_specs(
    model: KnowsClasses,
    classes: Sequence[str] | None,
    seeds: Sequence[int],
    report: Callable[[str], object] | None = None,
) -> list[ObjectSpec]:
    """All classes × seeds; None for `classes` means all that the model knows, commas separate several in a text.

    `report` hears which class was taken for a word that is not its name: "mug → coffee mug". Raises
    UnknownClassError, with what there is instead, for a class that the model does not know.
    """
    from gp3d_core.datasets.imagenet import choose_classes  # not before it is needed: help is instant

    if not model.classes:
        if classes:
            raise RequestError(f"{model.path} was trained without classes; leave `classes` out")
        return [ObjectSpec({"name": "object"}, 0, seed) for seed in seeds]
    if not classes:
        return specs_of_labels(model, range(len(model.classes)), seeds)
    chosen = choose_classes(classes, model.classes)
    for choice in chosen:
        if choice.note and report is not None:
            report(choice.note)
    return specs_of_labels(model, {choice.entry.label for choice in chosen}, seeds)


def specs_by_model(
    catalogue: Catalogue,
    classes: Sequence[str] | None,
    seeds: Sequence[int],
    report: Callable[[str], object] | None = None,
) -> list[tuple[SnapshotFacts, list[ObjectSpec]]]:
    """All classes × seeds, as `object_specs` chooses them, by the model of the `catalogue` that makes them."""
    if not catalogue.classes:
        return [(catalogue.models[0], object_specs(catalogue, classes, seeds))]
    labels = [spec.label for spec in object_specs(catalogue, classes, seeds[:1], report)]
    return [(model, specs_of_labels(model, own, seeds)) for model, own in catalogue.by_model(labels)]


def specs_of_labels(
    model: KnowsClasses, labels: Collection[int | None], seeds: Sequence[int]
) -> list[ObjectSpec]:
    """All classes with one of the `labels` × seeds, in the order of the model's classes."""
    from gp3d_core.datasets.imagenet import unrated  # not before it is needed: help is instant

    records = [record for record in model.classes if record["label"] in labels]
    return [ObjectSpec(unrated(record), int(record["label"]), seed) for record in records for seed in seeds]


def spec_of_recipe(model: KnowsClasses, recipe: Recipe) -> ObjectSpec:
    """The object that a recipe names. Raises RequestError if the model does not know its class, or one of a parent."""
    label = _label_in(model, recipe["class"])
    whole_seed(recipe["seed"])
    parents = tuple(
        Parent(
            one["class"], _label_in(model, one["class"]), whole_seed(one["seed"]), one["early"], one["late"]
        )
        for one in recipe.get("parents", ())
    )
    return ObjectSpec(recipe["class"], label, recipe["seed"], parents, recipe.get("late_from"))


def _label_in(model: KnowsClasses, record: ClassRecord) -> int:
    """The label of the class that a recipe names. Raises RequestError if the model does not know it."""
    from gp3d_core.datasets.imagenet import unrated  # not before it is needed: help is instant

    if not model.classes:
        return 0
    known = [unrated(one) for one in model.classes]
    if record not in known:
        raise RequestError(f"{model.path} does not know the recipe's class {record.get('name') or record}")
    return known.index(record)


def whole_seed(seed: int) -> int:
    """The seed as Python's int. Raises RequestError for what is no whole number of at least 0."""
    try:
        whole = operator.index(seed)
    except TypeError:
        whole = -1
    if whole < 0:
        raise RequestError(f"`seed`: expected a whole number of at least 0, found {seed!r}")
    return whole


def check_mesh_file(out: Path, textured: bool = True) -> None:
    """Raises RequestError unless a mesh can become the file `out`, LibraryError without the library of its format.

    An OBJ file comes with its material and, if it is `textured`, a picture beside it; they must not replace files that
    are no parts of an earlier `out`.
    """
    suffix = out.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise RequestError(f"expected a name in .{', .'.join(FORMATS)} for a mesh, found {out}")
    check_libraries([suffix])
    if suffix == "obj" and not out.exists():
        for part in [out.with_suffix(".png")] * textured + [out.with_suffix(".mtl")]:
            if part.exists():
                raise RequestError(f"{part} is there, and is no part of {out.name}; give another name")


def check_mesh_files(out: Path, formats: Sequence[str], compress: str = "none") -> None:
    """Raises RequestError unless every one of `formats` can be written and `out` can be a folder.

    Raises LibraryError without the library of a format, or of a compression of glb.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise RequestError(f"`formats` {unknown[0] or '(empty)'}: expected {', '.join(FORMATS)}")
    check_libraries([*formats, compress] if "glb" in formats else formats)
    if out.suffix.lower().removeprefix(".") in FORMATS or out.is_file():
        raise RequestError(
            f"`out` {out}: expected a folder, found the name of a file; choose files with `formats`"
        )
    check_writable(out)


def check_asset_options(objects: Sequence[ObjectSpec], options: MeshOptions) -> None:
    """Raises LibraryError, or UnknownSizeError for a class without a real size, where an option cannot be had."""
    from gp3d_core.assets.real_sizes import known_size  # not before it is needed: help is instant

    wanted = {"quads": options.quads is not None, "collision": (options.collision or 1) > 1}
    check_libraries(name for name, asked in wanted.items() if asked)
    for spec in objects:
        known_size(spec.record, needed=options.size == "real")


def check_sheet(out: Path) -> None:
    """Raises RequestError unless `out` is the name of a picture that a sheet can be."""
    if out.suffix.lower() != ".png":
        raise RequestError(f"`out` {out}: a sheet is a .png; films are made with `kind` turntable and others")
    if out.is_dir():
        raise RequestError(f"`out` {out}: expected the name of a picture, found a folder")
    check_writable(out.parent)
