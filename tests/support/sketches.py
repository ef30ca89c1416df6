"""A large tensor's fingerprint, for comparing another tensor with all of it without keeping all of it.

A sketch keeps about 500 elements spread over the tensor, and 32 projections of the whole tensor on random signs
(Johnson and Lindenstrauss). Projections are linear, so the root mean square of the difference of two tensors'
projections estimates that of the tensors themselves, to about one part in eight, wherever the difference lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PROJECTIONS = 32
SAMPLE = 512  # smaller tensors gain nothing from a sketch


@dataclass(frozen=True)
class Sketch:
    """What is kept of a tensor: its shape, spread elements, and float64 projections of their root mean square."""

    shape: tuple[int, ...]
    sample: Tensor
    projections: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> Sketch:
        """The sketch of `tensor`."""
        flat = tensor.detach().flatten()
        stride = max(1, len(flat) // SAMPLE) | 1  # odd, so that no column of a power-of-two width is favoured
        projections = signs(len(flat)) @ flat.double() / len(flat) ** 0.5
        return cls(tuple(tensor.shape), flat[::stride].clone(), projections)

    def assert_close(
        self, actual: Tensor, *, rtol: float = 0.0, atol: float = 0.0, share: float = 0.0
    ) -> None:
        """Asserts that each kept element, and all elements in root mean square, lie within the tolerance.

        That is rtol · |expected| + atol + share · max |expected|; of the whole, with root mean square for both.
        """
        assert tuple(actual.shape) == self.shape, f"shape {tuple(actual.shape)}, recorded {self.shape}"
        found = Sketch.of(actual)
        slack = atol + share * self.sample.abs().max().item()
        expected = self.sample.to(found.sample.dtype)
        torch.testing.assert_close(found.sample, expected, rtol=rtol, atol=slack)
        allowed = atol + (rtol + share) * root_mean_square(self.projections)
        error = root_mean_square(found.projections - self.projections)
        assert error <= allowed, f"differs by {error:.3g} in root mean square, allowed {allowed:.3g}"


def signs(count: int) -> Tensor:
    """The signs [32,count] that elements are summed with, float64: the same on every machine."""
    raw = np.random.PCG64(0).random_raw(count)
    bits = (raw[None] >> np.arange(PROJECTIONS, dtype=np.uint64)[:, None]) & np.uint64(1)
    return torch.from_numpy(1.0 - 2.0 * bits)


def root_mean_square(x: Tensor) -> float:
    """√ mean x²."""
    return x.double().square().mean().sqrt().item()
