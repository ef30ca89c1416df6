"""Modules of which only the shapes are wanted."""

import pytest
import torch
from torch import nn

from gp3d_core.snapshots.shapes_only import shapes_only


class _Drawn(nn.Module):
    """First values as the networks have them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5) / 0.01)
        self.register_buffer("mean", torch.randn(2, 3) * 0.5)
        self.table = nn.Embedding(7, 4)
        nn.init.normal_(self.table.weight, std=0.02)
        self.layer = nn.Linear(4, 6)


def test_shapes_are_those_of_a_module_that_is_drawn():
    drawn = _Drawn().state_dict()
    with shapes_only():
        bare = _Drawn().state_dict()
    assert {name: value.shape for name, value in bare.items()} == {
        name: value.shape for name, value in drawn.items()
    }
    assert all(value.is_meta for value in bare.values())


def test_no_memory_is_taken_and_no_number_drawn():
    before = torch.get_rng_state()
    with shapes_only():
        huge = torch.randn(1 << 20, 1 << 20) / 2.0
    assert huge.shape == (1 << 20, 1 << 20)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_block_that_fails_leaves_torch_as_it_was():
    with pytest.raises(ZeroDivisionError), shapes_only():
        raise ZeroDivisionError
    assert not torch.randn(2).is_meta
