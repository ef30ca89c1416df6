"""Small constants on a device, each sent there once.

Making a tensor out of Python numbers on a GPU copies from ordinary memory and waits until everything queued before it
is done; a filter of four taps made anew in every layer would stop the device dozens of times a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch


def constant(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """`values` [N] in the type and on the device of `like`; kept and shared, so never to be written to."""
    return _constant(tuple(values), like.dtype, like.device)


def index(positions: Sequence[int], device: torch.device) -> torch.Tensor:
    """`positions` [N] as an index tensor on `device`; kept and shared, so never to be written to."""
    return _constant(tuple(positions), torch.long, device)


@lru_cache(maxsize=256)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # one made in inference mode could not take part in a gradient later
        return torch.tensor(values, dtype=dtype, device=device)
