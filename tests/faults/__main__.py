"""`make faults MINUTES=…`: damaged inputs of all kinds for so long, with a table of what was tried and what held."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.fuzzing import fuzz
from tests.faults.targets import all_targets

_SHOWN = 20  # faults of a kind


def main() -> int:
    """The exit code: 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--first", type=int, default=1000, help="first seed")
    parser.add_argument("--only", default="", help="kinds whose name has this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        targets = [t for t in all_targets(Path(place) / "whole") if options.only in t.name]
        outcomes = []
        for target in targets:
            seconds = 60 * options.minutes / len(targets)
            outcomes.append(fuzz(target, Path(place), first=options.first, seconds=seconds))
            sys.stderr.write(f"{target.name}: {outcomes[-1].tried}\n")
    head = "| kind | tried | read | refused in one line | faults | slowest, s | memory, MiB |"
    rows = (
        f"| {one.name} | {one.tried} | {one.taken} | {one.refused} | {len(one.faults)} | {one.slowest:.2f} "
        f"| {one.growth >> 10} |"
        for one in outcomes
    )
    faults = (
        f"{one.name}, seed {seed}: {fault}"
        for one in outcomes
        for seed, fault in list(one.faults.items())[:_SHOWN]
    )
    sys.stdout.write("\n".join([head, "|---|---|---|---|---|---|---|", *rows, *faults]) + "\n")
    return 1 if any(one.faults for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
