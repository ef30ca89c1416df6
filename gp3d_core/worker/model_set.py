"""The models that a worker may be asked for: one that was named, or those that came along, of which two stay loaded."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gp3d_core.datasets.imagenet import ClassRecord, UnknownClassError, choose_class, describe_class
from gp3d_core.generation.combinations import together
from gp3d_core.generation.objects import ObjectSpec, RequestError
from gp3d_core.licences.page import short_credits
from gp3d_core.pretrained import (
    PretrainedError,
    has_pretrained,
    name_of,
    pretrained_path,
    release_of,
    shipped_models,
    shipped_with,
)
from gp3d_core.pretrained.report_cards import report_cards
from gp3d_core.snapshots.catalogue import Catalogue, catalogue
from gp3d_core.snapshots.metadata import SnapshotError, SnapshotFacts
from gp3d_core.snapshots.run_folder import RunError, find_snapshot
from gp3d_core.worker.model_session import CLASS_ADVICE, COMBINE_ADVICE, ModelSession, PlaneCache
from gp3d_core.worker.object_requests import object_of, queries_of
from gp3d_core.worker.protocol import Problem

_KEPT = 2  # models that stay loaded; of the others only the headers are read
_HASH = re.compile(r"[0-9a-f]{8,64}")
_ADVICE = "Name a snapshot file or a run folder."


class ModelSet:
    """Models by their classes, with one cache for the objects of all of them.

    Every layer of their networks calls `check` first, which may raise to stop a job.
    """

    def __init__(self, path: Path | None, device: str, cache_bytes: int, check: Callable[[], None]) -> None:
        """Reads the headers, and loads the first: of the model at `path`, or for None of those that came along.

        Raises Problem: E_NO_WEIGHTS, E_BAD_WEIGHTS or E_DEVICE.
        """
        self.cache = PlaneCache(cache_bytes)
        self._device, self._check = device, check
        self._sessions: OrderedDict[Path, ModelSession] = OrderedDict()
        self.catalogue = _read(path)
        self._first = self._open(self.catalogue.path)

    def facts(self) -> dict[str, Any]:
        """What a `ready` event says of the models and the machine; the snapshot is the first one's."""
        models = [_facts_of(facts) for facts in self.catalogue.models]
        return {**self._first.facts(), "classes": len(self.catalogue.known), "models": models}

    def classes(self) -> list[dict[str, Any]]:
        """The classes, model by model in the order of their labels, with all names that are understood."""
        return [
            describe_class(record) | {"model": name_of(facts.path)} for facts, record in self.catalogue.known
        ]

    def specs(
        self, query: str | None, seeds: Sequence[int], model: str | None = None
    ) -> tuple[ModelSession, list[ObjectSpec], str]:
        """The model that has the class which `query` means, its objects, and which class that is, as a session has it.

        `model` is the name or the SHA-256 of the one that is meant, None for the one that has the class. Raises Problem
        (E_CLASS, or as `__init__`).
        """
        if model is not None:
            session = self._open(self._named(model))
        elif len(self.catalogue.models) == 1 or query is None:
            session = self._open(self.catalogue.path)
        else:
            return self._by_class(query, seeds)
        return session, *session.specs(query, seeds)

    def combined(
        self, wanted: Sequence[Mapping[str, Any]], model: str | None = None
    ) -> tuple[ModelSession, list[ObjectSpec]]:
        """The first model that knows all classes of these objects (docs/serve.md), or the one that is named, and they.

        Raises Problem (E_CLASS, E_COMBINE, or as `__init__`).
        """
        known = self.catalogue if model is None else _read(self._named(model))
        try:
            queries = dict.fromkeys(query for one in wanted for query in queries_of(one))
            labels = {query: _label(known, query) for query in queries}
            owner, records = together(known, list(labels.values()))
            session = self._open(owner.path)

            def named(query: str | None) -> tuple[ClassRecord, int]:
                record = records[labels[query]]
                return record, int(record.get("label", 0))

            return session, [object_of(one, named) for one in wanted]
        except UnknownClassError as error:
            raise Problem("E_CLASS", str(error), CLASS_ADVICE) from error
        except RequestError as error:
            raise Problem("E_COMBINE", str(error), COMBINE_ADVICE) from error

    def forget(self) -> None:
        """Gives back the memory that is held for speed only."""
        self.cache.clear()
        while len(self._sessions) > 1:
            self._sessions.popitem(last=False)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _by_class(self, query: str, seeds: Sequence[int]) -> tuple[ModelSession, list[ObjectSpec], str]:
        try:
            chosen = choose_class(query, self.catalogue.classes)
        except UnknownClassError as error:
            raise Problem("E_CLASS", str(error), CLASS_ADVICE) from error
        [(owner, labels)] = self.catalogue.by_model([chosen.entry.label or 0])
        session = self._open(owner.path)
        return session, session.specs_of(labels, seeds), chosen.note

    def _named(self, model: str) -> Path:
        """The file of the model of that name or SHA-256. Raises Problem (E_NO_WEIGHTS)."""
        for path in [facts.path for facts in self.catalogue.models] + list(self._sessions):
            if name_of(path) == model:
                return path
        for path, session in self._sessions.items():
            if _HASH.fullmatch(model) and session.snapshot.digest.startswith(model):
                return path
        found = pretrained_path(model) if has_pretrained(model) else None
        found = found or (shipped_with(model) if _HASH.fullmatch(model) else None)
        if found is not None:
            return found
        here = ", ".join(
            dict.fromkeys(
                [name_of(facts.path) for facts in self.catalogue.models]
                + [one.name for one in shipped_models(also_named=True)]
            )
        )
        raise Problem("E_NO_WEIGHTS", f"{_in_words(model)} is not here; here are {here}", _ADVICE)

    def _open(self, path: Path) -> ModelSession:
        """The model at `path`, loaded; of those that are, the ones used longest ago go."""
        if path not in self._sessions:
            self._sessions[path] = ModelSession(path, self._device, self.cache, self._check)
        self._sessions.move_to_end(path)
        while len(self._sessions) > _KEPT:
            self._sessions.popitem(last=False)
        return self._sessions[path]


def _label(known: Catalogue, query: str | None) -> int:
    """The label of the class that a text means. Raises UnknownClassError, or Problem (E_CLASS) where none is named."""
    if (query is None) != (not known.classes):
        said = (
            "was trained without classes"
            if query is not None
            else f"knows {len(known.classes)} classes, none was named"
        )
        raise Problem(
            "E_CLASS", f"the model {said}", CLASS_ADVICE if query is None else "Leave the class out."
        )
    # what a worker has said itself, without the time that looking for a word takes
    exact = [
        number for number, (_, record) in enumerate(known.known) if query and record.get("wnid") == query
    ]
    if query is None or len(exact) == 1:
        return exact[0] if exact else 0
    return choose_class(query, known.classes).entry.label or 0


def _read(path: Path | None) -> Catalogue:
    """The headers of the models. Raises Problem (E_NO_WEIGHTS or E_BAD_WEIGHTS)."""
    try:
        if path is None:
            return catalogue()
        file = find_snapshot(path)
        if not file.is_file():
            raise RunError(f"no snapshot at {file}")
        return catalogue(file)
    except (PretrainedError, RunError) as error:
        raise Problem("E_NO_WEIGHTS", str(error), _ADVICE) from error
    except SnapshotError as error:
        raise Problem("E_BAD_WEIGHTS", str(error), "Choose another snapshot.") from error


def _facts_of(facts: SnapshotFacts) -> dict[str, Any]:
    """What `ready` says of a model: name, number of classes, licence, who must be credited, where report cards lie."""
    return {
        "name": name_of(facts.path),
        "classes": len(facts.classes),
        "license": facts.license,
        "credits": short_credits(facts.licences),
        "report_cards": str(report_cards(facts.path) or ""),
    }


def _in_words(model: str) -> str:
    release = release_of(model)
    if release is not None:
        return (
            f"the model {release.now} (SHA-256 {model[:12]}…, {release.classes} classes, which gp3d {release.version} "
            f"called {release.name})"
        )
    return f"the model with SHA-256 {model[:12]}…" if _HASH.fullmatch(model) else f"the model {model}"
