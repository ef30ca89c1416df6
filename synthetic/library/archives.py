"""Archives from elsewhere, read without trusting them: zips, and the files of a Debian package.

Nothing is unpacked by its own name. What has too many members, grows too much, is encrypted, is a link or leads out of
the archive is refused before it is read.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar, cast

from synthetic.atomic import opened

MOST_MEMBERS = 200_000
MOST_BYTES = 8 * 2**30  # unpacked, all members together
_MOST_MEMBER_BYTES = 1 * 2**30
_MOST_RATIO = 1000  # unpacked to packed, of a member of more than a megabyte: beyond lie bombs
Taken = TypeVar("Taken")
_AR, _AR_HEADER = b"!<arch>\n", 60
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError, zlib.error)


class ArchiveError(ValueError):
    """An archive that cannot be read; the message says what was expected and found."""


class ZipArchive:
    """The files of a zip by their names, in the order in which they stand there."""

    def __init__(self, file: Path | IO[bytes], name: str) -> None:
        """`name` is what messages call it. Raises ArchiveError for what is no zip, or one beyond the limits."""
        self.name = name
        try:
            self._zip = zipfile.ZipFile(opened(file) if isinstance(file, Path) else file)
            entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        except _BROKEN as error:
            raise ArchiveError(f"{name}: is no readable zip ({error})") from None
        if len(entries) > MOST_MEMBERS:
            raise ArchiveError(f"{name}: has {len(entries)} members, more than the {MOST_MEMBERS} allowed")
        total = sum(entry.file_size for entry in entries)
        if total > MOST_BYTES:
            raise ArchiveError(
                f"{name}: unpacks to {total >> 20} MB, more than the {MOST_BYTES >> 20} allowed"
            )
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            self._entries.setdefault(entry.filename, entry)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """The names of all files."""
        return list(self._entries)

    def read(self, name: str) -> bytes:
        """The content of a file. Raises ArchiveError where there is none, or none that may be read."""
        entry = self._entries.get(name)
        if entry is None:
            raise ArchiveError(f"{name} is missing from {self.name}")
        if not is_inside(name):
            raise ArchiveError(f"{name} leads out of {self.name}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ArchiveError(f"{name} is a link")
        if entry.file_size > _MOST_MEMBER_BYTES:
            raise ArchiveError(f"{name} unpacks to {entry.file_size >> 20} MB, too much")
        if entry.file_size > 2**20 and entry.file_size > _MOST_RATIO * entry.compress_size:
            raise ArchiveError(f"{name} unpacks to more than {_MOST_RATIO} times its size")
        try:
            with self._zip.open(entry) as file:
                content = file.read(entry.file_size + 1)
        except _BROKEN as error:
            raise ArchiveError(f"{name} cannot be unpacked ({error})") from None
        if len(content) != entry.file_size:
            raise ArchiveError(f"{name} unpacks to another size than it says")
        return content


def is_inside(name: str) -> bool:
    """Whether a member's name is a plain path below the archive's top."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and "\0" not in name


def files_of_package(
    path: Path, wanted: Callable[[PurePosixPath], bool], most_bytes: int
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the plain files of a Debian package that are wanted by their paths below its top.

    Links are passed over. Raises ArchiveError for what is no package, or where they are more than `most_bytes`.
    """
    return taken_from_package(path, wanted, most_bytes, lambda name, size, file: (name, file.read()))


def taken_from_package(
    path: Path,
    wanted: Callable[[PurePosixPath], bool],
    most_bytes: int,
    take: Callable[[str, int, IO[bytes]], Taken],
) -> Iterator[Taken]:
    """The same for files too large for memory: what `take` makes of the name, size and stream of each."""
    with opened(path) as package:
        member, size = _data_member(package, path)
        if not member.startswith("data.tar") or member.rpartition(".")[2] not in ("tar", "gz", "bz2", "xz"):
            raise ArchiveError(
                f"{path}: holds {member or 'no data.tar'}, which cannot be read here; unpack it with `dpkg-deb -x`"
            )
        total, members = 0, 0
        try:
            stream = cast("IO[bytes]", _Slice(package, size))  # of a stream only read is asked
            with tarfile.open(fileobj=stream, mode="r|*") as tar:
                for entry in tar:
                    members, total = members + 1, total + entry.size
                    if members > MOST_MEMBERS or total > MOST_BYTES:
                        raise ArchiveError(f"{path}: has too many files, or unpacks to too much")
                    name = PurePosixPath(entry.name)
                    if not (entry.isreg() and is_inside(entry.name) and wanted(name)):
                        continue
                    most_bytes -= entry.size
                    if most_bytes < 0:
                        raise ArchiveError(f"{path}: {name.name} and those before it are too large")
                    file = tar.extractfile(entry)
                    if file is not None:
                        yield take(name.name, entry.size, file)
        except (tarfile.TarError, lzma.LZMAError, EOFError, zlib.error) as error:
            raise ArchiveError(f"{path}: is damaged or cut ({error}); fetch it again") from None


def _data_member(package: IO[bytes], path: Path) -> tuple[str, int]:
    """Name and size of the member with a package's files, at whose beginning `package` then stands."""
    if package.read(len(_AR)) != _AR:
        raise ArchiveError(f"{path}: is no Debian package")
    while len(header := package.read(_AR_HEADER)) == _AR_HEADER:
        name = header[:16].decode("latin-1").strip().rstrip("/")
        try:
            size = int(header[48:58])
        except ValueError:
            break
        if name.startswith("data.tar"):
            return name, size
        package.seek(size + size % 2, 1)
    raise ArchiveError(f"{path}: is damaged or cut; fetch it again")


class _Slice:
    """The next bytes of a file as a stream of their own."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes."""
        content = self._file.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(content)
        return content
