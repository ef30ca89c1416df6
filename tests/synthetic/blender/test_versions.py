"""Other Blenders draw what this one draws: for every Python in GP3D_BLENDER_PYTHONS, separated as in PATH.

And what is said of a Blender that nobody has tried, and of two that draw one data set.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.compare_blenders import write_models
from synthetic.workers import blender_process
from tests.synthetic.small_library import REPOSITORY, SHAPES, environment, write_model

PYTHONS = [python for python in os.environ.get("GP3D_BLENDER_PYTHONS", "").split(os.pathsep) if python]
pytestmark = [pytest.mark.blender, pytest.mark.slow]
needs_others = pytest.mark.skipif(
    not PYTHONS, reason="GP3D_BLENDER_PYTHONS names no Python with another Blender"
)


def run_with(python: str, scratch: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A program of this repository under another Python."""
    return subprocess.run(
        [python, *map(str, words)],
        cwd=REPOSITORY,
        env=environment(scratch),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library") / "models"
    write_models(folder)
    return folder


@needs_others
def test_pictures_depth_normals_and_base_colours_are_the_same(tmp_path: Path) -> None:
    run = run_with(sys.executable, tmp_path, "benchmarks/compare_blenders.py", *PYTHONS, "--json")
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert len(found) == len(PYTHONS)
    for difference in found:
        assert difference["models"] == 9
        assert difference["mask"] == 0, difference
        assert difference["depth"] < 2e-6, difference
        assert difference["normals"] < 1e-6, difference
        assert difference["albedo"] <= 1, difference
        assert difference["psnr"] > 55, difference


@needs_others
@pytest.mark.parametrize("python", PYTHONS)
def test_a_data_set_made_by_another_blender_is_true(models: Path, tmp_path: Path, python: str) -> None:
    """Rays of this environment meet what the other Blender has drawn, and the pictures have the models' colours."""
    out = tmp_path / "data"
    options = (
        "--resolution",
        64,
        "--views",
        2,
        "--preset",
        "sphere",
        "--albedo",
        "--normals",
        "--workers",
        1,
    )
    run = run_with(python, tmp_path / "scratch", "-m", "synthetic.render", models, out, *options)
    assert run.returncode == 0, run.stderr
    assert "models failed" not in run.stderr
    check = run_with(sys.executable, tmp_path / "scratch", "-m", "synthetic.check", out, "--models", models)
    assert check.returncode == 0, check.stdout + check.stderr


@needs_others
@pytest.mark.parametrize("python", PYTHONS)
def test_previews_are_drawn_without_a_word(models: Path, tmp_path: Path, python: str) -> None:
    mesh, out = models / "textured/model.obj", tmp_path / "sheet.png"
    run = run_with(
        python, tmp_path / "scratch", "-m", "synthetic.preview", mesh, out, "--resolution", 32, "--samples", 1
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert np.ptp(np.asarray(Image.open(out))) > 100


@pytest.mark.parametrize(
    ("version", "told"), [("4.2.23", False), ("5.2.3", False), ("5.3.0", True), ("4.1.0", True)]
)
def test_a_blender_that_nobody_has_tried_is_told(
    monkeypatch: pytest.MonkeyPatch, version: str, told: bool
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    line = f"Blender {version}: GP3D was tried with 4.2, 4.5, 5.0, 5.2 only (docs/rendering.md)\n"
    assert blender_process.untested_blender() == (line if told else "")


def test_every_blender_that_drew_a_data_set_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "models", "03797390/ball", SHAPES["03797390/ball"])
    out, index = tmp_path / "dataset", tmp_path / "dataset/dataset.json"

    def render(views: int) -> tuple[str, str]:
        words = ("-m", "synthetic.render", tmp_path / "models", out, "--resolution", 16, "--samples", 1)
        done = run_with(sys.executable, tmp_path / "scratch", *words, "--views", views)
        assert done.returncode == 0, done.stderr
        return json.loads(index.read_text())["generator"]["blender"], done.stderr

    here, told = render(1)
    assert "Blender" not in told
    index.write_text(index.read_text().replace(f'"blender": "{here}"', '"blender": "4.1.0"'))
    blenders, told = render(1)
    assert blenders == "4.1.0"
    assert "goes on with" not in told, "nothing was drawn"
    blenders, told = render(2)
    assert blenders == f"4.1.0, {here}"
    assert f"{out}: was begun with Blender 4.1.0 and goes on with {here}\n" in told
    assert render(3)[0] == f"4.1.0, {here}"
