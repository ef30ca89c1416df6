"""Files that other readers see either complete or not at all, in folders that one process at a time writes."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO

LOCK = ".lock"  # of a folder that somebody writes
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # there is no room, whatever is written


def _part(path: Path) -> Path:
    """Where a file is written before it is whole: its own for every process, as a killed one's child may live on."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there; OSError for the name of a pipe, a socket or a device."""
    part = _part(path)
    _check_name(path)
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        _name(error, path)
        raise
    except BaseException:  # not `finally`: to look for what is not there takes time of every file
        part.unlink(missing_ok=True)
        raise


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """The same for a file that is written piece by piece inside `with`."""
    part = _part(path)
    _check_name(path)
    try:
        with part.open("wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        if error.filename in (None, str(part)):
            _name(error, path)
        raise
    finally:
        part.unlink(missing_ok=True)


def _check_name(path: Path) -> None:
    """Raises OSError where a pipe, a socket or a device has that name; a file is replaced, a folder stays."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing, or a link to nothing; else the write says it
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device; take another name", str(path))


def opened(path: Path) -> BufferedReader:
    """A file to be read; OSError at once for a pipe, a socket or a device of that name, whose end may never come."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(file, "rb")


def content_of(path: Path) -> bytes:
    """All of a file; as `opened`."""
    with opened(path) as file:
        return file.read()


def _name(error: OSError, path: Path) -> None:
    """Lets an error speak of the file that was meant: a full disk is found out by a write, which knows no name."""
    error.filename = str(path)
    del error.filename2  # where it is None, it is printed
    if error.errno in FULL and error.strerror:
        error.strerror += "; make room there, then the same command goes on"


@contextmanager
def alone_in(folder: Path, refusal: ValueError) -> Iterator[None]:
    """A block that keeps other processes out of a folder, which has to be there; raises `refusal` where one is in.

    What killed processes left half-written in the folder and right below it is removed.
    """
    lock = _locked(folder / LOCK)
    if lock is None:
        raise refusal
    try:
        remove_parts(folder)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(lock)


def _locked(path: Path) -> int | None:
    """A descriptor of the file at `path`, locked until it is closed; None if another process has locked it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(file)):
            return file
        os.close(file)  # its last user has just removed it


def is_part(path: Path) -> bool:
    """Whether `path` is what a killed process left half-written."""
    return path.name.startswith(".") and path.name.endswith(".part")


def remove_parts_of(pid: int, path: Path) -> None:
    """Removes what a process that has ended left half-written of the files whose paths begin with `path`."""
    for part in path.parent.glob(f".{glob.escape(path.name)}*.{pid}.part"):
        part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder and right below it; nobody else may write there."""
    for path in (*folder.glob(".*.part"), *folder.glob("*/.*.part")):
        path.unlink(missing_ok=True)
