"""What interrupts a command before its first line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_ctrl_c_before_the_first_line_is_no_success() -> None:
    """Python raises it until our own handler is in place, and nobody then knows of which signal it was."""
    program = """
import sys
from gp3d_core.cli import __main__ as beginning

def interrupted():
    raise KeyboardInterrupt

beginning.threads_ending_in_one_line = interrupted
sys.exit(beginning.run())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "gp3d: interrupted\n")
