"""What all parts of a comparison share: snapshots, real models by class, which classes count, and the rows so far."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.comparison.references import part_of_libraries, render
from benchmarks.comparison.subjects import ComparisonError, Subject, make_meshes, mesh_folder
from benchmarks.comparison.table import Row
from gp3d_core.evaluation.shapes.scores import Reference

RESOLUTION = 256  # of renders that are measured


@dataclass(eq=False)
class Comparison:
    """All that the parts share: snapshots, references by class, and what the command line says."""

    subjects: list[Subject]
    references: dict[str, Reference]
    options: argparse.Namespace
    rows: list[Row] = field(default_factory=list)

    @cached_property
    def shared(self) -> list[str]:
        """Names of the classes that all snapshots know, and that have references."""
        return [n for n in self.references if all(n in subject.records for subject in self.subjects)]

    def subject(self, name: str) -> Subject:
        """The snapshot called `name`. Raises ComparisonError if there is none."""
        for subject in self.subjects:
            if subject.name == name:
                return subject
        raise ComparisonError(
            f"no snapshot is called {name!r}; expected one of {[s.name for s in self.subjects]}"
        )

    def own(self, subject: Subject) -> list[str]:
        """Names of the classes with references that a snapshot knows."""
        return [name for name in self.references if name in subject.records]

    def scopes(
        self, chosen: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> dict[str, dict[str, list[str]]]:
        """By title the classes that count for each snapshot, those `chosen` alone: shared ones, then each one's own.

        Its own are left out where no snapshot knows more than all of them do.
        """

        def few(subject: Subject, names: Sequence[str]) -> list[str]:
            return [n for n in names if chosen is None or chosen(subject.records[n])]

        kind = "" if chosen is None else " animals"
        shared = {s.name: few(s, self.shared) for s in self.subjects}
        own = {s.name: few(s, self.own(s)) for s in self.subjects}
        count = len(next(iter(shared.values())))
        found = {f"shared{kind} ({count})": shared}
        if own != shared:
            sizes = " / ".join(str(len(names)) for names in own.values())
            found[f"its own{kind} ({sizes})"] = own
        return found

    def add(
        self, measure: str, scope: str, better: str, values: Mapping[str, float | None], **more: Any
    ) -> None:
        """One row, which is printed as well."""
        row = Row(measure=measure, scope=scope, better=better, values=dict(values), **more)
        self.rows.append(row)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)
        print(f"{measure}, {scope}: {shown}", flush=True)

    def half(self, which: str) -> Path:
        """The data set of renders of the references (`models`), or of the `others`."""
        folder: Path = self.options.out / which
        models = [model for reference in self.references.values() for model in getattr(reference, which)]
        library = part_of_libraries(self.options.references, models, folder / "models")
        render(library, folder / "views", self.options.views, RESOLUTION)
        return folder / "views"

    def renders(self, subject: Subject) -> tuple[Path, dict[str, dict[str, str]]]:
        """The data set of renders of a snapshot's meshes, and what its classes are called there."""
        counts = {name: len(self.references[name].models) for name in self.own(subject)}
        failures = make_meshes(subject, counts, self.options.seed, self.options.truncation)
        for stem, why in failures.items():
            print(f"{subject.name}: {stem} has no mesh: {why}", file=sys.stderr)
        out = subject.folder / "views"
        render(subject.folder / "meshes", out, self.options.views, RESOLUTION)
        return out, {name: {"wnid": mesh_folder(subject, name).name} for name in counts}

    def real_records(self) -> dict[str, Mapping[str, Any]]:
        """The classes of the references as a snapshot calls them."""
        return {n: next(s.records[n] for s in self.subjects if n in s.records) for n in self.references}
