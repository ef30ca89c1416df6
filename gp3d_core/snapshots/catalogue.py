"""Which models may be asked for a class, and which of them has it: read from the headers of their files, without torch.

Where no model is named these are the ones that come along, in the order of gp3d_core.pretrained; a class that several
know is that of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.licences.page import short_credits
from gp3d_core.pretrained import name_of, shipped_models
from gp3d_core.snapshots.metadata import SnapshotFacts, read_snapshot_facts
from gp3d_core.snapshots.run_folder import find_snapshot


@dataclass(frozen=True)
class Catalogue:
    """The classes of several models as if one model knew them all.

    `classes` are records whose label counts through all of them; a model's own records are those of its facts.
    """

    models: tuple[SnapshotFacts, ...]

    @property
    def path(self) -> Path:
        """The file of the first model."""
        return self.models[0].path

    @property
    def classes(self) -> list[ClassRecord]:
        """The records of all classes, each once."""
        return [{**record, "label": label} for label, (_, record) in enumerate(self.known)]

    @cached_property
    def known(self) -> list[tuple[SnapshotFacts, ClassRecord]]:
        """Of every class the model that has it and the record there."""
        found: dict[str, tuple[SnapshotFacts, ClassRecord]] = {}
        for model in self.models:
            for record in model.classes:
                identity = _identity(record) if len(self.models) > 1 else str(record["label"])
                found.setdefault(identity, (model, record))
        return list(found.values())

    def by_model(self, labels: Iterable[int]) -> list[tuple[SnapshotFacts, set[int]]]:
        """The models that have the classes with these `labels`, in order, each with the labels that it gives them."""
        wanted = [self.known[label] for label in set(labels)]
        chosen = [
            (model, {record["label"] for owner, record in wanted if owner is model}) for model in self.models
        ]
        return [(model, own) for model, own in chosen if own]

    def records_in(self, model: SnapshotFacts, labels: Iterable[int]) -> dict[int, ClassRecord]:
        """Of the classes with these `labels` those that `model` knows, by label, and its own records of them."""
        if not self.known:
            return {label: {"name": "object"} for label in labels}
        if len(self.models) == 1:
            return {label: self.known[label][1] for label in labels}
        own = {_identity(record): record for record in model.classes}
        wanted = {label: _identity(self.known[label][1]) for label in labels}
        return {label: own[identity] for label, identity in wanted.items() if identity in own}


def _identity(record: ClassRecord) -> str:
    """What two models call the same class by: its WordNet id, or its name."""
    return record.get("wnid") or " ".join(record["name"].casefold().split())


def catalogue(named: Path | None = None) -> Catalogue:
    """The model that is `named`, as `find_snapshot` finds it; for None those that come along and may be asked.

    Raises PretrainedError where there is none, else as `read_snapshot_facts`.
    """
    paths = [one.path for one in shipped_models()] if named is None else []
    return Catalogue(tuple(map(read_snapshot_facts, paths or [find_snapshot(named)])))


def duty(model: SnapshotFacts, classes: Sequence[str]) -> str:
    """What to know of `classes` that a model makes which owes somebody credit, in one line; "" where none is owed."""
    credits = short_credits(model.licences)
    if not credits:
        return ""
    name = name_of(model.path)
    named = ", ".join(classes[:3]) + f" and {len(classes) - 3} more" * (len(classes) > 3)
    terms = f"licence {model.license}" if model.license else "its licence is not stated"
    return f"{named}: made by the model {name} ({terms}). {credits} gp3d card {name} says what is owed"
