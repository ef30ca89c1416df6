"""Files that other readers see either complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """The same for a file that is written piece by piece inside `with`."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder and right below it; nobody else may write there."""
    for path in (*folder.glob(".*.part"), *folder.glob("*/.*.part")):
        path.unlink(missing_ok=True)
