"""Native libraries in a process of their own: they print to stdout, which the worker's protocol owns, and may crash."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.errors import GP3DError
from gp3d_core.meshing.files.formats import check_libraries
from gp3d_core.signals import Progress, no_progress

_SCRIPT = Path(__file__).with_name("native_child.py")
_CALLED = {"quads": "Instant Meshes", "collision": "CoACD"}
_LOOK_SECONDS = 0.1  # between two looks at whether it has ended


class NativeError(GP3DError):
    """A library that failed, crashed or took too long; the message says which."""


def call(
    task: str, arrays: dict[str, Any], seconds: float, progress: Progress = no_progress
) -> dict[str, NDArray[Any]]:
    """What the library of `task`, a key of native_child.TASKS, makes of `arrays`.

    `progress` hears of the task, and may raise to stop. Raises LibraryError without the library, NativeError
    if it ends badly or takes more than `seconds`.
    """
    check_libraries([task])
    # Files without a name: nothing is left of them, however this process ends.
    with TemporaryFile() as source, TemporaryFile() as target, TemporaryFile() as log:
        np.savez(source, **arrays)
        source.seek(0)
        command = [sys.executable, "-P", str(_SCRIPT), task]
        child = subprocess.Popen(command, stdin=source, stdout=target, stderr=log)
        try:
            _wait(child, task, seconds, progress)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            last = f": {lines[-1].strip()}" if child.returncode > 0 and lines else ""
            raise NativeError(f"{_CALLED[task]} ended with exit code {child.returncode}{last}")
        target.seek(0)
        with np.load(target, allow_pickle=False) as made:
            return dict(made)


def _wait(child: subprocess.Popen[bytes], task: str, seconds: float, progress: Progress) -> None:
    end = time.monotonic() + seconds
    while True:
        progress(task, 0, 1)
        try:
            child.wait(_LOOK_SECONDS)
            return
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                raise NativeError(f"{_CALLED[task]} took more than {seconds:g} seconds") from None
