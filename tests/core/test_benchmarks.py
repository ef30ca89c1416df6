"""What a GPU machine runs, at toy size: the figures mean nothing here. `benchmarks/gpu.sh --toy 1` is all of it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import bench_kernels, bench_step, measuring
from benchmarks.measuring import COLUMNS, Rows, tf32

ROOT = Path(__file__).resolve().parents[2]


def gpu_script(out: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["benchmarks/gpu.sh", "--python", sys.executable, *options],
        cwd=ROOT,
        env={**os.environ, "OUT": str(out), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_benchmarks_measure_everything_and_save_it(tmp_path, capsys, monkeypatch):
    rows_file = tmp_path / "rows.csv"
    bench_kernels.main(["--toy", "--seconds", "20", "--csv", str(rows_file)])
    bench_step.main(["--toy", "--tf32", "off", "--seconds", "2", "--csv", str(rows_file)])
    with rows_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    figures = " ".join(row["figure"] for row in rows)
    for part in (
        "copy",
        "matrix product",
        "forward + backward",
        "images of",
        "modulated",
        "density grid",
        "tiny",
    ):
        assert part in figures
    assert {row["bench"] for row in rows} == {"kernels", "step"}
    assert all(float(row["value"]) >= 0 for row in rows)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["measuring", str(rows_file)])
    measuring.main()
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in table] == [row["value"] for row in rows]


def test_gpu_script_says_in_a_line_what_is_wrong(tmp_path):
    unknown = gpu_script(tmp_path, "--speed", "9")
    assert unknown.returncode == 2
    assert "expected --minutes" in unknown.stderr
    assert "--train" in unknown.stderr


def test_work_that_finds_no_time_is_left_out(tmp_path, capsys):
    rows = Rows("step", tmp_path / "rows.csv", torch.device("cpu"), seconds=0.0)
    rows.compare("sums", {"a": lambda: torch.ones(3).sum()})
    assert "left out, the time is used up" in capsys.readouterr().out
    assert not rows.path.exists()


def test_tf32_is_put_back():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with tf32(True) as mode:
        assert (mode, torch.backends.cudnn.allow_tf32) == ("TF32 on", True)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
