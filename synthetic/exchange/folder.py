"""The folder an export is written into: whole files, one export a folder, begun again where it was left."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from synthetic.atomic import write_whole, writing_whole
from synthetic.dataset import as_bytes
from synthetic.exchange.files import ExchangeError, is_safe
from synthetic.workers.blender_process import StopRequest

BEGUN = ".export.json"  # what is being exported, until it is whole
DONE = "export.json"  # the same, once it is


class StoppedError(Exception):
    """Ctrl-C or SIGTERM, between two files."""


class ExportFolder:
    """Writes files below a folder, each whole; what is there already is kept, as the same export wrote it."""

    def __init__(self, path: Path, stop: StopRequest) -> None:
        """Use `writing_export`."""
        self.path, self._stop = path, stop
        self.written = 0  # bytes, this time

    def has(self, name: str) -> bool:
        """Whether a file is there; raises StoppedError where the export is to end here."""
        if self._stop.signal:
            raise StoppedError
        return (self.path / name).is_file()

    def write(self, name: str, content: Callable[[], bytes]) -> None:
        """Writes what `content` gives, unless the file is there. Raises OSError where the disk refuses."""
        if not self.has(name):
            text = content()
            write_whole(self._place(name), text)
            self.written += len(text)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file that is written piece by piece; it is there at the end of `with` and never in part."""
        with writing_whole(self._place(name)) as file:
            yield file
            self.written += file.tell()

    def _place(self, name: str) -> Path:
        if not is_safe(name):
            raise ExchangeError(f"{self.path}: {name!r} is no name of a file below it")
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@contextmanager
def writing_export(
    path: Path, facts: Mapping[str, object], stop: StopRequest, marked: bool = True
) -> Iterator[ExportFolder]:
    """A folder that takes the export described by `facts`; DONE is there when `with` ends well, where it is `marked`.

    A folder with the same export, whole or not, is gone on with. Raises ExchangeError for one that holds anything else,
    or that another process writes to, and OSError where the disk refuses.
    """
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ExchangeError(f"{path}: another process exports into it; wait for it") from None
    try:
        _check_free(path, facts)
        write_whole(path / BEGUN, as_bytes(facts))
        yield ExportFolder(path, stop)
        if marked:
            write_whole(path / DONE, as_bytes(facts))
        (path / BEGUN).unlink()
    finally:
        _forget(path, new)
        os.close(lock)


def _forget(path: Path, new: bool) -> None:
    """Removes the mark of an export that failed before it wrote a file, so that another may have the folder."""
    if [entry.name for entry in os.scandir(path)] == [BEGUN]:
        (path / BEGUN).unlink()
    if new and not any(path.iterdir()):
        path.rmdir()


def _check_free(path: Path, facts: Mapping[str, object]) -> None:
    """Raises ExchangeError unless a folder is empty or holds the export described by `facts`."""
    for marker in (BEGUN, DONE):
        if (path / marker).is_file():
            try:
                same = json.loads((path / marker).read_bytes()) == json.loads(as_bytes(facts))
            except (ValueError, RecursionError):
                same = False
            if same:
                _remove_parts(path)
                return
            raise ExchangeError(
                f"{path}: holds an export of other data or with other options; remove it, or choose another folder"
            )
    held = next((entry.name for entry in os.scandir(path)), None)
    if held is not None:
        raise ExchangeError(f"{path}: holds other files, such as {held}; choose a new folder")


def _remove_parts(path: Path) -> None:
    """Removes what a killed process left half-written; the lock says that nobody writes here."""
    for part in path.rglob(".*.part"):
        part.unlink(missing_ok=True)
