"""Precision and recall (Kynkäänniemi et al., 2019): how much of what is generated looks real, and the reverse.

A set of features stands for the union of balls around its points, each as wide as the way to its third neighbour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape

NEIGHBOURS = 3
_ROWS = 1024  # at a time, so that memory grows with one set only


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of `fake` [M,D] inside the real manifold, and of `real` [N,D] inside the generated one, both in [0, 1].

    Raises ValueError unless both sets have more than `neighbours` samples.
    """
    sizes = check_shape("real", real, "N D")
    check_shape("fake", fake, "M D", {"D": sizes["D"]})
    if min(len(real), len(fake)) <= neighbours:
        raise ValueError(
            f"expected more than {neighbours} samples of each, found {len(real)} and {len(fake)}"
        )
    return _covered(fake, real, neighbours), _covered(real, fake, neighbours)


def _covered(points: Tensor, manifold: Tensor, neighbours: int) -> float:
    """Share of `points` [N,D] that lie in a ball of `manifold` [M,D]."""
    radii = torch.cat(
        [_distances(rows, manifold).kthvalue(neighbours + 1, dim=1).values for rows in manifold.split(_ROWS)]
    )  # the nearest of all is the point itself
    inside = [(_distances(rows, manifold) <= radii).any(dim=1) for rows in points.split(_ROWS)]
    return float(torch.cat(inside).double().mean())


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances [N,M], in float64 so that their rounding does not matter."""
    return torch.cdist(x.double(), y.double(), compute_mode="use_mm_for_euclid_dist")
