"""What tests of `gp3d evaluate` share: a tiny data set and snapshot, a command line, a network to calculate by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.samples import Sampler, labels_in
from gp3d_core.metrics.features import FeatureNetwork
from gp3d_core.networks.squeezenet import SqueezeNet
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from tests.support.micro import CAMERA_GENERATOR, micro_state
from tests.support.tiny_dataset import CLASSES, write_dataset


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A data set of eight spheres, a snapshot that never learnt anything, and random weights for SqueezeNet."""
    root = tmp_path_factory.mktemp("evaluation")
    torch.manual_seed(3)
    write_dataset(root / "data", images=8)
    state = micro_state(root / "again", *CAMERA_GENERATOR)
    save_snapshot(root / "snapshot.safetensors", state.ema, state.config, CLASSES, nimg=24)
    network = SqueezeNet()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # torch's own start would let nothing of the image through
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    save_file(network.state_dict(), root / "squeezenet.safetensors")
    return root


@pytest.fixture(scope="module")
def snapshot(place):
    return load_snapshot(place / "snapshot.safetensors")


@pytest.fixture(scope="module")
def data(place) -> Dataset:
    return Dataset(place / "data")


def sampler_of(snapshot, data, seed=0, truncation=1.0) -> Sampler:
    return Sampler(snapshot, labels_in(snapshot, data), None, seed, truncation)


def command(place: Path, out: Path, metrics: str, *more: str) -> list[str]:
    network = ["--features", "torchvision:squeezenet1_0", "--weights", str(place / "squeezenet.safetensors")]
    subject = [str(place / "snapshot.safetensors"), str(place / "data")]
    shared = ["--metrics", metrics, "--out", str(out), "--cache", str(place / "cache"), "--device", "cpu"]
    return ["evaluate", *subject, *shared, *network, *more]


def scores_in(out: Path) -> dict[str, dict]:
    lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["metric"]: record for record in map(json.loads, lines)}


def nine_numbers(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A feature network to calculate by hand: means of the channels in three bands."""
    bands = [
        images[:, :, rows].float().mean(dim=(2, 3)) for rows in (slice(5), slice(5, 11), slice(11, None))
    ]
    return torch.cat(bands, dim=1), bands[0]


def by_hand(prefix: str = "means-") -> FeatureNetwork:
    return FeatureNetwork(prefix, {"network": "means"}, "0" * 64, nine_numbers)
