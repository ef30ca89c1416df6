"""Locks between processes: what one is writing, another leaves alone. The system frees those of a process that dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gp3d_core.errors import GP3DError


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
