"""Damaged inputs of one kind after the other, drawn by seed, and what became of them."""

from __future__ import annotations

import random
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.targets import Target, read_once
from tests.support.limits import limited_seconds

LONGEST_SECONDS = 10
LONGEST_LINE = 2000  # characters of an answer
MOST_GROWTH = 1 << 20  # KiB that reading damaged files may add to the process's largest size


@dataclass
class Outcome:
    """Of one kind: how many were read and refused, the faults with the seeds that show them, and what it took."""

    name: str
    taken: int = 0
    refused: int = 0
    faults: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    growth: int = 0  # KiB

    @property
    def tried(self) -> int:
        """How many inputs there were."""
        return self.taken + self.refused + len(self.faults)


def fuzz(target: Target, folder: Path, *, first: int, count: int = 10**9, seconds: float = 1e9) -> Outcome:
    """Tries seeds from `first` on, until there were `count` or `seconds` have gone."""
    outcome, began = Outcome(target.name), time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(first, first + count):
        if time.monotonic() - began > seconds:
            break
        path = target.draw(random.Random(f"{target.name} {seed}"), folder)
        start = time.monotonic()
        try:
            with limited_seconds(LONGEST_SECONDS):
                answer = read_once(target, path)
        except Exception as error:  # whatever it is, it is what we look for
            outcome.faults[seed] = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        else:
            outcome.taken += answer is None
            outcome.refused += answer is not None
            if answer is not None and ("\n" in answer or not answer.strip() or len(answer) > LONGEST_LINE):
                outcome.faults[seed] = f"no single line: {answer[:120]!r}"
                outcome.refused -= 1
        outcome.slowest = max(outcome.slowest, time.monotonic() - start)
        path.unlink(missing_ok=True)
    outcome.growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if outcome.growth > MOST_GROWTH:
        outcome.faults[-1] = f"memory grew by {outcome.growth >> 10} MiB"
    return outcome
