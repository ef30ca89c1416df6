"""All of space in a cube: points beyond the unit cube are squeezed into a shell around it (mip-NeRF 360, Eq. 10).

The norm is the largest coordinate, so that tri-planes, which are square, are used to their corners.
"""

from __future__ import annotations

from torch import Tensor

HALF_SIDE = 2.0  # the contracted world is the cube [-2, 2]³; [-1, 1]³ of it is as it was


def contract(points: Tensor) -> Tensor:
    """Points [...,3] of the world inside the cube [-1, 1]³: x / 2 for m ≤ 1, (2 − 1/m) x / 2m beyond, m = max |x|."""
    size = points.abs().amax(dim=-1, keepdim=True)
    outer = size.clamp(min=1.0)
    return points * ((2.0 - 1.0 / outer) / outer / HALF_SIDE)
