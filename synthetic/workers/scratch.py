"""Folders for scratch files that the next run removes, should their owner be killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NAME = re.compile(r"gp3d-[a-z0-9]+-(\d+)-\w+")
_LOCK = ".lock"  # its lock is the system's: it is free as soon as the owner and its children are dead


class Scratch:
    """A new folder at `path`, its owner's until it is closed, or until all processes that hold `lock` are dead.

    A child process that uses the folder has to inherit the file descriptor `lock`.
    """

    def __init__(self, kind: str = "render") -> None:
        """Makes the folder where temporary files go."""
        self.path = Path(tempfile.mkdtemp(prefix=f"gp3d-{kind}-{os.getpid()}-"))
        self.lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Removes the folder."""
        if self.lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self.lock)
            self.lock = -1


@contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """A folder that goes with the block; what killed processes have left is removed before."""
    remove_leftovers()
    scratch = Scratch(kind)
    try:
        yield scratch.path
    finally:
        scratch.close()


def remove_leftovers() -> int:
    """How many folders of this user's dead processes were there; they are removed."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob("gp3d-*"):
        if _NAME.fullmatch(path.name) and not path.is_symlink() and _is_left(path):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def _is_left(path: Path) -> bool:
    try:
        if path.stat().st_uid != os.getuid():
            return False
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its owner is about to make the lock, or died before
        return path.is_dir() and not _lives(path.name.split("-")[2])
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _lives(process: str) -> bool:
    """Whether a process of this number runs; True for what is no number."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True
