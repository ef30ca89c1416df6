"""Density activation and its inverse against softplus in decimal arithmetic, and against itself."""

from __future__ import annotations

import decimal
import math
import random

import pytest
import torch

from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import RenderConfig
from gp3d_core.rendering.activation import DensityActivation

SHAPES = [(1.0, 1.0, 0.0), (64.0, 10.0, -3.0), (32.0, 10.0, -3.0), (0.25, 0.5, 7.0)]
_DIGITS = decimal.Context(prec=400)


def exact_inverse(sigma: float, scale: float, gain: float, shift: float) -> float:
    """(log(exp(sigma / scale) - 1) - shift) / gain with 400 digits."""
    y = _DIGITS.divide(decimal.Decimal(sigma), decimal.Decimal(scale))
    x = _DIGITS.ln(_DIGITS.subtract(_DIGITS.exp(y), decimal.Decimal(1)))
    difference = _DIGITS.subtract(x, decimal.Decimal(shift))
    return float(_DIGITS.divide(difference, decimal.Decimal(gain)))


@pytest.mark.parametrize("shape", SHAPES)
def test_inverse_is_softplus_undone_from_1e_minus_150_to_1e3(shape):
    activation = DensityActivation(*shape)
    draw = random.Random(0)
    for _ in range(200):
        sigma = 10 ** draw.uniform(-150, 3) * shape[0]
        # above 20 torch takes softplus for its argument: off by up to 2e-9
        slack = 2.1e-9 / shape[1] if sigma / shape[0] > 20 else 0
        assert activation.inverse(sigma) == pytest.approx(
            exact_inverse(sigma, *shape), rel=1e-13, abs=slack + 1e-14
        )


@pytest.mark.parametrize("shape", SHAPES)
def test_activation_of_the_inverse_is_the_density_over_300_orders_of_magnitude(shape):
    activation = DensityActivation(*shape)
    draw = random.Random(1)
    for exponent in [draw.uniform(-290, 20) for _ in range(400)] + [math.log10(20)] * 2:
        sigma = 10**exponent * shape[0]
        # a raw density of size r has r · 2⁻⁵³ of rounding, which exp turns into a relative error of the density
        bound = 1e-14 * (1 + abs(math.log(sigma / shape[0])) + abs(shape[2]))
        assert activation.density(activation.inverse(sigma)) == pytest.approx(sigma, rel=bound)


def test_inverse_grows_and_has_an_end():
    activation = DensityActivation(64.0, 10.0, -3.0)
    found = [activation.inverse(10**exponent) for exponent in range(-300, 25)]
    assert found == sorted(set(found))
    assert activation.inverse(0.0) == activation.inverse(-1.0) == -math.inf


def test_activation_is_that_of_the_configuration():
    raw = torch.linspace(-3, 3, 7)
    for preset in PRESETS.values():
        render = preset.render
        expected = render.density_scale * torch.nn.functional.softplus(
            render.density_gain * raw + render.density_shift
        )
        assert torch.equal(DensityActivation.of(render)(raw), expected)
    assert DensityActivation.of(RenderConfig()).inverse(math.log(2)) == pytest.approx(0.0, abs=1e-15)
