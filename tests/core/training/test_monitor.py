"""What a run says while it goes on, and after a rollback."""

from __future__ import annotations

from pathlib import Path

import pytest

from gp3d_core.config.schedule import Schedule
from gp3d_core.distributed import World
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.monitor import RunMonitor


class Clock:
    nimg, rollbacks, seconds = 8, 0, 0.0


class Drawing(RunMonitor[Clock]):
    """A monitor of a training on objects that notes what it draws."""

    unit = "obj"

    def __init__(self, folder: Path) -> None:
        schedule = Schedule(kimg=1, status_kimg=1, snapshot_kimg=1, checkpoint_kimg=1, max_rollbacks=1)
        super().__init__(Clock(), schedule, RunFolder(folder), World())
        self.drawn: list[str] = []

    def draw(self, name: str) -> None:
        self.drawn.append(name)


def test_a_rollback_is_told_on_stderr_in_the_runs_own_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Drawing(tmp_path) as monitor:
        monitor.note_rollback("loss is nan")
    found = capsys.readouterr()
    assert found.out == ""
    assert "training diverged (loss is nan); going on from 8 obj with other randomness" in found.err


def test_the_same_clock_is_drawn_once_and_again_after_a_rollback(tmp_path: Path) -> None:
    """What comes after a rollback has other weights."""
    with Drawing(tmp_path) as monitor:
        monitor.picture()
        monitor.picture()
        assert monitor.drawn == ["000000.01"]
        monitor.note_rollback("loss is nan")
        monitor.picture()
    assert monitor.drawn == ["000000.01"] * 2
