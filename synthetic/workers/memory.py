"""How a command ends when memory is used up: in one line, whichever of its threads had none."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import resource
import sys
import threading
from contextlib import suppress
from multiprocessing import active_children
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from threading import ExceptHookArgs
    from types import TracebackType

_LINE = b"error: there is not enough memory; take fewer workers or end other programs; the same command continues\n"
_STATUS = 2
_BUFFER = 32 << 20  # bytes
_MOST_HEAPS = -8  # mallopt's M_ARENA_MAX
_TRIM_FROM, _MAP_FROM = -1, -3  # its M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_KEPT, _MAPPED = 64 << 20, 32 << 20  # bytes
_SIGNS = re.compile(
    r"can't start new thread|bad_alloc|failed to map segment|error return without exception set"
    r"|without setting an exception"
    r"|(?:cannot|can't) allocate memory|out of memory",
    re.IGNORECASE,
)


def take_buffers() -> None:
    """Lets numpy's OpenBLAS have its buffer of 32 MiB now: where it cannot have one later, it tries again for ever.

    Where the address space is limited (`ulimit -v`), threads share a heap from now on: one of its own takes 64 MiB of
    that space, and a thread without room for it asks again for every object that it makes.

    Raises OSError (ENOMEM) if there is not even that.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_MOST_HEAPS, 1)
    mmap.mmap(-1, 2 * _BUFFER).close()
    import numpy as np

    np.linalg.det(np.eye(3))


def keep_memory() -> None:
    """From now on the process keeps up to 64 MiB that it has freed, for what it asks for next: pages that the system
    takes back and gives again, model by model, are cleared each time.
    """
    with suppress(AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        library.mallopt(_TRIM_FROM, _KEPT)
        library.mallopt(_MAP_FROM, _MAPPED)


def watch_memory() -> None:
    """From now on want of memory ends the process in one line, in whichever thread: Python, and pools, would wait for
    ever for a thread that had none.
    """
    usual, unraisable, uncaught = sys.excepthook, sys.unraisablehook, threading.excepthook
    found: SimpleQueue[UnraisableHookArgs] = SimpleQueue()
    ready = threading.Event()

    def look() -> None:
        ready.set()
        while True:
            error = found.get()
            if error.exc_type is MemoryError and "thread" in (error.err_msg or "thread"):
                _end()
            unraisable(error)

    def look_at_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _lacks_memory(error):
            for child in active_children():  # that have only begun, and would complain of what has gone
                child.kill()
            _say()
            raise SystemExit(_STATUS)
        usual(kind, error, trace)

    def look_at_work(error: ExceptHookArgs) -> None:
        if _lacks_memory(error.exc_value):
            _end()
        uncaught(error)

    # A thread without memory has none for a hook in Python, either: what it puts here is looked at by one that has.
    threading.Thread(target=look, daemon=True, name="memory").start()
    ready.wait()
    sys.excepthook, sys.unraisablehook, threading.excepthook = look_at_end, found.put, look_at_work


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one while which it was raised, says that memory is used up: Python's, the system's, or a
    library's in C++.
    """
    if error is None:
        return False
    if isinstance(error, OSError):  # whose text names files
        found = error.errno == errno.ENOMEM
    else:
        known = isinstance(error, RuntimeError | ImportError | SystemError)
        found = isinstance(error, MemoryError) or (known and _SIGNS.search(str(error)) is not None)
    return found or _lacks_memory(error.__context__)


def _say() -> None:
    with suppress(OSError):
        os.write(2, _LINE)  # a stream may lack memory, too, or belong to another thread


def _end() -> None:
    _say()
    os._exit(_STATUS)
