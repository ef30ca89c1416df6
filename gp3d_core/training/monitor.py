"""Reports on any run: progress bar, curves, statistics and status."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from gp3d_core.config.schedule import Schedule
from gp3d_core.distributed import World
from gp3d_core.snapshots.run_folder import RunFolder

_LINE_SECONDS = 10.0  # between two lines where there is no terminal


class HasClock(Protocol):
    """The part of any run's state that tells how far it is."""

    nimg: int
    rollbacks: int
    seconds: float


State = TypeVar("State", bound=HasClock)


class RunMonitor(Generic[State]):
    """Progress bar, curves and status of a run; only the leading process writes anything.

    `players` are what the bar shows beside the rate: short names, and the numbers they stand for. A context manager:
    bar and curves begin at the state's clock when it is entered.
    """

    players: Mapping[str, str] = MappingProxyType({})
    unit = "img"

    def __init__(self, state: State, schedule: Schedule, folder: RunFolder, world: World) -> None:
        self.state, self.folder, self.world = state, folder, world
        self._total = schedule.images
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._skipped = 0
        self._pictured = -1
        self._written = -math.inf

    def __enter__(self) -> Self:
        """Starts the progress bar and the curves."""
        self._start = (time.monotonic(), self.state.nimg)
        if self.world.leads:
            self._bar = tqdm(
                total=self._total,
                initial=self.state.nimg,
                unit=self.unit,
                desc="training",
                dynamic_ncols=True,
                mininterval=1,
                disable=None,  # a file is told in whole lines, below
            )
            self._curves = self._open_curves()
        return self

    def __exit__(self, *_error: object) -> None:
        """Leaves the screen tidy for whatever is printed next."""
        if self.world.leads:
            self._bar.close()
            self._curves.close()

    def add(self, log: Mapping[str, float], skipped: bool) -> None:
        """Takes in one step."""
        for name, value in log.items():
            self._sums[name].append(value)
        self._skipped += skipped
        if self.world.leads:
            self._bar.update(self.state.nimg - self._bar.n)

    def report(self) -> None:
        """Writes the means since the last report to stats.jsonl, TensorBoard and status.json."""
        if self.world.leads:
            means = {name: float(np.mean(values)) for name, values in self._sums.items()}
            means |= {"skipped_steps": self._skipped} | self.measures()
            self.note({"seconds": round(self.state.seconds, 2)} | means, curves=means)
            self._write_status("training")
            shown = [f"{player} {means[name]:.2f}" for player, name in self.players.items() if name in means]
            self._bar.set_postfix_str(" ".join(shown))
            self._write_line(" ".join(shown))
        self._sums.clear()
        self._skipped = 0

    def _write_line(self, shown: str) -> None:
        """Says how far the run is where there is no terminal, at most every ten seconds."""
        now, nimg = time.monotonic(), self.state.nimg
        if not self._bar.disable or now - self._written < _LINE_SECONDS:
            return
        self._written = now
        rate = (nimg - self._start[1]) / max(now - self._start[0], 1e-9)
        self._bar.write(
            f"training: {nimg} of {self._total} {self.unit}, {rate:.2f} {self.unit}/s {shown}".rstrip(),
            file=sys.stderr,
        )

    def picture(self) -> None:
        """Draws what the run can do by now, and measures it; once for the same state."""
        if not self.world.leads or self._pictured == self.state.nimg:
            return
        self._pictured = self.state.nimg
        self.draw(f"{self.state.nimg / 1000:09.2f}")

    def measures(self) -> dict[str, float]:
        """Further numbers for a report; none unless a subclass has some."""
        return {}

    def draw(self, name: str) -> None:
        """Saves pictures in `samples` with `name` in their names, and hands what is measured to `note`."""

    def note(self, numbers: Mapping[str, float], curves: Mapping[str, float] | None = None) -> None:
        """Writes `numbers` to stats.jsonl, and them, or the `curves` if given, to TensorBoard."""
        self.folder.append_stats({"nimg": self.state.nimg} | dict(numbers))
        for name, value in (numbers if curves is None else curves).items():
            self._curves.add_scalar(name, value, self.state.nimg)

    def note_rollback(self, reason: str) -> None:
        """Says that the run went back, and lets bar and curves follow it there."""
        self._sums.clear()
        self._skipped = 0
        self._pictured = -1  # the same clock comes again with other weights
        if self.world.leads:
            nimg = self.state.nimg
            self._bar.write(
                f"training diverged ({reason}); going on from {nimg} {self.unit} with other randomness",
                file=sys.stderr,
            )
            self._bar.update(nimg - self._bar.n)
            self._start = (time.monotonic(), nimg)
            self._curves.close()
            self._curves = self._open_curves()

    def finish(self, phase: str) -> None:
        """Writes how the run ended: "done", "interrupted" or "time is up", after drawing the last pictures.

        One that is interrupted draws none: whoever stops a program waits for its end, and pictures take half a minute.
        """
        if self.world.leads:
            if phase != "interrupted":
                self.picture()
            self._write_status(phase)

    def _open_curves(self) -> SummaryWriter:
        """TensorBoard's writer; what it wrote beyond the clock, before a resume or a rollback, is hidden."""
        return SummaryWriter(str(self.folder.path / "tensorboard"), purge_step=self.state.nimg)

    def _write_status(self, phase: str) -> None:
        state, (began, first) = self.state, self._start
        rate = (state.nimg - first) / max(time.monotonic() - began, 1e-9)
        checkpoints = self.folder.list_checkpoints()
        record = {
            "phase": phase,
            "pid": os.getpid(),
            "nimg": state.nimg,
            "images_per_second": round(rate, 2),
            "eta_seconds": round((self._total - state.nimg) / rate) if rate > 0 else None,
            "training_seconds": round(state.seconds, 1),
            "rollbacks": state.rollbacks,
            "last_good": checkpoints[0].name if checkpoints else None,
        }
        self.folder.write_status(record)
