"""Where a process `gp3d` begins, by that name or as `python -m gp3d_core.cli`."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from contextlib import suppress
from typing import Any, TextIO

from gp3d_core.errors import one_line
from gp3d_core.signals import ending_in_one_line

_BY_SIGNAL = 128  # exit codes above tell of a signal
_show_others = warnings.showwarning


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Says a warning of gp3d in one line, without where it stands in the code; others as Python does."""
    if "gp3d_core" in filename and issubclass(category, UserWarning):
        print(f"gp3d: {one_line(str(message))}", file=sys.stderr)
    else:
        _show_others(message, category, filename, lineno, file, line)


class _Output(io.FileIO):
    """Bytes to a reader; once it has gone, nowhere, so that what was begun is done and ends as it would have ended."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        closed = {errno.EIO} if self.isatty() else set()  # as a terminal says it
        self._gone = {errno.EPIPE} | closed

    def write(self, data: Any, /) -> int:
        """How many bytes were taken."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self._gone:
                raise
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())  # children print there, too
            os.close(nothing)
            return memoryview(data).nbytes


def _secure_streams() -> None:
    """Opens stdin, stdout and stderr where they are closed, and lets stdout and stderr outlive their readers.

    Of closed ones the next files that are opened would get the numbers, and what is printed would land in them. Letters
    that a terminal has not are escaped: names of files may have any.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout = _secured(sys.stdout, 1)
    sys.stderr = _secured(sys.stderr, 2)


def _secured(stream: TextIO | None, descriptor: int) -> TextIO:
    """The stream of a descriptor, for one that Python made, or for none."""
    if not isinstance(stream, io.TextIOWrapper | None):  # a test's, or a notebook's
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor)),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
        write_through=stream is not None and stream.write_through,
    )


def run() -> int:
    """Runs the command line; the exit code. Ctrl-C, SIGTERM and SIGHUP end the process in one line at any time."""
    warnings.showwarning = _show
    _secure_streams()
    with ending_in_one_line("gp3d: interrupted"):
        from gp3d_core.cli.main import main

        code = main()
    if (
        code > _BY_SIGNAL
    ):  # all is saved and closed, and whoever stopped it waits: Python's end takes seconds with torch
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
