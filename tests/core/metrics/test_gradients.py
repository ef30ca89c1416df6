"""Gradients inside an object against closed forms: stripes, plain colours, what lies at the silhouette."""

from __future__ import annotations

import math

import pytest
import torch

from gp3d_core.metrics.gradients import inner_gradients

SIZE, MARGIN = 64, 8


def disc() -> torch.Tensor:
    x = torch.arange(SIZE) - (SIZE - 1) / 2
    return (x[:, None] ** 2 + x[None] ** 2 < (SIZE / 2 - MARGIN) ** 2)[None]


def stripes(wave: float, amplitude: float, *, across: bool) -> torch.Tensor:
    """Grey stripes of luminance 0.5 + amplitude · sin(2π x / wave), as fine as 8 bits allow."""
    light = 0.5 + amplitude * torch.sin(2 * math.pi * torch.arange(SIZE) / wave)
    plane = light.expand(SIZE, SIZE)
    return (255 * (plane.T if across else plane)).round().to(torch.uint8).expand(1, 3, SIZE, SIZE)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize(("wave", "amplitude"), [(8, 0.4), (16, 0.4), (16, 0.1)])
def test_stripes_have_the_gradient_that_the_sine_says(wave, amplitude, across):
    everywhere = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    magnitude, square = inner_gradients(stripes(wave, amplitude, across=across), everywhere, reach=wave // 2)
    # central differences of a sine are a cosine times the sine of a pixel's phase; whole waves are in sight
    steep = amplitude * math.sin(2 * math.pi / wave)
    phases = torch.arange(wave) * 2 * math.pi / wave
    assert float(square) == pytest.approx(steep**2 / 2, rel=0.03)
    assert float(magnitude) == pytest.approx(steep * float(phases.cos().abs().mean()), rel=0.03)


def test_both_directions_add_up():
    x = torch.arange(SIZE).double()
    ramp = (x[None] * 3 + x[:, None] * 1).to(torch.uint8).expand(1, 3, SIZE, SIZE)
    magnitude, square = inner_gradients(ramp, torch.ones(1, SIZE, SIZE, dtype=torch.bool), reach=1)
    assert float(square) == pytest.approx((3**2 + 1**2) / 255**2)
    assert float(magnitude) == pytest.approx(math.hypot(3, 1) / 255)


def test_colours_weigh_as_the_eye_weighs_them():
    step = torch.zeros(3, 3, SIZE, SIZE, dtype=torch.uint8)
    for channel in range(3):
        step[channel, channel] = torch.arange(SIZE)
    magnitude, _ = inner_gradients(step, torch.ones(3, SIZE, SIZE, dtype=torch.bool))
    assert (255 * magnitude).tolist() == pytest.approx([0.2126, 0.7152, 0.0722])


def test_the_silhouette_does_not_count():
    picture = torch.full((1, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    picture[:, :, disc()[0]] = 40  # black on white, all of its gradient at the silhouette
    assert inner_gradients(picture, disc())[0].item() == 0.0
    picture[:, :, 0] = 0  # nor does anything beside the object
    assert inner_gradients(picture, disc())[1].item() == 0.0
    assert inner_gradients(picture, torch.ones(1, SIZE, SIZE, dtype=torch.bool))[0].item() > 0


def test_what_is_too_thin_has_no_inside():
    line = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    line[:, 30:34] = True
    magnitude, square = inner_gradients(stripes(8, 0.4, across=False), line)
    assert math.isnan(magnitude.item())
    assert math.isnan(square.item())


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="masks"):
        inner_gradients(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 8, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="reach"):
        inner_gradients(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 8, 8, dtype=torch.bool), 0)
