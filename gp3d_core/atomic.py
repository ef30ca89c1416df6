"""Files that appear whole or not at all, one by one or together, in folders that one process at a time writes."""

from __future__ import annotations

import fcntl
import functools
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gp3d_core.errors import GP3DError
from gp3d_core.hashing import ordinary
from gp3d_core.strict_json import to_text

_ASIDE = ".gp3d-"  # how folders begin whose files will appear together
_LOCK, _JOURNAL, _UNDO = "lock", "journal", "undo"
_FOREIGN_AGE = 86400.0  # seconds; folders of versions that had no locks are not removed before
_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp(\.\w+)?")
_LONGEST_NAME = 200  # bytes, of 255 that file systems allow: a number and a suffix follow
_QUIET_SECONDS = 600.0  # without a write, after which a temporary file of no process here is nobody's


class PlaceError(GP3DError):
    """A folder into which nothing can be written; the message says why."""


def check_writable(path: Path) -> None:
    """Raises PlaceError unless files can be written into the folder `path`, or where it would have to be made.

    Tried with a file that never gets a name, because rights alone do not tell: /proc lets nobody write.
    """
    place = path
    while not place.exists():
        if place.is_symlink():
            raise PlaceError(
                f"{path}: {place} is a link to {os.readlink(place)}, where nothing is; remove the link"
            )
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


def take_lock(path: Path) -> IO[str] | None:
    """The file at `path`, made if need be and locked until it is closed; None if another process has locked it."""
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
            return file
        file.close()  # its last user has just removed it


@contextmanager
def alone(path: Path, refusal: GP3DError) -> Iterator[None]:
    """A block that has locked the file at `path`; raises `refusal` if another process has.

    A file that was not there before goes with the block.
    """
    new = not path.exists()
    lock = take_lock(path)
    if lock is None:
        raise refusal
    with lock:
        try:
            yield
        finally:
            if new:
                path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its name when the block ends well, and vanishes otherwise.

    What dead processes have left in the folder in this way is removed. Raises FileKindError for the name of a
    pipe, a socket or a device, which stays.
    """
    ordinary(path)
    _sweep(path.parent)
    temporary = path.with_name(f".{_begin_of(path)}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        _sync_file(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        # a full disk is found out by a write, which knows no name
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _begin_of(path: Path) -> str:
    """How temporary files of `path` are called: as it is, where there is room for what follows, else by a hash."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()


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


@functools.lru_cache(maxsize=4096)  # once a folder: some have very many files
def _sweep(folder: Path) -> None:
    for path in folder.glob(".*.tmp*"):
        found = _TEMPORARY.fullmatch(path.name)
        with suppress(OSError):
            if found and time.time() - path.stat().st_mtime > _QUIET_SECONDS and _has_died(found[1]):
                path.unlink()


def _has_died(process: str) -> bool:
    """Whether no process has this number; it may have one on another machine that writes here."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def forget_leftovers(folder: Path) -> None:
    """Removes the temporary files that a killed process left in `folder`."""
    for path in folder.glob(".*.tmp*"):
        if is_leftover(path):
            path.unlink()


def forget_leftovers_of(path: Path) -> None:
    """Removes what killed processes left that were writing `path`, which nobody else writes now."""
    for left in path.parent.glob(f".{glob.escape(_begin_of(path))}.*.tmp*"):
        if is_leftover(left):
            left.unlink()


def is_leftover(path: Path) -> bool:
    """Whether `path` is a temporary file of `replacing`."""
    return path.is_file() and _TEMPORARY.fullmatch(path.name) is not None


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, whole or not at all; numbers that JSON cannot hold become null."""
    write_text(path, to_text(value, indent=1) + "\n")


class Transaction:
    """Files that are written into the folder `path` and appear in another one together; see `transaction`.

    On disk: `new` holds what was written, `old` second names of what will be replaced, `journal` says which files are
    on their way. From then on every step can be repeated, so that whoever comes after a crash takes the rest.
    """

    def __init__(self, folder: Path) -> None:
        """Makes a folder in `folder`, locked as long as this process lives."""
        self._folder = folder
        self._root = Path(tempfile.mkdtemp(prefix=f"{_ASIDE}{os.getpid()}-", dir=folder))
        self.path = self._root / "new"
        self.path.mkdir()
        # the name appears with the lock on it: a lock that is free has lost its owner
        self._lock = os.open(self._root / f".{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _take(self._lock, fcntl.LOCK_EX)
        os.rename(self._root / f".{_LOCK}", self._root / _LOCK)

    def publish(self) -> None:
        """Moves all files into their folder, or none of them.

        Raises PlaceError, before anything is moved, if a folder has one of their names, FileKindError if a pipe, a
        socket or a device has; OSError if one cannot be moved.
        """
        names = sorted(path.name for path in self.path.iterdir())
        for name in names:
            ordinary(self._folder / name)
            if (self._folder / name).is_dir():
                raise PlaceError(f"{self._folder / name} is a folder, and a file needs that name; move it")
        try:
            with _locked(self._folder):
                settle(self._folder)
                self._publish(names)
        except OSError as error:
            _name_place(error, self._folder)
            raise

    def _publish(self, names: list[str]) -> None:
        for name in names:
            _sync_file(self.path / name)
        _sync_folder(self.path)
        replaced = [name for name in names if (self._folder / name).exists()]
        (self._root / "old").mkdir()
        for name in replaced:
            _give_second_name(self._folder / name, self._root / "old" / name)
        write_json(self._root / _JOURNAL, {"files": names, "replaced": replaced})
        try:
            _finish(self._root)
        except OSError:
            os.replace(self._root / _JOURNAL, self._root / _UNDO)
            _undo(self._root)
            raise

    def close(self) -> None:
        """Removes the folder; what was not published is forgotten."""
        shutil.rmtree(self._root, ignore_errors=True)
        os.close(self._lock)


@contextmanager
def transaction(folder: Path) -> Iterator[Transaction]:
    """A block whose files, written into the transaction's `path`, appear in `folder` when it is told to `publish`.

    They replace files of the same names. They appear all or not at all: after an error none is there, and what a
    killed process or a power cut left half-done is brought to an end by the next transaction in `folder`, which also
    removes the folders of dead processes. What is not published is forgotten.
    """
    try:
        with _locked(folder):
            settle(folder)
        begun = Transaction(folder)
    except OSError as error:
        _name_place(error, folder)
        raise
    try:
        with naming(begun.path, folder):
            yield begun
    finally:
        begun.close()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for the files of a block, where temporary files go; the next call removes what killed processes left."""
    place = Path(tempfile.gettempdir())
    settle(place)
    begun = Transaction(place)
    try:
        yield begun.path
    finally:
        begun.close()


def _name_place(error: OSError, folder: Path) -> None:
    """Lets an error about what lies aside of `folder` speak of the file that was meant, or else of the folder."""
    name = Path(error.filename or folder)
    aside = name.relative_to(folder).parts if name.is_relative_to(folder) else ()
    if not aside or aside[0].startswith(_ASIDE):
        meant = folder / aside[2] if len(aside) == 3 else folder
        error.filename, error.filename2 = str(meant), None


def settle(folder: Path) -> None:
    """Ends what dead processes have begun in `folder`: files on their way arrive, all else is removed."""
    for root in folder.glob(f"{_ASIDE}*"):
        # what another user has put there is not ours to move
        if root.is_symlink() or not root.is_dir() or root.stat().st_uid != os.getuid():
            continue
        lock = _left_lock(root)
        if lock is None:
            continue
        try:
            if (root / _UNDO).is_file():
                _undo(root)
            elif (root / _JOURNAL).is_file():
                _finish(root)
            shutil.rmtree(root, ignore_errors=True)
        finally:
            os.close(lock)


def _finish(root: Path) -> None:
    for name in _journal(root / _JOURNAL)["files"]:
        if (root / "new" / name).exists():  # else it has arrived
            os.replace(root / "new" / name, root.parent / name)
    _sync_folder(root.parent)


def _undo(root: Path) -> None:
    journal = _journal(root / _UNDO)
    for name in journal["files"]:
        if name not in journal["replaced"]:
            if not (root / "new" / name).exists():
                (root.parent / name).unlink(missing_ok=True)
        elif (root / "old" / name).exists():  # else it is back
            os.replace(root / "old" / name, root.parent / name)
    _sync_folder(root.parent)


def _journal(path: Path) -> dict[str, list[str]]:
    """What a journal says. Files have names without folders: a journal moves nothing elsewhere."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {key: [name for name in found[key] if Path(name).name == name] for key in ("files", "replaced")}


def _give_second_name(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError:  # file systems of memory cards have no second names
        shutil.copy2(path, other)


def _left_lock(root: Path) -> int | None:
    """The lock of a dead process's folder, taken; None if its owner lives."""
    try:
        lock = os.open(root / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its owner is about to make it, or died before
        return os.open(root, os.O_RDONLY | os.O_CLOEXEC) if _is_left_unlocked(root) else None
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _is_left_unlocked(root: Path) -> bool:
    owner, dash, _ = root.name.removeprefix(_ASIDE).partition("-")
    if dash and owner.isdecimal():
        return _has_died(owner)
    try:  # a version without locks
        return time.time() - root.stat().st_mtime > _FOREIGN_AGE
    except OSError:  # it is gone by now
        return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """A block during which no other transaction is published in `folder`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _take(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, operation: int) -> None:
    """Waits for a lock; drives that have none are used without."""
    with suppress(OSError):
        fcntl.flock(descriptor, operation)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
