"""Where a process `gp3d` begins, by that name or as `python -m gp3d_core.cli`."""

from __future__ import annotations

import io
import sys
import warnings
from typing import TextIO

from gp3d_core.signals import ending_imports_quietly

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
        print(f"gp3d: {' '.join(str(message).split())}", file=sys.stderr)
    else:
        _show_others(message, category, filename, lineno, file, line)


def run() -> int:
    """Runs the command line of this process and returns its exit code; Ctrl-C ends it in one line at any time."""
    warnings.showwarning = _show
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may have letters that a terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    with ending_imports_quietly("gp3d: interrupted"):
        from gp3d_core.cli.main import main

        return main()


if __name__ == "__main__":
    sys.exit(run())
