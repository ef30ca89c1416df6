"""Micro models as a machine has them whose GP3D brings several: a main one, one that owes credit, and an older one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from gp3d_core.licences.parts import NONE, Licences, Part
from gp3d_core.networks.generator import Generator
from gp3d_core.snapshots.snapshot import save_snapshot
from tests.support.micro import micro_config

MUG = {"label": 0, "name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599", "badge": "good"}
MUSHROOM = {"label": 1, "name": "mushroom", "imagenet_index": 947, "wnid": "n07734744", "badge": "rough"}
TABBY = {"label": 0, "name": "tabby", "imagenet_index": 281, "wnid": "n02123045", "badge": "fair"}
HORSE = {"label": 2, "name": "horse", "imagenet_index": None, "wnid": "n02374451", "badge": "good"}
ZOO_LICENCES = Licences(
    (
        Part("CC-BY-4.0", "Ada Lovelace", "a library of cats", "", 2),
        Part("CC-BY-SA-3.0", "Wildfire Games", "0 A.D.", "", 5),
        Part("CC0-1.0", "Nobody Named", "a garden", "", 1),
    )
)
ZOO_LICENSE = "CC-BY-SA-4.0"


def write_model(
    path: Path, classes: Sequence[dict], seed: int, license: str = "", licences: Licences = NONE
) -> Path:
    """The file of an untrained micro model of these classes; another `seed`, other objects."""
    torch.manual_seed(seed)
    config = micro_config()
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = Generator(config, num_classes=len(classes))
    save_snapshot(path, generator, config, list(classes), 24, license, licences)
    return path


def write_models(folder: Path) -> dict[str, Path]:
    """A main model (coffee mug, mushroom), a zoo (tabby, mushroom, horse), an older one (coffee mug, teapot)."""
    teapot = {"label": 1, "name": "teapot", "imagenet_index": 849, "wnid": "n04398044"}
    return {
        "box": write_model(folder / "model.safetensors", [MUG, MUSHROOM], 1),
        "zoo": write_model(
            folder / "zoo.safetensors", [TABBY, MUSHROOM, HORSE], 2, ZOO_LICENSE, ZOO_LICENCES
        ),
        "box-1": write_model(folder / "box-1.safetensors", [MUG, teapot], 3),
    }
