"""Augmentation: exact warps, spared samples and channels, second derivatives, and the probability's controller."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gp3d_core.config.schema import LossConfig
from gp3d_core.training.augmentation import (
    AugmentationController,
    SimpleAugmentation,
    augment,
    augment_simply,
    sample_colours,
    sample_geometry,
    sample_simply,
    warp,
)
from tests.support.draws import seeded


def images(count: int = 2, size: int = 8) -> Tensor:
    return torch.randn(count, 4, size, size, generator=seeded(9))


def matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor([rows])


def test_warp_by_the_identity_changes_nothing() -> None:
    x = images(1)
    torch.testing.assert_close(warp(x, matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])), x)


def test_warp_by_a_quarter_turn_is_exact() -> None:
    x = images(1)
    turned = warp(x, matrix([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(turned, x.rot90(1, dims=(2, 3)), atol=1e-5, rtol=0)


def test_warp_by_whole_pixels_shifts_and_mirrors() -> None:
    x = images(1)
    shifted = warp(x, matrix([[1.0, 0.0, 2 * 2 / 8], [0.0, 1.0, 0.0]]))
    expected = torch.cat([x[..., 2:], x[..., [-1, -2]]], dim=3)
    torch.testing.assert_close(shifted, expected, atol=1e-5, rtol=0)


def test_warp_interpolates_between_pixels() -> None:
    x = images(1)
    shifted = warp(x, matrix([[1.0, 0.0, 0.0], [0.0, 1.0, 1 / 8]]))
    expected = 0.5 * (x[:, :, :-1] + x[:, :, 1:])
    torch.testing.assert_close(shifted[:, :, :-1], expected, atol=1e-5, rtol=0)


def test_augmentation_can_be_differentiated_twice() -> None:
    x = images(1, 3).double().requires_grad_()
    rotation = torch.tensor([[[0.8, -0.6, 0.1], [0.6, 0.8, -0.2]]], dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda image: warp(image, rotation).tanh(), x)


def test_no_probability_means_no_change() -> None:
    x = images()
    assert augment(x, 0.0, seeded()) is x


def test_probability_spares_most_samples_when_small_and_none_when_one() -> None:
    x = images(400, 4)

    def changed(probability: float) -> float:
        difference = (augment(x, probability, seeded()) - x).abs().amax(dim=(1, 2, 3))
        return (difference > 1e-4).float().mean().item()

    assert 0.02 < changed(0.01) < 0.2
    assert changed(1.0) == 1.0


def test_depth_keeps_its_values_while_colours_change() -> None:
    x = images(16)
    x[:, 3] = 0.25  # any geometry maps a constant to itself
    augmented = augment(x, 1.0, seeded())
    torch.testing.assert_close(augmented[:, 3], x[:, 3])
    assert (augmented[:, :3] - x[:, :3]).abs().amax(dim=(1, 2, 3)).min() > 0.05


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    grey = torch.full((64, 4, 4, 4), 0.3)
    augmented = augment(grey, 1.0, seeded())[:, :3]
    torch.testing.assert_close(augmented, augmented[:, :1].expand_as(augmented), atol=1e-5, rtol=0)


def luma_and_chroma(colours: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of red, green and blue [B], and what is left of the colours [B,3]."""
    luma = colours.mean(dim=1)
    return luma, colours - luma[:, None]


def test_hue_turns_colours_all_the_way_round_the_grey_axis() -> None:
    red = torch.tensor([0.8, 0.0, 0.0, 0.0])[:, None, None].expand(2000, 4, 2, 2)
    _, chroma = luma_and_chroma(augment(red, 1.0, seeded())[:, :3, 0, 0])
    _, (before,) = luma_and_chroma(red[:1, :3, 0, 0])
    across = torch.linalg.cross(torch.full((3,), 3**-0.5), before)
    angle = torch.atan2(chroma @ across, chroma @ before)
    quarters = torch.histc(angle, 4, -torch.pi, torch.pi) / 2000
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=0.04, rtol=0)


def test_luma_flip_negates_the_brightness_of_half_the_samples() -> None:
    bright = torch.full((2000, 4, 2, 2), 0.9)
    luma, _ = luma_and_chroma(augment(bright, 1.0, seeded())[:, :3, 0, 0])
    assert (luma < 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_contrast_saturation_and_brightness_have_their_spreads() -> None:
    matrices, offsets = sample_colours(5000, 1.0, seeded())
    grey = torch.full((3,), 3**-0.5)
    red = torch.tensor([1.0, 0.0, 0.0]) - grey * 3**-0.5
    contrast = (matrices @ grey @ grey).abs().log2()
    saturation = ((matrices @ red).norm(dim=1) / red.norm()).log2() - contrast
    for found, spread in ((contrast, 0.5), (saturation, 1.0), (offsets, 0.2)):
        assert found.mean().item() == pytest.approx(0.0, abs=0.1 * spread)
        assert found.std().item() == pytest.approx(spread, rel=0.05)


def test_scale_stretch_and_turns_have_their_spreads() -> None:
    linear = sample_geometry(5000, 64, 1.0, seeded())[:, :, :2]
    left, sizes, right = torch.linalg.svd(linear)
    scale, stretch = sizes.prod(dim=1).log2() / 2, (sizes[:, 0] / sizes[:, 1]).log2() / 2
    assert scale.std().item() == pytest.approx(0.2, rel=0.05)
    assert stretch.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.05)
    for axes in (left.transpose(1, 2), right):
        direction = torch.atan2(axes[:, 0, 1], axes[:, 0, 0]).remainder(torch.pi)
        parts = torch.histc(direction, 4, 0, torch.pi) / 5000
        torch.testing.assert_close(parts, torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_shifts_have_their_spreads() -> None:
    shifts = sample_geometry(5000, 64, 1.0, seeded())[:, :, 2]
    whole, drift = 0.25**2 / 3, 0.25**2
    growth = math.exp(4 * (0.2 * math.log(2)) ** 2)  # mean square of scale times that of stretch
    assert shifts.mean().abs().item() < 0.02
    assert shifts.square().mean().item() == pytest.approx(whole + drift * growth, rel=0.15)


def test_augmentation_follows_its_generator() -> None:
    x = images()
    assert torch.equal(augment(x, 0.8, seeded(1)), augment(x, 0.8, seeded(1)))
    assert not torch.equal(augment(x, 0.8, seeded(1)), augment(x, 0.8, seeded(2)))


def controller(kind: str) -> AugmentationController:
    return AugmentationController(LossConfig(augmentation=kind, augmentation_probability=0.3))


def test_controller_climbs_to_certainty_in_500_thousand_images() -> None:
    ada = controller("ada")
    for _ in range(1000):
        ada.update(0.9, 500)
    assert ada.probability == pytest.approx(1.0)
    for _ in range(500):
        ada.update(0.1, 500)
    assert ada.probability == pytest.approx(0.5)


def test_controller_moves_every_fourth_step_by_the_mean_sign() -> None:
    ada = controller("ada")
    for sign in (0.9, 0.9, 0.9):
        ada.update(sign, 1000)
    assert ada.probability == 0.0
    ada.update(0.9, 1000)
    assert ada.probability == pytest.approx(4 * 1000 / 500_000)
    for sign in (1.0, 0.1, 0.1, 0.1, float("nan")):
        ada.update(sign, 1000)
    assert ada.probability == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("kind", "probability"), [("none", 0.0), ("fixed", 0.3)])
def test_other_controllers_stay(kind: str, probability: float) -> None:
    still = controller(kind)
    for _ in range(8):
        still.update(1.0, 10_000)
    assert still.probability == probability


def test_controller_goes_on_after_json() -> None:
    first, second = controller("ada"), controller("ada")
    for _ in range(6):
        first.update(0.9, 1000)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for ada in (first, second):
        ada.update(0.9, 1000)
        ada.update(0.9, 1000)
    assert first.probability == second.probability == pytest.approx(8 * 1000 / 500_000)


def untouched(count: int, size: int) -> SimpleAugmentation:
    """Draws of the simpler augmentation that change nothing but the square, which lies in the corner."""
    half = torch.full((count,), 0.5)
    return SimpleAugmentation(
        half, half, half, torch.zeros(count, 2, dtype=torch.int64), torch.full((count, 2), size)
    )


def test_simple_augmentation_moves_and_cuts_out_whole_pixels() -> None:
    images = torch.randn(2, 3, 20, 20)
    draws = replace(untouched(2, 20), shift=torch.tensor([[2, -1], [0, 0]]))
    found = augment_simply(images, draws)
    torch.testing.assert_close(found[0, :, :17, 1:17], images[0, :, 2:19, 0:16])
    assert (found[0, :, 18:] == 0).all()
    assert (found[0, :, :, :1] == 0).all()
    torch.testing.assert_close(found[1, :, :18, :18], images[1, :, :18, :18])
    assert (found[1, :, 18:, 18:] == 0).all()  # half of the 4×4 square


def test_simple_augmentation_of_colours_is_what_it_says() -> None:
    images = torch.rand(1, 3, 20, 20)
    plain = augment_simply(images, untouched(1, 20))
    brighter = augment_simply(images, replace(untouched(1, 20), brightness=torch.tensor([1.0])))
    torch.testing.assert_close(brighter[..., :18, :18], plain[..., :18, :18] + 0.5)
    grey = augment_simply(images, replace(untouched(1, 20), saturation=torch.tensor([0.0])))
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    flat = augment_simply(images, replace(untouched(1, 20), contrast=torch.tensor([0.0])))[..., :18, :18]
    torch.testing.assert_close(flat, (plain[..., :18, :18] + images.mean()) / 2)


def test_draws_of_the_simple_augmentation_fill_their_ranges() -> None:
    draws = sample_simply(4000, 20, torch.Generator().manual_seed(1))
    for u in (draws.brightness, draws.saturation, draws.contrast):
        assert u.min() < 0.01
        assert 0.99 < u.max() < 1.0
    assert set(draws.shift.flatten().tolist()) == {
        -3,
        -2,
        -1,
        0,
        1,
        2,
        3,
    }  # an eighth of 20, rounded up from a half
    assert set(draws.cut_out.flatten().tolist()) == set(range(21))
