"""What a GPU machine runs, at toy size: the figures mean nothing here. `benchmarks/gpu.sh --toy 1` is all of it."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import (
    bench_assets,
    bench_formats,
    bench_kernels,
    bench_step,
    bench_systems,
    bench_vq3d,
    best_snapshot,
    compare,
    measuring,
    pack_gpu_data,
)
from benchmarks.measuring import COLUMNS, Rows, tf32
from benchmarks.table7 import toy_weights
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.grounding.ground_truth import load_truth
from gp3d_core.networks.generator import Generator
from gp3d_core.snapshots.snapshot import save_snapshot
from tests.support.balls import write_balls
from tests.support.micro import micro_config, micro_data

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


@pytest.mark.slow
def test_benchmarks_measure_everything_and_save_it(tmp_path, capsys, monkeypatch):
    rows_file = tmp_path / "rows.csv"
    bench_kernels.main(["--toy", "--seconds", "20", "--csv", str(rows_file)])
    bench_step.main(["--toy", "--tf32", "off", "--seconds", "2", "--csv", str(rows_file)])
    bench_systems.main(["--presets", "tiny", "--steps", "1", "--csv", str(rows_file)])
    bench_vq3d.main(["--toy", "--seconds", "2", "--csv", str(rows_file)])
    bench_assets.main(["--toy", "--csv", str(rows_file), "--sheet", str(tmp_path / "sheet.png")])
    bench_formats.main(["--toy", "--seconds", "5", "--csv", str(rows_file)])
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
        "glb quantize",
        "volume ratio",
    ):
        assert part in figures
    assert {row["bench"] for row in rows} == {"kernels", "step", "systems", "vq3d", "assets", "formats"}
    assert all(float(row["value"]) >= 0 for row in rows)
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["measuring", str(rows_file)])
    measuring.main()
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in table] == [row["value"] for row in rows]


@pytest.mark.slow
def test_gpu_script_says_in_a_line_what_is_wrong(tmp_path):
    unknown = gpu_script(tmp_path, "--speed", "9")
    assert unknown.returncode == 2
    assert "expected --call, --minutes" in unknown.stderr
    assert "--train" in unknown.stderr
    assert "--vq3d" in unknown.stderr
    unknown = gpu_script(tmp_path, "--call", "all")
    assert unknown.returncode == 2
    assert "expected --call check, bench or train, found all" in unknown.stderr
    lacking = gpu_script(tmp_path, "--toy", "1", "--ground", "1", "--data", str(tmp_path / "none.zip"))
    assert lacking.returncode == 2
    assert "make it with python -m benchmarks.pack_gpu_data" in lacking.stderr
    lacking = gpu_script(tmp_path, "--toy", "1", "--vq3d", "1", "--rooms", str(tmp_path))
    assert lacking.returncode == 2
    assert f"there is no {tmp_path}/rooms.zip; make it with python -m benchmarks.pack_rooms" in lacking.stderr


def test_tests_that_the_gpu_script_runs_are_there():
    script = (ROOT / "benchmarks/gpu.sh").read_text()
    named = re.findall(r"tests/[\w/.]+", script)
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.slow
def test_call_of_the_gpu_script_does_its_part_in_its_time(tmp_path):
    ran = gpu_script(tmp_path, "--toy", "1", "--call", "check", "--minutes", "1.5")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "== test (at most 90 s)" in ran.stdout  # of the only part that was asked for, all of the time
    assert "== kernels" not in ran.stdout
    assert "passed" in ran.stdout


def test_packed_shapes_are_whole_and_fit(tmp_path):
    source = write_balls(tmp_path / "balls", models=12, points=512)
    (source / "manifest.json").write_text('{"models": {"ball/ball00": {"split": "test"}}}')
    packed = tmp_path / "packed" / "views.zip"
    pack_gpu_data.main([str(source), str(packed), "--megabytes", "0.03", "--points", "128"])
    assert packed.stat().st_size < 30_000
    found, whole = load_truth(packed, 16), load_truth(source, 16)
    count = len(found) // 2
    assert 2 <= count < 6
    assert found.names == [f"ball/ball{k:02d}" for k in range(1, 2 * count + 1)]  # the first is for tests
    picked = [whole.names.index(name) for name in found.names]
    assert torch.equal(found.labels, whole.labels[picked])
    assert torch.equal(found.images[found.views], whole.images[whole.views[picked]])
    assert torch.equal(found.cameras.flat()[found.views], whole.cameras.flat()[whole.views[picked]])
    assert torch.equal(found.positions, whole.positions[picked][:, ::4])  # half near surfaces, as before
    assert torch.equal(found.occupied, whole.occupied[picked][:, ::4])
    assert Dataset(packed).num_classes == 2


@pytest.mark.slow
def test_best_snapshot_is_the_one_whose_images_are_most_like_the_data(tmp_path, capsys):
    config, data = micro_config(), micro_data(tmp_path / "data")
    folder = tmp_path / "run" / "snapshots"
    folder.mkdir(parents=True)
    # all white, as the background of the data is, and black on white
    for nimg, colour in ((1000, 40.0), (2000, -40.0)):
        torch.manual_seed(0)
        generator = Generator(config, 2)
        with torch.no_grad():
            generator.decoder.output.bias[:3] += colour
        save_snapshot(folder / f"{nimg}.safetensors", generator, config, data.classes, nimg)
    weights, _ = toy_weights(tmp_path)
    capsys.readouterr()
    run = [str(tmp_path / "run"), str(tmp_path / "data"), "--device", "cpu", "--images", "8"]
    best_snapshot.main([*run, "--weights", str(weights)])
    seen = capsys.readouterr()
    assert seen.out.strip() == str(folder / "1000.safetensors")
    assert "2000.safetensors: squeezenet-fid of 8 images" in seen.err
    best_snapshot.main(run)
    seen = capsys.readouterr()
    assert seen.out.strip() == str(folder / "2000.safetensors")
    assert "unmeasured" in seen.err


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


@pytest.mark.slow
def test_a_revision_beside_itself_writes_the_same_and_what_it_took_is_saved(tmp_path, capsys, monkeypatch):
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("this is no clone of git")
    rows_file = tmp_path / "rows.csv"
    here = compare.Case("words", lambda out: ("classes",))
    unknown = compare.Case("unknown", lambda out: ("fly", "--out", out))
    monkeypatch.setattr(compare, "CASES", (here, unknown))
    assert compare.main(["HEAD", "--rounds", "1", "--csv", str(rows_file)]) == 1
    said = capsys.readouterr().out
    assert "words: files equal to the byte" in said
    assert "unknown, HEAD: left out (exit code 2: " in said
    with rows_file.open(newline="") as file:
        figures = {row["figure"]: float(row["value"]) for row in csv.DictReader(file)}
    assert len(figures) == 9
    assert 0.2 < figures["words: memory, here / HEAD"] < 5
    assert figures["words: memory, here"] < 120  # MB: the command's, not those of this process with torch
    with pytest.raises(SystemExit, match="compare: no-such cannot be checked out"):
        compare.main(["no-such", "--rounds", "1"])


def test_files_are_told_apart_by_names_and_bytes_but_not_by_recipes(tmp_path):
    (tmp_path / "a.obj").write_text("v")
    first = compare.digest_of(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    assert compare.digest_of(tmp_path) == first
    (tmp_path / "a.obj").write_text("w")
    assert compare.digest_of(tmp_path) != first
    (tmp_path / "a.obj").rename(tmp_path / "b.obj")
    (tmp_path / "b.obj").write_text("v")
    assert compare.digest_of(tmp_path) != first
