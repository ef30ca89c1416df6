"""Weights of TCMonoDepth small for tests: random ones, and the real ones where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gp3d_core.networks.tcmonodepth import TCMonoDepth
from tests.support.source_tree import ROOT

SHARED = ROOT.parent / "shared"


def real_weights() -> Path:
    """The file of the real weights; skips the test where it is not at hand."""
    path = SHARED / "data/weights/tcmonodepth_small.safetensors"
    if not path.exists():
        pytest.skip("the weights of TCMonoDepth are not at hand")
    return path


def random_weights(path: Path) -> Path:
    """A file of random weights, with which the network's output is positive and differs from pixel to pixel."""
    torch.manual_seed(0)
    network = TCMonoDepth()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 1)
    state["decoder.final.bias"].fill_(5)
    save_file(state, path)
    return path
