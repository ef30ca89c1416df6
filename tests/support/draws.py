"""Random numbers for tests: a generator of a seed, and normal values from it."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded(seed: int = 0) -> torch.Generator:
    """A generator that always gives the same numbers."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal values of that shape."""
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)
