"""What a textured mesh costs from a cold start, snapshots taking turns."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.comparison.subjects import Subject


def cold_starts(
    subjects: Sequence[Subject], name: str, repeats: int, texture: int
) -> dict[str, tuple[float, float]]:
    """By snapshot the least wall and the least CPU seconds of `gp3d mesh` for one textured mesh of the class `name`.

    Whole commands, start of Python included, `repeats` of each in turn, so that what else the machine does meets all
    alike; one of each goes first and does not count, since it may find files that are not in memory yet.
    """
    found: dict[str, list[tuple[float, float]]] = {subject.name: [] for subject in subjects}
    for turn in range(repeats + 1):
        for subject in subjects:
            seconds = _once(subject, name, turn, texture)
            if turn:
                found[subject.name].append(seconds)
    return {
        key: (min(wall for wall, _ in times), min(cpu for _, cpu in times)) for key, times in found.items()
    }


def _once(subject: Subject, name: str, seed: int, texture: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["mesh", str(subject.snapshot.path), "--class", name, "--seeds", str(seed), "--device", "cpu"]
        words += ["--texture-size", str(texture), "--out", folder]
        cpu, wall = _children(), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "gp3d_core.cli", *words], check=True, capture_output=True, text=True
        )
        return time.monotonic() - wall, _children() - cpu


def _children() -> float:
    """CPU seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system
