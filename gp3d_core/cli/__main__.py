"""Where a process `gp3d` begins, by that name or as `python -m gp3d_core.cli`."""

from __future__ import annotations

import sys

from gp3d_core.signals import ending_imports_quietly


def run() -> int:
    """Runs the command line of this process and returns its exit code; Ctrl-C ends it in one line at any time."""
    with ending_imports_quietly("gp3d: interrupted"):
        from gp3d_core.cli.main import main

        return main()


if __name__ == "__main__":
    sys.exit(run())
