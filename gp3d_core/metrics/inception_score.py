"""Inception Score (Salimans et al., 2016): are single images of a clear class, and all together of many?"""

from __future__ import annotations

import torch
from torch import Tensor

from gp3d_core.ops.checks import check_shape

SPLITS = 10


def inception_score(scores: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """Mean and standard deviation over `splits` of exp(mean KL(p(y|x) ‖ p(y))), for class scores [N,C] before softmax.

    From 1 (all images have the same class probabilities) to C. Raises ValueError for fewer images than splits.
    """
    sizes = check_shape("scores", scores, "N C")
    if sizes["N"] < splits:
        raise ValueError(f"expected at least one image for each of {splits} splits, found {sizes['N']}")
    values = []
    for part in scores.double().tensor_split(splits):
        conditional = part.log_softmax(dim=1)
        marginal = conditional.logsumexp(dim=0) - torch.log(torch.tensor(float(len(part))).double())
        divergence = (conditional.exp() * (conditional - marginal)).sum(dim=1)
        values.append(divergence.mean().exp())
    all_values = torch.stack(values)
    return float(all_values.mean()), float(all_values.std(correction=0))
