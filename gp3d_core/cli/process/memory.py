"""What a command says and does when memory is used up."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

from gp3d_core.errors import lacks_memory

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from threading import ExceptHookArgs

NO_MEMORY = (
    "gp3d: there is not enough memory for this; ask for less at a time (a smaller grid, batch or resolution) or end "
    "other programs; every file that is there is whole\n"
)
EXIT_CODE = 3
_BUFFER = 32 << 20  # bytes
# mallopt's parameters, from glibc's malloc.h
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_KEPT = 64 << 20  # bytes
_MAPPED = 16 << 20  # bytes: arrays from this size on are given back at once all the same
_LINE = NO_MEMORY.encode()
_ENDING = threading.Lock()  # never given back: of several threads without memory only the first says so


def take_buffers() -> None:
    """Lets numpy's OpenBLAS have its buffer of 32 MiB now: where it cannot have one later, it tries again for ever.

    Where the address space is limited (`ulimit -v`), threads share a heap from now on: one of its own takes 64 MiB of
    that space, and a thread without room for it asks again for every object that it makes.

    Raises OSError (ENOMEM) if there is not even that.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)
    mmap.mmap(-1, 2 * _BUFFER).close()
    import numpy as np

    np.linalg.det(np.eye(3))


def keep_freed_memory() -> None:
    """Lets the process keep up to 64 MiB that it has freed, as glibc can be told to; with others nothing changes.

    By default arrays of some megabytes are given back at once, so that the system clears their pages for the next
    ones: nine tenths of the page faults of `gp3d vq3d sample`. Large ones would leave gaps in what is kept.
    """
    with suppress(AttributeError):  # another C library than glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _MAPPED)


@contextmanager
def threads_ending_in_one_line() -> Iterator[None]:
    """A block in which want of memory in any thread ends the process in one line, with exit code 3.

    Python waits for ever for a thread that had no memory for its first steps, and pools wait for what a thread that has
    died was to do.
    """
    before = sys.unraisablehook, threading.excepthook
    found: SimpleQueue[UnraisableHookArgs | None] = SimpleQueue()
    ready = threading.Event()

    def look() -> None:
        ready.set()
        while (error := found.get()) is not None:
            if error.exc_type is MemoryError and "thread" in (error.err_msg or "thread"):
                _end()
            before[0](error)

    def uncaught(error: ExceptHookArgs) -> None:
        if isinstance(error.exc_value, Exception) and lacks_memory(error.exc_value):
            _end()
        before[1](error)

    # A thread without memory has none for a hook in Python, either: what it puts here is looked at by one that has.
    looking = threading.Thread(target=look, daemon=True, name="gp3d memory")
    looking.start()
    ready.wait()
    sys.unraisablehook, threading.excepthook = found.put, uncaught
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = before
        found.put(None)
        looking.join()


def _end() -> None:
    _ENDING.acquire()
    with suppress(OSError):
        os.write(2, _LINE)  # a stream may lack memory, too, or belong to another thread
    os._exit(EXIT_CODE)
