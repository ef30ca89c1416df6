"""The runs of a table's rows: trained in rounds, so that all rows have seen as many images whenever time is up.

OUT/runs/ROW-SEED is a run folder of `gp3d train`. A round ends at 1, 2, 4 … thousand images; nobody
begins a round before everybody has ended the one before. A run that was taken further by hand is taken as it is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.tables.rows import Row
from gp3d_core.cli.arguments import flag_of
from gp3d_core.config.schema import RunConfig
from gp3d_core.errors import spell
from gp3d_core.ops.backends import announce
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.start import start_training


@dataclass(frozen=True, eq=False)
class TableRun:
    """One row of one seed: its configuration, with the images of the last round, and its folder."""

    row: Row
    seed: int
    config: RunConfig
    path: Path

    @property
    def name(self) -> str:
        """Of its folders."""
        return f"{self.row.key}-{self.seed}"

    def snapshot_at(self, images: int) -> Path | None:
        """The snapshot of `images`, or of the step that passed them; None if there is none."""
        batch = self.config.training.batch
        for path in sorted(RunFolder(self.path).snapshots.glob("snapshot-*.safetensors")):
            # names have the thousands in two decimals: only the file itself says how many exactly
            if images <= read_snapshot_facts(path).nimg < images + batch:
                return path
        return None

    def images_seen(self) -> int:
        """Images that the run has seen."""
        return RunFolder(self.path).images_seen()

    def facts(self) -> dict[str, Any]:
        """What status.json knows: images `trained`, `seconds` of that, and `rollbacks`; zeros before there is one."""
        try:
            status = json.loads((self.path / "status.json").read_text(encoding="utf-8"))
            return {
                "trained": int(status["nimg"]),
                "seconds": float(status["training_seconds"]),
                "rollbacks": int(status["rollbacks"]),
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {"trained": 0, "seconds": 0.0, "rollbacks": 0}


@dataclass(frozen=True)
class Inputs:
    """What rows are trained on: pictures, features of a teacher, weights of the projected discriminator."""

    data: Path
    features: Path | None
    weights: Path | None
    device: str


def runs_of(
    rows: Iterable[Row], out: Path, size: int, seeds: int, assignments: Sequence[str]
) -> list[TableRun]:
    """The runs of all rows that are trained, seed by seed. Raises TableError or ConfigError as `Row.config` does."""
    return [
        TableRun(
            row,
            seed,
            row.config(size, [*assignments, f"training.seed={seed}"]),
            out / "runs" / f"{row.key}-{seed}",
        )
        for seed in range(seeds)
        for row in rows
        if row.kind == "trained"
    ]


def rounds(first: float, last: float, growth: float = 2.0) -> list[int]:
    """Images at the ends of rounds: `first` thousand, `growth` times as many until `last` thousand."""
    if first >= last:
        return [max(1, round(1000 * last))]
    ends, at = [], first
    while at < last:
        ends.append(round(1000 * at))
        at *= growth
    return [*ends, round(1000 * last)]


def train(runs: Sequence[TableRun], ends: Sequence[int], inputs: Inputs, minutes: float) -> int:
    """Trains all `runs` in rounds for at most `minutes` in all; 0, or the exit code of one that was interrupted."""
    begin = time.monotonic()
    for run, images in _due(runs, ends):
        left = minutes - (time.monotonic() - begin) / 60
        if left <= 0:
            break
        print(f"-- {run.name} to {images} images; {left:.0f} min left", file=sys.stderr, flush=True)
        code = _advance(run, images, inputs, left)
        if code:
            return code
    return 0


def _due(runs: Sequence[TableRun], ends: Sequence[int]) -> Iterator[tuple[TableRun, int]]:
    """The runs that have to be taken to the end of a round, round by round."""
    for images in ends:
        for run in runs:
            if run.images_seen() < images:
                yield run, images


def _advance(run: TableRun, images: int, inputs: Inputs, minutes: float) -> int:
    """Takes a run to `images`, for at most so many `minutes`; its exit code."""
    every = images / 1000
    settings = replace(run.config.training, kimg=every, snapshot_kimg=every)
    ending = start_training(
        replace(run.config, training=settings),
        inputs.data,
        run.path,
        device=inputs.device,
        features=inputs.features if run.row.teacher else None,
        weights=inputs.weights if run.row.projected else None,
        max_minutes=RunFolder(run.path).training_seconds() / 60 + minutes,
        notice=lambda line: announce(spell(line, flag_of)),
    )
    print(ending.message, file=sys.stderr, flush=True)
    return ending.exit_code


def last_round(runs: Sequence[TableRun], ends: Sequence[int]) -> int | None:
    """The last of `ends` that every run with any snapshot of them has one of; None if no run has."""
    reached = [[images for images in ends if run.snapshot_at(images)] for run in runs]
    begun = [own for own in reached if own]
    common = set.intersection(*map(set, begun)) if begun else set()
    return max(common, default=None)
