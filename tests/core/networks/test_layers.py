"""The layers all networks are made of: scaling at initialisation, resampling and modulation by definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d, correlate2d

from gp3d_core.networks.layers import (
    EqualisedConv,
    EqualisedLinear,
    ModulatedConv,
)
from gp3d_core.ops.resampling import low_pass, upsample
from tests.support.draws import normal

FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0


@pytest.fixture(autouse=True)
def fixed_initialisation() -> None:
    torch.manual_seed(77)


def stuffed(image: np.ndarray) -> np.ndarray:
    """Zeros after every pixel, along both axes."""
    wide = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
    wide[::2, ::2] = image
    return wide


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
@pytest.mark.parametrize("activation", ["linear", "lrelu"])
def test_equalised_linear_keeps_unit_second_moment(activation: str, lr_multiplier: float) -> None:
    layer = EqualisedLinear(512, 512, activation, lr_multiplier=lr_multiplier)
    assert layer(normal(256, 512)).square().mean().item() == pytest.approx(1.0, abs=0.07)


def test_equalised_linear_bias_starts_where_told_whatever_its_rate() -> None:
    layer = EqualisedLinear(4, 3, lr_multiplier=0.1, bias_init=1.5)
    torch.testing.assert_close(layer(torch.zeros(1, 4)), torch.full((1, 3), 1.5))


@pytest.mark.parametrize("down", [False, True])
def test_equalised_conv_is_correlation_with_scaled_kernel(down: bool) -> None:
    layer = EqualisedConv(2, 3, 3, down=down).double()
    image = normal(1, 2, 8, 8, dtype=torch.float64)
    kernel = (layer.weight / np.sqrt(2 * 9)).detach().numpy()
    for output in range(3):
        total = 0.0
        for channel in range(2):
            plane = image[0, channel].numpy()
            if down:
                low = correlate2d(np.pad(plane, 2), FIR, mode="valid")
                total = total + correlate2d(low, kernel[output, channel], mode="valid")[::2, ::2]
            else:
                total = total + correlate2d(plane, kernel[output, channel], mode="same")
        np.testing.assert_allclose(layer(image)[0, output].detach().numpy(), total, atol=1e-12)


def test_equalised_conv_clamps_after_gain() -> None:
    layer = EqualisedConv(1, 8, 1, gain=0.5, clamp=0.1)
    assert layer(normal(1, 1, 8, 8) * 100).abs().max().item() == pytest.approx(0.05)


def test_upsample_is_zero_stuffing_and_low_pass() -> None:
    image = normal(1, 1, 5, 6, dtype=torch.float64)
    padded = np.pad(stuffed(image[0, 0].numpy()), ((2, 1), (2, 1)))
    np.testing.assert_allclose(
        upsample(image)[0, 0].numpy(), convolve2d(padded, FIR * 4, mode="valid"), atol=1e-12
    )


def test_up_then_down_keeps_a_constant() -> None:
    image = torch.full((1, 2, 8, 8), 0.7)
    doubled = upsample(image)
    torch.testing.assert_close(doubled[..., 1:-1, 1:-1], torch.full((1, 2, 14, 14), 0.7))
    halved = low_pass(doubled, padding=1, stride=2)
    torch.testing.assert_close(halved[..., 1:-1, 1:-1], torch.full((1, 2, 6, 6), 0.7))


@pytest.mark.parametrize("up", [False, True])
def test_modulated_conv_is_convolution_with_a_kernel_per_sample(up: bool) -> None:
    layer = ModulatedConv(3, 2, 3, 5, up=up, demodulate=True).double()
    image, w = normal(2, 3, 6, 6, dtype=torch.float64), normal(2, 5, seed=1, dtype=torch.float64)
    style = layer.style(w)
    found = layer(image, w).detach().numpy()
    for sample in range(2):
        kernel = (layer.weight * style[sample][None, :, None, None]).detach().numpy()
        kernel = kernel / np.sqrt((kernel**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        for output in range(2):
            total = 0.0
            for channel in range(3):
                plane = image[sample, channel].numpy()
                if up:  # zeros in between, low-pass, then a true convolution
                    low = convolve2d(np.pad(stuffed(plane), ((3, 2), (3, 2))), FIR * 4, mode="valid")
                    total = total + convolve2d(low, kernel[output, channel], mode="valid")
                else:
                    total = total + correlate2d(plane, kernel[output, channel], mode="same")
            np.testing.assert_allclose(found[sample, output], total, atol=1e-10)


def test_demodulation_makes_output_independent_of_style_scale() -> None:
    layer = ModulatedConv(32, 16, 3, 8, up=False, demodulate=True)
    image, w = normal(4, 32, 16, 16), normal(4, 8, seed=1)
    with torch.no_grad():
        before = layer(image, w)
        layer.style.weight *= 7.0
        layer.style.bias *= 7.0
    torch.testing.assert_close(layer(image, w), before, rtol=1e-4, atol=1e-4)
    assert before[..., 1:-1, 1:-1].var().item() == pytest.approx(1.0, abs=0.1)


def test_layers_can_be_differentiated_twice() -> None:
    down = EqualisedConv(1, 2, 3, "softplus", down=True).double()
    up = ModulatedConv(1, 2, 3, 2, up=True, demodulate=True).double()
    image, w = normal(1, 1, 4, 4, dtype=torch.float64).requires_grad_(), normal(1, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(down, image)
    assert torch.autograd.gradgradcheck(up, (image, w.requires_grad_()))
