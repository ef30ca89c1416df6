"""The files of Debian's 0ad-data, by name: from the .deb, from its public.zip, or from a folder that has either.

Nothing is unpacked but the one public.zip of a .deb, into the scratch folder that the caller gives.
"""

from __future__ import annotations

import json
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from synthetic.layouts.shapenet import BrokenModelError, LibraryError

VERSION = "0.0.26"
LICENCE = "CC-BY-SA-3.0"
AUTHOR = "Wildfire Games"

_PLACES = ("", "public", "mods/public", "usr/share/games/0ad/mods/public")
_MOST_MEMBERS = 200_000
_LARGEST = 64 * 2**20  # of a member that is read
_MOST_RATIO = 200  # of unpacked to packed bytes: a bomb has thousands
_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60


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
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
            raise BrokenModelError(f"{name}: cannot be read ({error or 'ended early'})") from error
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
    with source.open("rb") as file:
        debian = file.read(len(_AR_MAGIC)) == _AR_MAGIC
    return _zipped(_from_deb(source, scratch) if debian else source)


def _unpacked(root: Path) -> Package:
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    resolved = root.resolve()

    def read(name: str) -> bytes:
        path = (root / name).resolve()
        if not path.is_relative_to(resolved):
            raise OSError("it is a link to outside the folder")
        if path.stat().st_size > _LARGEST:
            raise OSError(f"it has {path.stat().st_size} bytes")
        return path.read_bytes()

    return _package(names, read)


def _zipped(path: Path) -> Package:
    try:
        archive = zipfile.ZipFile(path)
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise LibraryError(f"{path}: is no readable zip ({error}); fetch it again") from error
    if len(entries) > _MOST_MEMBERS:
        raise LibraryError(f"{path}: has {len(entries)} files; expected at most {_MOST_MEMBERS}")

    def read(name: str) -> bytes:
        entry = entries[name]
        if entry.file_size > min(_LARGEST, _MOST_RATIO * max(entry.compress_size, 1)):
            raise OSError(f"it unpacks to {entry.file_size} bytes from {entry.compress_size}")
        with archive.open(entry) as file:
            return file.read(entry.file_size)  # never more, whatever is in it

    return _package([name for name in entries if _is_plain(name)], read)


def _is_plain(name: str) -> bool:
    """Whether a name stays below where it is looked for."""
    return not (name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts)


def _package(names: list[str], read: Callable[[str], bytes]) -> Package:
    if not any(name.startswith("art/actors/") for name in names):
        raise LibraryError("the package has no art/actors/; expected that of 0ad-data")
    version = ""
    if "mod.json" in names:
        try:
            facts = json.loads(read("mod.json"))
            version = facts["version"] if isinstance(facts["version"], str) else ""
        except (ValueError, KeyError, TypeError, RecursionError, OSError, zipfile.BadZipFile):
            version = ""
    return Package(frozenset(names), version, read)


def _from_deb(path: Path, scratch: Path) -> Path:
    """The public.zip of a Debian package, unpacked into `scratch`."""
    way_on = f"`dpkg-deb -x {path.name} FOLDER` unpacks it, FOLDER can be given instead"
    target = scratch / "public.zip"
    try:
        with path.open("rb") as file, tarfile.open(fileobj=_data_of(file, path), mode="r|*") as content:
            for member in content:
                inner = (
                    content.extractfile(member) if member.name.endswith("/mods/public/public.zip") else None
                )
                if inner is None:
                    continue
                if member.size > shutil.disk_usage(scratch).free:
                    raise LibraryError(f"{path}: needs {member.size / 1e9:.1f} GB of disk for its public.zip")
                with target.open("wb") as out:
                    shutil.copyfileobj(inner, out, 2**20)
                return target
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise LibraryError(f"{path}: cannot be unpacked ({error}); {way_on}") from error
    raise LibraryError(f"{path}: holds no mods/public/public.zip; expected the package 0ad-data")


def _data_of(file: IO[bytes], path: Path) -> IO[bytes]:
    """The file, standing where the data.tar of a Debian package (an `ar` archive) begins; it is the last member."""
    file.seek(len(_AR_MAGIC))
    while header := file.read(_AR_HEADER):
        name, size = header[:16].strip().rstrip(b"/"), header[48:58].strip()
        if not re.fullmatch(rb"\d{1,10}", size):
            break
        if name.startswith(b"data.tar"):
            return file
        file.seek(int(size) + int(size) % 2, 1)
    raise LibraryError(f"{path}: is no Debian package with a data.tar; fetch it again")
