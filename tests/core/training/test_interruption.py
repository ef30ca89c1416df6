"""Signals, kill -9 and a full disk: the command line stops cleanly and resumes from whole files."""

import json
import resource
import signal
import subprocess
import sys
import time

import pytest

from gp3d_core.snapshots.run_folder import RunFolder
from tests.support.micro import (
    MICRO,
    micro_data,
)


def command_line(tmp_path, *more):
    settings = [word for item in (*MICRO, *more) for word in ("--set", item)]
    return [
        sys.executable,
        "-m",
        "gp3d_core.cli",
        "train",
        str(tmp_path / "data"),
        str(tmp_path / "run"),
        *settings,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_saves_and_leaves_cleanly(tmp_path, number):
    micro_data(tmp_path / "data")
    process = subprocess.Popen(
        command_line(tmp_path, "training.kimg=100"), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "run/stats.jsonl")
    process.send_signal(number)
    if number != signal.SIGINT:  # launchers and schedulers send it twice
        process.send_signal(number)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "Traceback" not in messages
    assert json.loads((tmp_path / "run/status.json").read_text())["phase"] == "interrupted"
    assert list((tmp_path / "run/samples").iterdir()) == []  # pictures take time that nobody waits for


@pytest.mark.slow
def test_killed_run_resumes_from_a_whole_checkpoint(tmp_path):
    micro_data(tmp_path / "data")
    process = subprocess.Popen(
        command_line(tmp_path, "training.kimg=100", "training.checkpoint_kimg=0.004"),
        stderr=subprocess.DEVNULL,
    )
    wait_for(tmp_path / "run/stats.jsonl")
    time.sleep(0.5)  # it now spends most of its time saving
    process.kill()
    process.wait()
    (tmp_path / "run/checkpoints/.checkpoint-9999999999.safetensors.1.tmp.safetensors").write_bytes(
        b"half a file"
    )
    newest = RunFolder(tmp_path / "run").list_checkpoints()[0]
    goal = int(newest.stem.split("-")[1]) + 8
    done = subprocess.run(
        command_line(tmp_path, f"training.kimg={goal / 1000}", "training.checkpoint_kimg=0.004"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"done at {goal} images" in done.stderr
    assert not list((tmp_path / "run").rglob(".*.tmp*"))


@pytest.mark.slow
def test_full_disk_stops_with_one_line_and_leaves_the_last_good_state(tmp_path):
    """A limit on the size of files stands for the disk: the second checkpoint, which holds moments, does not fit."""
    micro_data(tmp_path / "data")
    first = subprocess.run(
        command_line(tmp_path, "training.kimg=0.004"), capture_output=True, check=False, timeout=120
    )
    assert first.returncode == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run/checkpoints").iterdir()}
    largest = max(map(len, before.values()))
    done = subprocess.run(
        command_line(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, largest // 2)),
    )
    assert done.returncode == 2
    told = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("gp3d: ")]
    assert len(told) == 1, done.stderr
    assert "cannot be written" in told[0]
    assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in (tmp_path / "run/checkpoints").iterdir()} == before


def wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.1)
