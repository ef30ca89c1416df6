"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gp3d_core.errors import GP3DError

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp(\.\w+)?")


class PlaceError(GP3DError):
    """A folder into which nothing can be written; the message says why."""


def check_writable(path: Path) -> None:
    """Raises PlaceError unless files can be written into the folder `path`, or where it would have to be made.

    Tried with a file that never gets a name, because rights alone do not tell: /proc lets nobody write.
    """
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        where = "" if place == path else f" at {place}"
        raise PlaceError(f"{path}: expected a folder, found a file{where}")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        where = "there" if place == path else f"in {place}"
        raise PlaceError(
            f"{path}: nothing can be written {where} ({error.strerror}); choose another place"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its name when the block ends well, and vanishes otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        # a full disk is found out by a write, which knows no name
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(aside: Path, folder: Path) -> Iterator[None]:
    """A block whose OSErrors about files in `aside`, or none, speak of those files in `folder`, where they belong."""
    try:
        yield
    except OSError as error:
        name = Path(error.filename or aside)
        if name.is_relative_to(aside):
            error.filename, error.filename2 = str(folder / name.relative_to(aside)), None
        raise


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_leftovers(folder: Path) -> None:
    """Removes the temporary files that a killed process left in `folder`."""
    for path in folder.glob(".*.tmp*"):
        if is_leftover(path):
            path.unlink()


def is_leftover(path: Path) -> bool:
    """Whether `path` is a temporary file of `replacing`."""
    return path.is_file() and _TEMPORARY.fullmatch(path.name) is not None


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")
