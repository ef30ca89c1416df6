"""Killed before any change of a file, a command goes on, or begins anew, with an equal result; nothing whole is lost.

`make faults MINUTES=10` kills all long commands, with other seeds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_checkpoint
from tests.faults.kills import Disturbance, disturb, kill, starve, stop
from tests.support.kill_points import killed_everywhere
from tests.support.micro import micro_config


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("pack to a zip", 2), ("depth", 3), ("select", 3), ("shapes", 1)]
)
def test_a_command_that_was_killed_ends_as_ever(name: str, count: int, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    outcome = disturb(kill, name, tmp_path / "work", first=3, count=count)
    assert outcome.refused
    assert not outcome.faults


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ship", "lift", "export to tars"])
@pytest.mark.parametrize("how", [kill, stop], ids=["killed", "stopped"])
def test_what_makes_files_of_others_ends_as_ever(how: Disturbance, name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    outcome = disturb(how, name, tmp_path / "work", first=3, count=3)
    assert not outcome.faults


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first"), [("pack to a zip", 0), ("depth", 0), ("select", 0), ("shapes", 0), ("render", 2002)]
)
def test_a_command_whose_disk_was_full_goes_on(name: str, first: int, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    outcome = disturb(starve, name, tmp_path / "work", first=first, count=3)
    assert outcome.refused
    assert not outcome.faults


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True], ids=["new", "begun"])
def test_a_run_folder_is_claimed_again_wherever_its_owner_was_killed(tmp_path: Path, begun: bool) -> None:
    config, path = micro_config(), tmp_path / "run"
    network = torch.nn.Linear(2, 2)
    kept = RunFolder(tmp_path / "kept")

    def step(folder: RunFolder, nimg: int) -> None:
        folder.claim(config, "data")
        save_checkpoint(folder.checkpoint_path(nimg), {"N": network}, {}, {"nimg": nimg})
        folder.forget_old_checkpoints()
        folder.append_stats({"nimg": nimg})
        folder.write_status({"training_seconds": 1.0})

    if begun:
        for nimg in (4, 8):
            step(kept, nimg)
        shutil.copytree(kept.path, path)

    def go_on(kill: int) -> None:
        folder = RunFolder(path)
        folder.claim(config, "data")
        assert not [file for file in path.rglob(".*") if file.is_file()], f"kill {kill}: left-over files"
        checkpoints = folder.list_checkpoints()
        assert len(checkpoints) >= 2 * begun, f"kill {kill}: a checkpoint was lost"
        for checkpoint in checkpoints:
            load_checkpoint(checkpoint, {"N": network}, {})
        del folder  # and its lock
        shutil.rmtree(path)
        if begun:
            shutil.copytree(kept.path, path)

    kills = killed_everywhere(path, lambda: step(RunFolder(path), 12), go_on)
    assert kills > 25
