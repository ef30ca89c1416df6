"""Writes a run folder, two pretrained models and a VQ3D tokenizer, untrained: python -m tests.addon.micro_run FOLDER.

Needs no Blender.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.vq3d.files.tokenizer_file import save_tokenizer
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.presets import resolve
from tests.support.micro import micro_state
from tests.support.shipped import HORSE, MUSHROOM, ZOO_LICENCES, ZOO_LICENSE


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    state = micro_state(folder / "data")
    path = folder / "run" / "snapshots" / "snapshot-000000.00.safetensors"
    path.parent.mkdir(parents=True)
    save_snapshot(path, state.ema, state.config, state.classes, 0)
    rated = [
        record | {"badge": badge} for record, badge in zip(state.classes, ("good", "rough"), strict=True)
    ]
    (folder / "pretrained").mkdir()
    save_snapshot(folder / "pretrained" / "model.safetensors", state.ema, state.config, rated, 0)
    animals = [MUSHROOM | {"label": 0}, HORSE | {"label": 1}]
    save_snapshot(
        folder / "pretrained" / "zoo.safetensors",
        state.ema,
        state.config,
        animals,
        0,
        ZOO_LICENSE,
        ZOO_LICENCES,
    )
    vq3d = resolve("tiny32")
    save_tokenizer(folder / "vq3d.safetensors", Tokenizer(vq3d), vq3d, [], 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
