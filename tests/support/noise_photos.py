"""A data set of five pictures of noise without depth, and the depth codes that are made for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 40
NAMES = [f"n{i % 2}/photo{i}.jpg" for i in range(5)]


def noise_photos(folder: Path) -> Path:
    """The folder, after the pictures NAMES, of SIZE pixels a side, have been written into it; of two classes."""
    for i, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / name, quality=95)
    facts = {"labels": [[name, i % 2] for i, name in enumerate(NAMES)], "license": "CC0"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def codes(folder: Path, name: str) -> np.ndarray:
    """The depth map beside an image."""
    path = (folder / name).with_suffix("")
    return np.asarray(Image.open(path.with_name(f"{path.name}_depth.png"))).astype(np.int64)
