"""`gp3d demo` from end to end with a model of each class and a few steps: what it leaves, and what it says of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli import demo
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import newest_snapshot


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.timeout(900)  # nine processes start one after another; a busy machine takes its time
def test_demo_goes_from_nothing_to_pictures_and_finds_its_work_done_when_it_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(demo, "CLASSES", ("coffee mug", "mushroom"))
    monkeypatch.setattr(demo, "MODELS_PER_CLASS", 1)
    monkeypatch.setattr(demo, "_FRAMES", 3)
    monkeypatch.setattr(demo, "_TILE", 32)
    monkeypatch.setattr(demo, "VIEWS", 2)
    monkeypatch.setattr(demo, "has_pretrained", lambda: False)  # its rows are drawn like the others
    call = demo._call

    def quick(module: str, *words: object) -> None:
        call(module, *words, *(("--set", "grounding.prior_steps=3") if "--preset" in words[3:4] else ()))

    monkeypatch.setattr(demo, "_call", quick)
    budget = demo.Budget(objects=16, images=16, minutes=math.inf)
    assert demo.run_demo(tmp_path, budget) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/snapshots/*")}
    demo._ground(tmp_path / "dataset", tmp_path / "grounding", budget)
    demo._train(tmp_path / "dataset", tmp_path / "train", tmp_path / "grounding", budget)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/snapshots/*")} == before
    said = capfd.readouterr()
    assert "saw 16 objects (next to nothing), then 16 images" in said.out
    assert "\r" not in said.err
    begun, ended = (read_snapshot_facts(newest_snapshot(tmp_path / run)) for run in ("grounding", "train"))
    assert [record["name"] for record in begun.classes] == [record["name"] for record in ended.classes]
    assert (begun.nimg, ended.nimg) == (16, 16)
    assert len(list((tmp_path / "meshes").glob("*.obj"))) == len(demo.CLASSES)
    with Image.open(tmp_path / "turn.gif") as film:
        assert film.size == (2 * 128, 128)
        assert film.n_frames == 3
    picture = np.asarray(Image.open(tmp_path / "preview.png"))
    assert picture.shape == (5 * 52 + 2, 400, 3)
