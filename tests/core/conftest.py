"""What all tests of gp3d_core share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums in one order, so that runs can be compared bit by bit; and small tensors are faster so."""
    import torch

    torch.set_num_threads(1)
