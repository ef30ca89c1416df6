"""Running programs of other packages, as a person would type them."""

from __future__ import annotations

import subprocess
import sys

from gp3d_core.errors import GP3DError


class ProgramError(GP3DError):
    """A program that failed; the message names the command."""


def call(module: str, *arguments: object) -> None:
    """Runs `python -m module arguments`. Raises ProgramError if it fails, KeyboardInterrupt if it was stopped."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    code = subprocess.run(command, check=False).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise ProgramError(f"`{' '.join(['python', *command[1:]])}` ended with exit code {code}; see above")
