"""The folder that packing writes: its settings, its progress, and what it holds in the end.

```text
pack.json        settings and source; with it alone the folder is unfinished
origins.jsonl    of each picture: its source, size, the part that was taken, hashes; one JSON object a line
failures.jsonl   what could not be used and why, one {source, reason} a line; only if there is any
duplicates.json  pictures that are there twice, or nearly
dataset.json     the index, written last (docs/dataset.md); card.json, README.md
```
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gp3d_core.atomic import forget_leftovers, is_leftover, replacing, take_lock, write_json, write_text
from gp3d_core.datasets.archive import HEADER, UNFINISHED
from gp3d_core.errors import GP3DError
from gp3d_core.preparation.framing import Box, Frame, onto

LOCK = ".lock"  # of a data set: what writes into its folder
ORIGINS, FAILURES, DUPLICATES = "origins.jsonl", "failures.jsonl", "duplicates.json"
_FORMAT, _VERSION = "gp3d-pack", 1


@dataclass(frozen=True)
class Origin:
    """Where a packed image comes from: the path in its source, the upright picture's `size`, the `box` taken."""

    source: str
    size: tuple[int, int]
    box: Box

    def frame(self, resolution: int) -> Frame:
        """How the picture was framed, for what lies over it."""
        return onto(self.box, resolution)


class PackError(GP3DError):
    """Packing that cannot begin or go on; what has been packed is kept."""


class PackedFolder:
    """A data set while it is packed, held against other processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Begins a new folder or goes on with one begun with the same `facts`; PackError for any other."""
        known = self.path / UNFINISHED
        if self.path.exists() and not self.path.is_dir():
            raise PackError(f"{self.path} is a file; choose a folder, or a name that ends in .zip")
        if not known.exists() and self.path.exists() and any(map(_is_foreign, self.path.iterdir())):
            raise PackError(f"{self.path} holds other files; choose a new or empty folder, or a .zip")
        self.path.mkdir(parents=True, exist_ok=True)
        self._locked = take_lock(self.path / LOCK)
        if self._locked is None:
            raise PackError(f"another process packs into {self.path}; wait for it, or choose another")
        forget_leftovers(self.path)
        if known.exists():
            compare(read_facts(known.read_bytes(), str(known)), facts, self.path)
        else:
            write_json(known, {"format": _FORMAT, "version": _VERSION, **facts})

    @property
    def finished(self) -> bool:
        """Whether the index has been written."""
        return (self.path / HEADER).exists()

    def origins(self) -> dict[str, dict[str, Any]]:
        """What is known of the pictures packed so far, by path; a line that a crash cut short is not."""
        path = self.path / ORIGINS
        rows = {}
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
            try:
                row = json.loads(line)
                rows[str(row["image"])] = row
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        return rows

    def forget_leftovers(self, folders: Iterable[str]) -> None:
        """Makes the `folders` and removes what a killed worker left in them."""
        for folder in folders:
            (self.path / folder).mkdir(exist_ok=True)
            forget_leftovers(self.path / folder)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds pictures to what is known."""
        with (self.path / ORIGINS).open("a+b") as file:
            if file.tell() and _ends_torn(file.fileno(), file.tell()):
                file.write(b"\n")
            file.write("".join(_line(row) for row in rows).encode())

    def write_failures(self, failures: Mapping[str, str]) -> None:
        """Replaces failures.jsonl; without a failure there is none."""
        path = self.path / FAILURES
        if failures:
            rows = [{"source": key, "reason": reason} for key, reason in sorted(failures.items())]
            write_text(path, "".join(map(_line, rows)))
        else:
            path.unlink(missing_ok=True)

    def write_origins(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Replaces origins.jsonl."""
        write_text(self.path / ORIGINS, "".join(map(_line, rows)))


def origins_of(folder: Path) -> dict[str, Origin]:
    """Where the images of the data set `folder` come from, by their paths; nothing of what `pack` did not make."""
    found = {}
    for name, row in PackedFolder(folder).origins().items():
        box = row.get("box")
        numbers = [row.get("width"), row.get("height"), *(box if isinstance(box, list) else [])]
        if len(numbers) != 6 or any(type(number) is not int for number in numbers):
            continue
        width, height, left, top, right, bottom = (int(str(number)) for number in numbers)
        if 0 <= left < right <= width and 0 <= top < bottom <= height:
            found[name] = Origin(str(row.get("source")), (width, height), (left, top, right, bottom))
    return found


def _is_foreign(path: Path) -> bool:
    return path.name != LOCK and not is_leftover(path)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _ends_torn(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) != b"\n"


def read_facts(content: bytes, where: str) -> dict[str, Any]:
    """The facts of a pack.json; PackError for anything else."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{where} cannot be read ({error}); choose another folder") from error
    if not isinstance(facts, dict) or (facts.get("format"), facts.get("version")) != (_FORMAT, _VERSION):
        raise PackError(f"{where}: expected {_FORMAT} version {_VERSION}; choose another folder")
    return facts


def compare(before: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """PackError that names the first setting, or the source, in which `before` differs from `now`."""
    there, here = ({**facts.get("settings", {}), **facts.get("source", {})} for facts in (before, now))
    for key in {**here, **there}:
        if there.get(key) != here.get(key):
            packed = "another source, or it has changed" if key == "listing" else f"{key} = {there.get(key)}"
            wanted = "" if key == "listing" else f", asked for is {here.get(key)}"
            raise PackError(
                f"{where} was packed with {packed}{wanted}; "
                "repeat the command it was begun with, or choose another place"
            )


def zip_folder(folder: Path, path: Path) -> None:
    """Writes everything in `folder` that is not hidden to a zip: the same bytes for the same files."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            if not any(part.startswith(".") for part in name.split("/")):
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, (folder / name).read_bytes())
