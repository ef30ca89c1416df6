"""The snapshots of a comparison, their meshes as `gp3d mesh` makes them, and small facts of both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.datasets.word_table import word_table
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.shapes.objects import class_records, objects_of
from gp3d_core.generation.meshes import write_meshes
from gp3d_core.generation.sampling import open_snapshot
from gp3d_core.meshing.extraction import EmptyMeshError
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import Snapshot

_ANIMAL = "n00015388"  # WordNet's


class ComparisonError(GP3DError):
    """A comparison that cannot be made; the message says why and what to do."""


def parse_names(text: str) -> list[str]:
    """The names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True, eq=False)
class Subject:
    """A snapshot that is measured: the `name` of its column, and the `folder` of what is made of it."""

    name: str
    snapshot: Snapshot
    folder: Path

    @cached_property
    def records(self) -> dict[str, ClassRecord]:
        """Its classes by name."""
        return {str(record["name"]): record for record in class_records(self.snapshot)}


def open_subjects(texts: Sequence[str], out: Path) -> list[Subject]:
    """The snapshots that `texts` name, each [NAME=]PATH; a folder's name holds the hash of its snapshot.

    Raises ComparisonError for two of one name, SnapshotError and RunError for what is no snapshot.
    """
    subjects: list[Subject] = []
    for text in texts:
        name, _, path = text.rpartition("=")
        snapshot = open_snapshot(find_snapshot(Path(path)), "cpu")
        name = name or snapshot.path.stem
        if name in {subject.name for subject in subjects}:
            raise ComparisonError(f"two snapshots are called {name}: write NAME={path} for one of them")
        subjects.append(Subject(name, snapshot, out / f"{_plain(name)}-{snapshot.digest[:8]}"))
    return subjects


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def is_animal(record: Mapping[str, Any]) -> bool:
    """Whether WordNet puts the class below "animal": by its WordNet id, or else by the usual sense of its name."""
    words = word_table()
    if str(record.get("wnid")) in words.number:
        kinds: tuple[int, ...] = (words.number[str(record["wnid"])],)
    else:
        senses = words.senses(str(record["name"]).lower().replace("_", " "))
        kinds = senses[0].kinds if senses else ()
    return any(words.number[_ANIMAL] in words.above(kind) for kind in kinds)


def mesh_folder(subject: Subject, name: str) -> Path:
    """Where the meshes of the class called `name` lie; the folder begins with the number of its label."""
    return subject.folder / "meshes" / f"{int(subject.records[name]['label']):04d}_{_plain(name)}"


def make_meshes(subject: Subject, counts: Mapping[str, int], seed: int, truncation: float) -> dict[str, str]:
    """Why objects of the classes have no mesh, by the name of their files; `counts` objects of each are made.

    They are GLB files with a texture and all other options of `gp3d mesh` as they are; what is there is kept.
    """
    failures = {}
    for name, count in counts.items():
        folder = mesh_folder(subject, name)
        for spec in objects_of(subject.records[name], count, seed):
            if (folder / f"{spec.stem}.glb").exists():
                continue
            try:
                list(write_meshes(subject.snapshot, [spec], folder, formats=["glb"], truncation=truncation))
            except EmptyMeshError as error:
                failures[spec.stem] = str(error)
    return failures


def kept(path: Path, settings: Mapping[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `measure` finds, or what the JSON file at `path` holds if it was found with the same `settings`."""
    wanted = json.loads(json.dumps(dict(settings)))
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["settings"] == wanted:
            return dict(content["found"])
    found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"settings": wanted, "found": found})
    return dict(json.loads(json.dumps(found)))
