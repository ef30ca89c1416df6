"""The run folder: what it holds, whose it is, and what happens when it is damaged."""

import json
import math

import pytest

from gp3d_core.snapshots.run_folder import RunError, RunFolder
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.support.micro import (
    CAMERA_GENERATOR,
    StopAfter,
    micro_config,
    micro_data,
    run,
)


@pytest.mark.slow
def test_run_folder_holds_what_it_should(tmp_path):
    dataset = micro_data(tmp_path / "data")
    run(tmp_path / "run", dataset, micro_config(*CAMERA_GENERATOR))
    folder = tmp_path / "run"
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss/generator" in line]
    assert [line["nimg"] for line in steps] == [8, 16, 24]
    assert all(
        math.isfinite(line[key]) for line in steps for key in ("loss/discriminator", "loss/r1_penalty")
    )
    assert all(line["cameras/spread_yaw"] > 0 for line in steps)
    assert any("metrics/nfs" in line for line in lines)
    assert json.loads((folder / "status.json").read_text())["phase"] == "done"
    assert json.loads((folder / "config.json").read_text())["preset"] == "tiny"
    assert [p.name for p in sorted((folder / "snapshots").iterdir())] == ["snapshot-000000.02.safetensors"]
    assert len(list((folder / "checkpoints").iterdir())) == 2
    assert list((folder / "tensorboard").iterdir())
    assert list((folder / "samples").glob("sample-*.png"))
    assert list((folder / "samples").glob("cameras-*.png"))
    assert load_snapshot(folder / "snapshots/snapshot-000000.02.safetensors").nimg == 24


@pytest.mark.slow
def test_folder_of_another_run_is_refused_and_untouched(tmp_path):
    dataset, folder = micro_data(tmp_path / "data"), tmp_path / "run"
    run(folder, dataset, micro_config())
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match=r"training.batch = 4, asked for is 8"):
        RunFolder(folder).claim(micro_config("training.batch=8"), dataset.fingerprint)
    with pytest.raises(RunError, match="the data changed"):
        RunFolder(folder).claim(micro_config(), "other")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    RunFolder(folder).claim(micro_config("training.kimg=1"), dataset.fingerprint)


def test_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder(tmp_path).claim(micro_config(), "")


def test_second_process_in_a_run_folder_is_refused(tmp_path):
    dataset = micro_data(tmp_path / "data")
    first = RunFolder(tmp_path / "run")
    first.claim(micro_config(), dataset.fingerprint)
    with pytest.raises(RunError, match="another process is training"):
        RunFolder(tmp_path / "run").claim(micro_config(), dataset.fingerprint)


@pytest.mark.slow
def test_run_that_learnt_nothing_may_be_started_otherwise(tmp_path):
    dataset, folder = micro_data(tmp_path / "data"), tmp_path / "run"
    run(folder, dataset, micro_config(), StopAfter(0))  # leaves the checkpoint of the start
    state = run(folder, dataset, micro_config("training.batch=8"))
    assert state.config.training.batch == 8


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"[1]"])
@pytest.mark.parametrize("name", ["config.json", "data.json"])
def test_damaged_records_are_one_clear_line(tmp_path, name, damage):
    dataset, folder = micro_data(tmp_path / "data"), tmp_path / "run"
    run(folder, dataset, micro_config("training.kimg=0.008"))
    (folder / name).write_bytes(damage)
    with pytest.raises(RunError, match=r"cannot be read|the data changed"):
        RunFolder(folder).claim(micro_config("training.kimg=0.008"), dataset.fingerprint)
