"""The smallest systems of pictures, for tests that train: StyleGAN2, and it against the projected discriminator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.squeezenet import SqueezeNet
from tests.support.micro import micro_data

PICTURES = (
    "training.resolution=16",
    "training.batch=4",
    "training.micro_batch=4",
    "generator.z_dim=8",
    "generator.w_dim=16",
    "generator.channel_base=128",
    "generator.channel_max=16",
    "stylegan2.path_interval=2",
    "training.status_kimg=0.008",
    "training.snapshot_kimg=0.016",
    "training.checkpoint_kimg=0.008",
    "training.kimg=0.024",
)
RESIDUAL = ("discriminator.channel_base=256", "discriminator.channel_max=16", "loss.r1_interval=2")
PROJECTED = ("projected.input_size=128", "projected.mixing_width=4", "projected.head_width=4")
FEATURES = 6


def picture_config(*more: str, preset: str = "stylegan2-64") -> RunConfig:
    """A preset of pictures made smaller still."""
    own = PROJECTED if preset.startswith("projected") else RESIDUAL
    return resolve(preset, [*PICTURES, *own, *more])


def featured_data(folder: Path) -> Dataset:
    """The micro data with six features for each image, of which one says the class."""
    plain = micro_data(folder)
    names = [name for name, _ in json.loads((folder / "dataset.json").read_text())["labels"]]
    table = np.random.default_rng(3).normal(size=(len(names), FEATURES)).astype(np.float32)
    table[:, 0] = 3.0 * plain.labels
    path = folder.parent / "features.f32"
    table.tofile(path)
    facts = {"shape": list(table.shape), "filepath_to_idx": {name: row for row, name in enumerate(names)}}
    path.with_name("features_desc.json").write_text(json.dumps(facts))
    return Dataset(folder, features=path)


def random_squeezenet(path: Path) -> Path:
    """A file of weights that nothing was learnt with; returns `path`."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        save_file(SqueezeNet().state_dict(), path)
    return path
