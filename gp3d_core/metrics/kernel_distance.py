"""Kernel distance KID (Bińkowski et al., 2018): squared maximum mean discrepancy, with an estimate free of bias."""

from __future__ import annotations

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape

SUBSETS = 100
SUBSET_SIZE = 1000


def cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    """k(x, y) = (x·y/D + 1)³ of every pair of features [N,D] and [M,D], as [N,M]."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def squared_discrepancy(x: Tensor, y: Tensor) -> float:
    """MMD² of samples [N,D] and [N,D], unbiased, so that it may be below 0.

    The mean of k over pairs of different samples within x, plus that within y, minus twice the mean across.
    """
    sizes = check_shape("features", x, "N D")
    check_shape("features", y, "N D", sizes)
    if sizes["N"] < 2:
        raise ValueError(f"expected at least two samples of each, found {sizes['N']}")
    x, y, n = x.double(), y.double(), sizes["N"]
    within = sum(float(k.sum() - k.diagonal().sum()) for k in (cubic_kernel(x, x), cubic_kernel(y, y)))
    return within / (n * (n - 1)) - 2 * float(cubic_kernel(x, y).mean())


def kernel_distance(
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator,
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
) -> tuple[float, float]:
    """Mean and standard deviation of MMD² over random subsets of features real [N,D] and fake [M,D].

    Subsets have `size` samples of each, or all that the smaller side has.
    """
    size = min(size, len(real), len(fake))
    values = torch.tensor(
        [
            squared_discrepancy(_some(real, size, generator), _some(fake, size, generator))
            for _ in range(subsets)
        ],
        dtype=torch.float64,
    )
    return float(values.mean()), float(values.std(correction=0))


def _some(features: Tensor, size: int, generator: torch.Generator) -> Tensor:
    return features[torch.randperm(len(features), generator=generator)[:size]]
