"""Files of a folder or a zip that somebody else made: names that stay inside, sizes that can be read.

`__MACOSX/` and names of which a part begins with a dot belong to a desktop, and are not seen.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 30  # of one file
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")  # control characters, and what is a slash elsewhere


class ExchangeError(ValueError):
    """Data that cannot be exchanged; the message names the file, what was expected and what was found."""


def is_safe(name: str) -> bool:
    """Whether `name` is the relative path of a file that lies below where it is put."""
    parts = name.split("/")
    return not (
        _ODD.search(name) or any(part in ("", ".", "..") or len(part.encode()) > 240 for part in parts)
    )


def is_seen(name: str) -> bool:
    """Whether a file belongs to the data and not to somebody's desktop."""
    return not any(part == "__MACOSX" or part.startswith(".") for part in name.split("/"))


def parsed(content: bytes, where: object) -> Any:
    """What a JSON text says; `where` it stands is told in the ExchangeError that a broken one raises."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ExchangeError(f"{where}: is not valid JSON ({error})") from None


class Files:
    """What lies in a folder or a zip: `sizes` maps relative paths with slashes to bytes. Raises ExchangeError, OSError.

    A zip of a folder may carry the folder's name in front of all entries.
    """

    def __init__(self, path: Path, top: str = "dataset.json") -> None:
        """`top` is a file that lies on top: without it, one folder that holds everything is looked into."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._prefix = ""
        if not path.exists():
            raise ExchangeError(f"{path}: nothing is there; expected a data set, a folder or a zip")
        if not (path.is_dir() or path.is_file()):  # a pipe would be waited for
            raise ExchangeError(f"{path}: is neither a folder nor a file")
        self.sizes = self._folder_sizes() if path.is_dir() else self._zip_sizes(top)

    def read(self, name: str) -> bytes:
        """The content of a file. Raises ExchangeError where it is missing, damaged, encrypted or too large."""
        size = self.sizes.get(name)
        if size is None:
            raise ExchangeError(f"{self.path}: {name} is missing")
        if size > MOST_BYTES:
            raise ExchangeError(f"{self.path}: {name} has {size} bytes, expected at most {MOST_BYTES}")
        if self._zip is None:
            return (self.path / name).read_bytes()
        try:
            return self._zip.read(self._prefix + name)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError) as error:
            raise ExchangeError(
                f"{self.path}: {name} cannot be unpacked ({error or 'it ends early'})"
            ) from None

    def _folder_sizes(self) -> dict[str, int]:
        sizes, root = {}, self.path.resolve()
        for folder, below, names in os.walk(self.path, onerror=_refuse):
            below[:] = sorted(name for name in below if is_seen(name))
            for path in (Path(folder, name) for name in sorted(names) if is_seen(name)):
                name = path.relative_to(self.path).as_posix()
                if path.is_symlink() and not path.resolve().is_relative_to(root):
                    raise ExchangeError(f"{self.path}: {name} is a link that leads out of it")
                facts = path.stat()
                if not stat.S_ISREG(facts.st_mode):
                    raise ExchangeError(f"{self.path}: {name} is no regular file; remove it")
                sizes[self._checked(name)] = facts.st_size
        return sizes

    def _zip_sizes(self, top: str) -> dict[str, int]:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ExchangeError(f"{self.path}: is neither a folder nor a readable zip ({error})") from None
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        sizes = {self._checked(entry.filename): entry.file_size for entry in entries}
        sizes = {name: size for name, size in sizes.items() if is_seen(name)}
        tops = {name.split("/", 1)[0] for name in sizes}
        self._prefix = f"{tops.pop()}/" if len(tops) == 1 and top not in sizes else ""
        return {name.removeprefix(self._prefix): size for name, size in sizes.items()}

    def _checked(self, name: str) -> str:
        if not is_safe(name):
            raise ExchangeError(f"{self.path}: {name!r} is no path of a file below it")
        return name


class Below(Files):
    """The files below a folder of others."""

    def __init__(self, files: Files, folder: str) -> None:
        """`folder` is the path within `files`."""
        self.path = files.path / folder
        self._files, self._folder = files, folder
        mine = (name for name in files.sizes if name.startswith(f"{folder}/"))
        self.sizes = {name.removeprefix(f"{folder}/"): files.sizes[name] for name in mine}

    def read(self, name: str) -> bytes:
        """The content of a file, as that of the others."""
        return self._files.read(f"{self._folder}/{name}")


def _refuse(error: OSError) -> None:
    """Ends a walk that would otherwise leave out what it may not list."""
    raise error
