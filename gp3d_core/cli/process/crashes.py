"""What a command says when a library ends its process: by a segmentation fault, an abort, a fault of the bus."""

from __future__ import annotations

import faulthandler
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_END_SECONDS = 1.0
# A shell, which is small, as the process can say nothing more: it has the first line of what Python's faulthandler
# writes, or the end of a pipe, and is in a session of its own, so that what stops the command leaves it alone.
_SAY = """IFS= read -r found && printf '%s (%s)%s\\n' "$0" "${found#Fatal Python error: }" "$1" >&2"""
_WORDS = (
    "gp3d: a library has ended this process",
    ", as some do where memory is used up; give it more memory or ask for less at a time (a smaller grid, batch or "
    "resolution); every file that is there is whole, and the same command goes on",
)


@contextmanager
def crashes_ending_in_one_line() -> Iterator[None]:
    """A block in which a crash of a library ends the process with one line on stderr, and by the signal, as ever.

    Where somebody else asked for the faulthandler's report, or where there is no shell, all stays as it is.
    """
    if faulthandler.is_enabled():
        yield
        return
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as report:
        try:
            shell = subprocess.Popen(
                ["/bin/sh", "-c", _SAY, *_WORDS],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:  # none, or no memory for it
            shell = None
        finally:
            os.close(reading)
        if shell is not None:
            faulthandler.enable(report, all_threads=False)
        try:
            yield
        finally:
            if shell is not None:
                faulthandler.disable()
    if shell is not None:
        with suppress(subprocess.TimeoutExpired):  # a child that lives on may hold the pipe
            shell.wait(_END_SECONDS)
