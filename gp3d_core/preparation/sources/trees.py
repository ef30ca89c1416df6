"""The files of a source, in a folder or a zip, by their relative paths; nothing is ever unpacked to disk.

A zip that names a place outside itself is refused as a whole. In a folder, links that lead out of it are named and not
followed unless asked for; linked folders never are, unless asked for. Names of which a part begins with a dot, and
`__MACOSX/`, belong to a desktop and are not seen. Reading is bounded.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gp3d_core.datasets.decoding import PictureError
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import DAMAGE, FileKindError, ordinary

MOST_BYTES = 512 * 2**20  # of one file, unpacked


class SourceError(GP3DError):
    """A source that cannot be packed at all; the message names it and what to do."""


@dataclass
class Files:
    """What a source holds: bytes by path (sorted by path), and what is left out and why, by path."""

    sizes: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """Gives the content of one entry of a source."""

    def read(self, key: str) -> bytes:
        """Bytes of the picture `key`; PictureError when they cannot be had."""


class FolderReader:
    """Reads files below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes:
        """Bytes of the file `key`; PictureError when it is too large or cannot be read."""
        try:
            with ordinary(self._root / key).open("rb") as file:
                return _bounded(file.read(MOST_BYTES + 1))
        except FileKindError as error:
            raise PictureError("is a pipe, a socket or a device") from error
        except OSError as error:
            raise PictureError(f"cannot be read ({error.strerror})") from error


class ZipReader:
    """Reads entries of the zip at `path`."""

    def __init__(self, path: Path) -> None:
        self._zip = open_zip(path)

    def read(self, key: str) -> bytes:
        """Bytes of the entry `key`; PictureError when it is damaged, encrypted or too large."""
        try:
            with self._zip.open(key) as file:
                return _bounded(file.read(MOST_BYTES + 1))
        except PictureError:
            raise
        except DAMAGE as error:
            raise PictureError(f"cannot be unpacked ({str(error) or 'ended early'})") from error


def _bounded(content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise PictureError(f"has more than {MOST_BYTES >> 20} MiB")
    return content


def open_zip(path: Path) -> zipfile.ZipFile:
    """The zip at `path`; SourceError for anything else."""
    try:
        return zipfile.ZipFile(ordinary(path))
    except DAMAGE as error:
        raise SourceError(f"{path} is neither a folder nor a readable zip ({error})") from error


def list_zip(path: Path) -> Files:
    """The entries of the zip at `path`. SourceError when one leads outside, is a link, or is there twice."""
    files = Files()
    with open_zip(path) as archive:
        for entry in sorted(archive.infolist(), key=lambda e: e.filename):
            name = entry.orig_filename
            if _leads_out(name):
                raise SourceError(f"{path} has an entry that points outside, {name!r}; the zip is refused")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise SourceError(f"{path} has a link as an entry, {name!r}; the zip is refused")
            if name.endswith("/") or not name or any(map(hidden, name.split("/"))):
                continue
            if name in files.sizes:
                raise SourceError(f"{path} has the entry {name!r} twice; pack the zip again")
            files.sizes[name] = entry.file_size
    return files


def _leads_out(name: str) -> bool:
    """Whether a zip entry's name is absolute, climbs, or is none that a zip may have."""
    return (
        name.startswith("/")
        or "\\" in name
        or "\0" in name
        or re.match(r"[A-Za-z]:", name) is not None
        or ".." in name.split("/")
    )


def list_folder(root: Path, *, follow_links: bool = False) -> Files:
    """The files below `root`; OSError for a folder that the system does not let us list."""
    files = Files()
    base = root.resolve()
    for path, entry in _walk(root, follow_links, {base}, files.refused):
        name = path.relative_to(root).as_posix()
        try:
            found = path.stat()
        except OSError as error:  # links that lead nowhere, or in a circle, which cannot be resolved
            files.refused[name] = f"cannot be read ({error.strerror})"
            continue
        if entry.is_symlink() and not follow_links and not path.resolve().is_relative_to(base):
            files.refused[name] = "is a link that leads out of the source; `follow_links` reads it"
        elif stat.S_ISREG(found.st_mode):
            files.sizes[name] = found.st_size
        else:
            files.refused[name] = "is no regular file"
    files.sizes = dict(sorted(files.sizes.items()))
    return files


def _walk(
    root: Path, follow_links: bool, above: set[Path], refused: dict[str, str]
) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """Everything below `root` that is no folder; folders of `above`, which contain it, are not entered again."""
    pending = [(root, above)]
    while pending:
        folder, seen = pending.pop()
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if hidden(entry.name):
                continue
            path = Path(entry.path)
            if not path.is_dir():  # the entry itself raises for a link in a circle
                yield path, entry
            elif not entry.is_symlink():
                pending.append((path, seen))
            elif not follow_links:
                name = path.relative_to(root).as_posix()
                refused[name] = "is a link to a folder; `follow_links` reads it"
            elif (target := path.resolve()) not in seen and not root.resolve().is_relative_to(target):
                pending.append((path, seen | {target}))


def hidden(part: str) -> bool:
    """Whether a part of a path belongs to a desktop, not to the data."""
    return part == "__MACOSX" or part.startswith(".")
