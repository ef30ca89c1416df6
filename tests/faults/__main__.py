"""`make faults MINUTES=…`: damaged inputs of all kinds, commands that are killed or have no room, and trainings whose
numbers break, for so long, with a table of what was tried and what held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from tests.faults.conversations import converse
from tests.faults.fuzzing import Outcome, fuzz
from tests.faults.kills import ALL_WORKS, HOW, Disturbance, disturb
from tests.faults.model_targets import model_targets
from tests.faults.targets import all_targets
from tests.faults.trainings import poison_all
from tests.support.tasks import KINDS, Small

_SHOWN = 20  # faults of a kind


def _trials(place: Path, first: int, count: int) -> dict[str, Callable[[float], Outcome]]:
    """What may be tried, by name: functions of the seconds that there are."""
    trials: dict[str, Callable[[float], Outcome]] = {}
    for target in [*all_targets(place / "whole"), *model_targets(place / "models")]:
        trials[target.name] = lambda seconds, target=target: fuzz(
            target, place, first=first, count=count, seconds=seconds
        )
    for protocol in (1, 2):
        trials[f"worker, protocol {protocol}"] = lambda seconds, protocol=protocol: converse(
            protocol, place / f"protocol {protocol}", first=first, count=count, seconds=seconds
        )
    for kind in KINDS:

        def poisoned(seconds: float, kind: str = kind) -> Outcome:
            (place / kind).mkdir()
            small = Small(kind, place / kind / "input").write()
            return poison_all(small, place / kind, first=first, count=count, seconds=seconds)

        trials[f"training {kind}"] = poisoned
    for how, word in HOW.items():
        for name in ALL_WORKS:

            def disturbed(seconds: float, how: Disturbance = how, name: str = name) -> Outcome:
                folder = Path(tempfile.mkdtemp(dir=place))
                return disturb(how, name, folder, first=first, count=count, seconds=seconds)

            trials[f"{word}: {name}"] = disturbed
    return trials


def _row(one: Outcome) -> str:
    numbers = (one.tried, one.taken, one.refused, len(one.faults), f"{one.slowest:.2f}", one.growth >> 10)
    return f"| {one.name} | {' | '.join(map(str, numbers))} |"


def main() -> int:
    """The exit code: 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--first", type=int, default=1000, help="first seed: goes on where another run ended")
    parser.add_argument("--count", type=int, default=10**9, help="at most so many of each kind")
    parser.add_argument("--only", default="", help="kinds whose name has this")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    with tempfile.TemporaryDirectory() as place:
        known = _trials(Path(place), options.first, options.count)
        trials = [trial for name, trial in known.items() if options.only in name]
        outcomes = []
        for trial in trials:
            outcomes.append(trial(60 * options.minutes / len(trials)))
            sys.stderr.write(f"{_row(outcomes[-1])}\n")
    head = (
        "| kind | tried | read, recovered or unharmed | refused, killed | faults | slowest, s | memory, MiB |"
    )
    rows = map(_row, outcomes)
    faults = (
        f"{one.name}, seed {seed}: {fault}"
        for one in outcomes
        for seed, fault in list(one.faults.items())[:_SHOWN]
    )
    sys.stdout.write("\n".join([head, "|---|---|---|---|---|---|---|", *rows, *faults]) + "\n")
    return 1 if any(one.faults for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
