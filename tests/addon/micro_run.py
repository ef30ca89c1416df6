"""Writes a run folder, a model for the box and a VQ3D tokenizer, all untrained: python -m tests.addon.micro_run FOLDER.

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
    vq3d = resolve("tiny32")
    save_tokenizer(folder / "vq3d.safetensors", Tokenizer(vq3d), vq3d, [], 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
