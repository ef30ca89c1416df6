"""The standard streams of a process: some may be closed, and whoever reads them may go before its end."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO


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


def secure_streams() -> None:
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
