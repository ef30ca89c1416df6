"""Fréchet distance between two Gaussians (Dowson and Landau, 1982), which is what FID is (Heusel et al., 2017).

    d² = ‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½)

FID is this squared distance. Everything in float64. Letters: N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean [D] and covariance [D,D] of `count` samples, float64."""

    mean: Tensor
    covariance: Tensor
    count: int


def fit_gaussian(portions: Iterable[Tensor]) -> Gaussian:
    """The Gaussian of samples that come in portions [N,D], unbiased (÷ N − 1); ValueError for fewer than two samples.

    Sums are taken about the first portion's mean, so that large means cost no precision.
    """
    centre: Tensor | None = None
    count = 0
    for portion in portions:
        check_shape("features", portion, "N D")
        x = portion.double()
        if centre is None:
            centre = x.mean(dim=0)
            total, products = torch.zeros_like(centre), centre.new_zeros(len(centre), len(centre))
        x = x - centre
        total += x.sum(dim=0)
        products += x.T @ x
        count += len(x)
    if centre is None or count < 2:
        raise ValueError(f"a covariance needs at least two samples, found {count}")
    offset = total / count
    covariance = (products - count * torch.outer(offset, offset)) / (count - 1)
    return Gaussian(centre + offset, covariance, count)


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """The squared distance d² of the two, at least 0; covariances may be singular.

    Tr (Σ₁Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric.
    """
    values, vectors = torch.linalg.eigh(one.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    middle = root @ other.covariance @ root
    overlap = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0).sqrt().sum()
    spread = one.covariance.trace() + other.covariance.trace() - 2 * overlap
    return max(float((one.mean - other.mean).square().sum() + spread), 0.0)
