"""Density activation: sigma = scale · softplus(gain · raw + shift), and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gp3d_core.config.schema import RenderConfig
from gp3d_core.ops.reference import activate_density

_LINEAR = 20.0  # from here on torch's softplus is its argument, and so is its inverse


@dataclass(frozen=True)
class DensityActivation:
    """An increasing function from raw density to density; `scale` and `gain` are above 0."""

    scale: float = 1.0
    gain: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, config: RenderConfig) -> DensityActivation:
        """The activation that a model was trained with."""
        return cls(config.density_scale, config.density_gain, config.density_shift)

    def __call__(self, raw: Tensor) -> Tensor:
        """Density of the shape of `raw`."""
        return activate_density(raw, scale=self.scale, gain=self.gain, shift=self.shift)

    def density(self, raw: float) -> float:
        """The density of one raw density, in float64."""
        return float(self(torch.tensor(raw, dtype=torch.float64)))

    def inverse(self, sigma: float) -> float:
        """The raw density of `sigma`, in float64; −∞ for 0 and below, which no raw density reaches.

        log(exp(y) − 1) = y + log(1 − exp(−y)) keeps its digits for small y, where the left side cancels, and for large
        y, where it overflows.
        """
        y = sigma / self.scale
        if y <= 0:
            return -math.inf
        x = y if y > _LINEAR else y + math.log(-math.expm1(-y))
        return (x - self.shift) / self.gain
