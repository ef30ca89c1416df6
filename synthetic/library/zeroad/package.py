"""The files of Debian's 0ad-data, by name: from the .deb, from its public.zip, or from a folder that has either.

Nothing is unpacked but the one public.zip of a .deb, into the scratch folder that the caller gives.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from synthetic.layouts.shapenet import BrokenModelError, LibraryError
from synthetic.library.archives import MOST_BYTES, ArchiveError, ZipArchive, is_inside, taken_from_package

VERSION = "0.0.26"
LICENCE = "CC-BY-SA-3.0"
AUTHOR = "Wildfire Games"

_PLACES = ("", "public", "mods/public", "usr/share/games/0ad/mods/public")
_LARGEST = 64 * 2**20  # of a file that is read


@dataclass(frozen=True)
class Package:
    """The game's files: which there are (names as in its public.zip), its version ("" where it says none)."""

    names: frozenset[str]
    version: str
    _read: Callable[[str], bytes]

    def read(self, name: str, largest: int = _LARGEST) -> bytes:
        """The content of a file; BrokenModelError where it is missing, damaged, or larger than `largest`."""
        if name not in self.names:
            raise BrokenModelError(f"{name}: is missing in the package")
        try:
            content = self._read(name)
        except (ArchiveError, OSError) as error:
            raise BrokenModelError(f"{name}: cannot be read ({error})") from error
        if len(content) > largest:
            raise BrokenModelError(f"{name}: has {len(content)} bytes, more than {largest}")
        return content


def open_package(source: Path, scratch: Path) -> Package:
    """The package at `source`; the public.zip of a .deb is unpacked into `scratch`, 3.3 GB.

    Raises LibraryError where there is none, in one sentence with what to do.
    """
    if source.is_dir():
        for place in _PLACES:
            if (source / place / "public.zip").is_file():
                return _zipped(source / place / "public.zip")
            if (source / place / "art" / "actors").is_dir():
                return _unpacked(source / place)
        debs = sorted(source.glob("0ad-data_*.deb"))
        if not debs:
            raise LibraryError(
                f"{source}: holds neither public.zip, nor art/actors, nor a 0ad-data_*.deb; "
                "`apt-get download 0ad-data` fetches it"
            )
        source = debs[-1]
    if not source.is_file():
        raise LibraryError(f"{source}: no such file; `apt-get download 0ad-data` fetches it")
    return _zipped(_from_deb(source, scratch) if source.suffix == ".deb" else source)


def _unpacked(root: Path) -> Package:
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    resolved = root.resolve()

    def read(name: str) -> bytes:
        path = (root / name).resolve()
        if not path.is_relative_to(resolved):
            raise ArchiveError("it is a link to outside the folder")
        if path.stat().st_size > _LARGEST:
            raise ArchiveError(f"it has {path.stat().st_size} bytes")
        return path.read_bytes()

    return _package(root, names, read)


def _zipped(path: Path) -> Package:
    try:
        archive = ZipArchive(path, path.name)
    except ArchiveError as error:
        raise LibraryError(f"{path.parent}: {error}; fetch it again") from error
    return _package(path, filter(is_inside, archive.names()), archive.read)


def _package(source: Path, names: Iterable[str], read: Callable[[str], bytes]) -> Package:
    known = frozenset(names)
    if not any(name.startswith("art/actors/") for name in known):
        raise LibraryError(f"{source}: has no art/actors/; expected the files of 0ad-data")
    version = ""
    try:
        facts = json.loads(read("mod.json")) if "mod.json" in known else {}
        if isinstance(facts, dict) and isinstance(facts.get("version"), str):
            version = facts["version"]
    except (ValueError, RecursionError, OSError):  # ArchiveError is a ValueError
        version = ""
    return Package(known, version, read)


def _from_deb(path: Path, scratch: Path) -> Path:
    """The public.zip of a Debian package, unpacked into `scratch`."""

    def unpacked(name: str, size: int, file: IO[bytes]) -> Path:
        if size > shutil.disk_usage(scratch).free:
            raise LibraryError(f"{scratch}: has no room for the {size / 1e9:.1f} GB of {name} in {path.name}")
        with (scratch / "public.zip").open("wb") as out:
            shutil.copyfileobj(file, out, 2**20)
        return scratch / "public.zip"

    try:
        for found in taken_from_package(path, _is_public, MOST_BYTES, unpacked):
            return found
    except ArchiveError as error:
        raise LibraryError(str(error)) from error
    raise LibraryError(f"{path}: holds no mods/public/public.zip; expected the package 0ad-data")


def _is_public(path: PurePosixPath) -> bool:
    return path.parts[-3:] == ("mods", "public", "public.zip")
