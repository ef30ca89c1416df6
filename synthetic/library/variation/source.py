"""Variants of the models of a library on disk: other proportions, bends and colours, each with its parent's credit.

A model that is a variant itself gets none. The same seed, parent and number give the same variant, in whatever order
and beside whatever others it is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from synthetic.layouts.licences import UNKNOWN, Credit
from synthetic.layouts.shapenet import LibraryError, Model, load_library
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.placing import placed
from synthetic.library.variation.draws import VariantSeed
from synthetic.library.variation.kinds import kind_of
from synthetic.library.variation.variants import variant_id, vary
from synthetic.staging.files import ModelFiles
from synthetic.staging.stage import read_surface
from synthetic.staging.treatment import ModelLimits, Treatment

MOST_VARIANTS = 999  # of a model
SOURCE_HELP = "a model library, in any layout that synthetic.render reads"


def add_options(parser: argparse.ArgumentParser) -> None:
    """This source has no options of its own."""


def open_source(arguments: argparse.Namespace) -> LibrarySource:
    """The variants of all models of a library. Raises LibraryError."""
    if arguments.variants < 1:
        raise LibraryError("how many variants of each model? give --variants, such as --variants 4")
    if arguments.out.resolve().is_relative_to(arguments.source.resolve()):
        raise LibraryError(
            f"{arguments.out}: is in the library itself; choose another folder for its variants"
        )
    return LibrarySource(variant_jobs(arguments.source, arguments.variants, arguments.seed))


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
        return vary(parent, kind_of(model.object_class), self.seed, workspace)
