"""The whole way of real photographs at small size: pack, depth, features, select, check, train, sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core.cli.main import main
from tests.support.depth_weights import SHARED, real_weights
from tests.support.micro import MICRO

STEPS = 200
SMALL = (
    *MICRO,
    "training.resolution=32",
    "patch.resolution=16",
    f"training.kimg={STEPS * 4 / 1000}",
    "training.status_kimg=0.2",
    "training.snapshot_kimg=0.8",
    "training.checkpoint_kimg=0.8",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_photographs_become_a_model_without_a_network(tmp_path: Path) -> None:
    weights = real_weights()
    squeezenet = SHARED / "data/weights/squeezenet1_0_imagenet.safetensors"
    source, packed, chosen, run = (tmp_path / name for name in ("photos", "packed", "chosen", "run"))
    source.mkdir()
    photos = SHARED / "data/photos"
    found = [*photos.glob("[cs][ok]*_*.[jp]*g"), photos / "cameratrap_domestic_dog.jpg"]
    assert len(found) == 13
    for path in found:
        (source / path.name).symlink_to(path)
    commands: list[list[str]] = [
        [
            "data",
            "pack",
            str(source),
            str(packed),
            "--resolution",
            "32",
            "--license",
            "mixed",
            "--follow-links",
        ],
        ["data", "depth", str(packed), "--model", str(weights), "--device", "cpu"],
        [
            "data",
            "features",
            str(packed),
            "--teacher",
            "torchvision:squeezenet1_0",
            "--weights",
            str(squeezenet),
        ],
        ["data", "select", str(packed), str(chosen), "--keep", "10", "--regularisation", "75"],
        ["data", "check", str(chosen)],
        ["train", str(chosen), str(run), "--preset", "dogs-256", "--device", "cpu"],
        [
            "render",
            str(run),
            "--seeds",
            "0-1",
            "--views",
            "2",
            "--depth",
            "--out",
            str(tmp_path / "sheet.png"),
        ],
    ]
    commands[0] += ["--workers", "1"]
    commands[5] += [word for setting in SMALL for word in ("--set", setting)]
    for command in commands:
        assert main(command) == 0, command
    assert len(list(chosen.rglob("*_depth.png"))) == 10
    status = json.loads((run / "status.json").read_text())
    assert status["nimg"] == STEPS * 4
    assert np.asarray(Image.open(tmp_path / "sheet.png").convert("L")).std() > 1
