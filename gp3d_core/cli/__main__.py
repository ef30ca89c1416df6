"""Where a process `gp3d` begins, by that name or as `python -m gp3d_core.cli`."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import TextIO

from gp3d_core.cli.process.crashes import crashes_ending_in_one_line
from gp3d_core.cli.process.memory import threads_ending_in_one_line
from gp3d_core.cli.process.streams import secure_streams
from gp3d_core.errors import one_line
from gp3d_core.signals import RAISED, ending_in_one_line

_INTERRUPTED = "gp3d: interrupted"
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


def run() -> int:
    """Runs the command line; the exit code. Ctrl-C, SIGTERM and SIGHUP end the process in one line at any time."""
    warnings.showwarning = _show
    secure_streams()
    code = None
    try:
        with (
            crashes_ending_in_one_line(),
            ending_in_one_line(_INTERRUPTED),
            threads_ending_in_one_line(),
        ):
            from gp3d_core.cli.main import main

            code = main()
    except KeyboardInterrupt:  # before the command's first line, or after its last
        if code is None:
            print(_INTERRUPTED, file=sys.stderr)
            code = RAISED.exit_code or _BY_SIGNAL + signal.SIGINT  # Python's own, before ours was in place
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
