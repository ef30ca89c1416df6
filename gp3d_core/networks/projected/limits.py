"""Pictures kept in the range that features are made for, in a way that lets them come back into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def limited(images: Tensor) -> Tensor:
    """`images` of any shape, cut to [-1, 1]. What lies outside gets a gradient only where a step against it leads back.

    Convolutions with ReLU multiply their features as their picture is multiplied, and heads normalise those of fakes
    among themselves: without an end of the range no contrast would be too much, and a generator's grows without end.
    """
    return _Limited.apply(images)  # type: ignore[no-untyped-call]


class _Limited(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        cut = images.clamp(-1.0, 1.0)
        ctx.save_for_backward(images - cut)
        return cut

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        (beyond,) = ctx.saved_tensors
        return slopes[0] * (slopes[0] * beyond >= 0)
