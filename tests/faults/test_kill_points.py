"""Killed before any change of a file, a run goes on by the same command, or begins anew; nothing whole is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_checkpoint, save_checkpoint
from tests.support.kill_points import killed_everywhere
from tests.support.micro import micro_config


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
