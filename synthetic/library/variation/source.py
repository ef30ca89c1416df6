"""Variants of the models of a library on disk: other proportions, bends and colours, each with its parent's credit.

A model that is a variant itself gets none. The same seed, parent and number give the same variant, in whatever order
and beside whatever others it is made.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synthetic.layouts.licences import UNKNOWN, Credit
from synthetic.layouts.shapenet import LibraryError, Model, ObjectClass, load_library
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.placing import placed
from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import kind_of
from synthetic.library.variation.variants import variant_id, vary
from synthetic.staging.files import ModelFiles
from synthetic.staging.stage import read_surface
from synthetic.staging.treatment import ModelLimits, Treatment

_VARIANT = re.compile(r".*-v\d{2,3}")  # as variant_id names them
MOST_VARIANTS = 999  # of a model
SOURCE_HELP = "a model library, in any layout that synthetic.render reads"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this source."""
    group = parser.add_argument_group("variants")
    group.add_argument(
        "--per-class",
        type=int,
        metavar="N",
        help="as many that each class has N models, those of the library and all their looks and poses among them, "
        "but at most --variants of a model",
    )


def open_source(arguments: argparse.Namespace) -> LibrarySource:
    """The variants of all models of a library. Raises LibraryError."""
    if arguments.variants < 1:
        raise LibraryError("how many variants of each model? give --variants, such as --variants 4")
    if arguments.out.resolve().is_relative_to(arguments.source.resolve()):
        raise LibraryError(
            f"{arguments.out}: is in the library itself; choose another folder for its variants"
        )
    if arguments.per_class is None:
        return LibrarySource(variant_jobs(arguments.source, arguments.variants, arguments.seed))
    if arguments.per_class < 1:
        raise LibraryError(f"--per-class must be at least 1, found {arguments.per_class}")
    models = load_library(arguments.source)
    jobs = filling_jobs(models, arguments.per_class, arguments.variants, arguments.seed)
    return LibrarySource(jobs, classes={model.object_class for model in models})


def variant_jobs(
    library: Path, count: int, seed: int, parents: Collection[str] | None = None
) -> list[LibraryJob]:
    """Jobs for variants 1 to `count` of the models of a library, or of the `parents` among them, by key.

    Raises LibraryError where there is no library.
    """
    jobs = []
    for model in load_library(library):
        credit = model.credit or Credit("", UNKNOWN, "", "none")
        if credit.parent or (parents is not None and model.key not in parents):
            continue
        for number in range(1, count + 1):
            make = _Maker(model, credit, VariantSeed(seed, model.key, number))
            jobs.append(
                LibraryJob(variant_id(model.identifier, number), model.object_class, make, credit.licence)
            )
    return jobs


def filling_jobs(library: Sequence[Model], wanted: int, most: int, seed: int) -> list[LibraryJob]:
    """Jobs for variants that bring every class of a library to `wanted` models, at most `most` of each model.

    Models that are not variants themselves take turns, looks and poses among them.
    """
    of_class: dict[ObjectClass, list[Model]] = {}
    for model in library:
        if not _is_variant(model):
            of_class.setdefault(model.object_class, []).append(model)
    jobs = []
    for object_class, models in of_class.items():
        missing = max(wanted - len(models), 0)
        for place, model in enumerate(models):
            credit = model.credit or Credit("", UNKNOWN, "", "none")
            for number in range(1, min(most, -((place - missing) // len(models))) + 1):
                make = _Maker(model, credit, VariantSeed(seed, model.key, number))
                jobs.append(
                    LibraryJob(variant_id(model.identifier, number), object_class, make, credit.licence)
                )
    return jobs


def _is_variant(model: Model) -> bool:
    """Whether this program made the model of another; looks and poses of a source are none."""
    return bool(model.parent and _VARIANT.fullmatch(model.identifier))


@dataclass(frozen=True)
class _Maker:
    """Reads a parent and makes one of its variants."""

    model: Model
    credit: Credit
    seed: VariantSeed

    def __call__(self, workspace: Path) -> LibraryModel:
        model = self.model
        files = ModelFiles(model.path, model.folder, workspace / "parent", ModelLimits())
        surface, _ = read_surface(files, Treatment())
        parent = LibraryModel(placed(surface, model.placement.rotation()), self.credit)
        made = vary(parent, kind_of(model.object_class), self.seed, workspace)
        if not model.parent:
            return made
        return replace(
            made, credit=replace(made.credit, parent=model.parent)
        )  # the library may lack the pose
