"""Losses by closed form, and the blurs by their impulse response."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gp3d_core.training import losses


def test_softplus_losses_are_cross_entropies() -> None:
    logits = torch.tensor([-2.0, 0.0, 3.0])
    real, fake = losses.real_loss(logits, "softplus"), losses.fake_loss(logits, "softplus")
    torch.testing.assert_close(real, -logits.sigmoid().log())
    torch.testing.assert_close(fake, -(1 - logits.sigmoid()).log())
    torch.testing.assert_close(losses.generator_loss(logits, "softplus"), real)


def test_hinge_losses_are_flat_beyond_the_margin() -> None:
    logits = torch.tensor([-2.0, 0.0, 3.0])
    assert losses.real_loss(logits, "hinge").tolist() == [3.0, 1.0, 0.0]
    assert losses.fake_loss(logits, "hinge").tolist() == [0.0, 1.0, 4.0]
    assert losses.generator_loss(logits, "hinge").tolist() == [2.0, 0.0, -3.0]


def test_r1_of_a_quadratic_is_known_and_differentiable() -> None:
    images = torch.randn(3, 4, 5, 5, requires_grad=True)
    scale = torch.tensor(1.5, requires_grad=True)
    penalty = losses.r1_penalty((scale * images.square()).sum(dim=(1, 2, 3)), images)
    energy = images.detach().square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(penalty.detach(), 4 * 1.5**2 * energy)
    penalty.sum().backward()
    torch.testing.assert_close(scale.grad, 8 * 1.5 * energy.sum())


def linear_pictures(slope: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pictures [count,1,3,4] that are `slope` [12,2·5] times their style codes [count,2,5], and these."""
    ws = torch.randn(count, 2, 5, requires_grad=True)
    return (ws.flatten(1) @ slope.T).view(count, 1, 3, 4), ws


def test_path_lengths_of_a_linear_generator_are_those_of_its_transposed_matrix() -> None:
    slope = torch.randn(12, 10)
    images, ws = linear_pictures(slope, 6)
    noise = torch.randn(6, 1, 3, 4)
    expected = (noise.flatten(1) @ slope).square().sum(dim=1).div(12 * 2).sqrt()
    torch.testing.assert_close(losses.path_lengths(images, ws, noise), expected)


def test_path_lengths_of_white_noise_are_the_norm_of_the_matrix() -> None:
    torch.manual_seed(3)
    slope, count = torch.randn(12, 10), 20_000
    images, ws = linear_pictures(slope, count)
    lengths = losses.path_lengths(images, ws, torch.randn(count, 1, 3, 4))
    mean_square = slope.square().sum() / (12 * 2)
    assert lengths.square().mean().item() == pytest.approx(mean_square.item(), rel=0.02)


def test_path_penalty_is_a_variance_about_a_mean_that_follows() -> None:
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, moved = losses.path_penalty(lengths, torch.tensor(1.0))
    assert moved.item() == pytest.approx(1.01)  # a hundredth of the way to 2
    torch.testing.assert_close(penalty, torch.tensor([0.01**2, 1.99**2]))
    penalty.sum().backward()  # the moved mean is not detached: d moved / d length = 0.01 / 2
    errors = torch.tensor([-0.01, 1.99])
    torch.testing.assert_close(lengths.grad, 2 * errors - 2 * errors.sum() * 0.005)


def test_distillation_distances_by_closed_form() -> None:
    predicted, target = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert losses.distillation_loss(predicted, target, "l2").tolist() == [5.0, 0.0]
    assert losses.distillation_loss(predicted, target, "l2_squared").tolist() == [25.0, 0.0]
    found = losses.distillation_loss(predicted, target, "kl")
    p, t = torch.distributions.Categorical(logits=predicted), torch.distributions.Categorical(logits=target)
    torch.testing.assert_close(found, torch.distributions.kl_divergence(t, p))


@pytest.mark.parametrize("kind", ["l2", "l2_squared", "kl"])
def test_distillation_gradient_is_finite_away_from_the_target(kind: str) -> None:
    predicted = torch.randn(4, 8, requires_grad=True)
    losses.distillation_loss(predicted, torch.randn(4, 8), kind).sum().backward()
    assert predicted.grad.isfinite().all()
    assert predicted.grad.abs().max() > 0


def test_distillation_weights_follow_scale_and_average_to_one() -> None:
    predicted, target = torch.ones(3, 4), torch.zeros(3, 4)
    weighted = losses.distillation_loss(predicted, target, "l2", torch.tensor([0.25, 0.5, 1.0]))
    torch.testing.assert_close(weighted / weighted[0], torch.tensor([1.0, 2.0, 4.0]))
    assert weighted.mean().item() == pytest.approx(2.0)


def impulse(size: int = 31, channels: int = 4) -> Tensor:
    images = torch.zeros(1, channels, size, size)
    images[..., size // 2, size // 2] = 1.0
    return images


def test_blur_halves_at_sigma_and_keeps_the_sum() -> None:
    blurred = losses.blur_patches(impulse(), 4.0)
    line = blurred[0, 0, 15]
    assert (line[15 + 4] / line[15]).item() == pytest.approx(0.5, rel=1e-5)
    assert (line[15 + 12] / line[15]).item() == pytest.approx(2.0**-9, rel=1e-4)
    assert line[15 + 13] == 0
    torch.testing.assert_close(blurred[:, :3].sum(dim=(2, 3)), torch.ones(1, 3))


def test_depth_is_blurred_twice() -> None:
    blurred = losses.blur_patches(impulse(), 2.0)
    kernel = 2.0 ** -((torch.arange(-6, 7) / 30.0) ** 2)
    kernel = kernel / kernel.sum()
    again = torch.nn.functional.conv2d(blurred[:, :1], torch.outer(kernel, kernel)[None, None], padding=6)
    torch.testing.assert_close(blurred[:, 3:], again, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_blur_below_a_pixel_leaves_images_alone(sigma: float) -> None:
    images = torch.randn(1, 4, 8, 8)
    assert losses.blur_patches(images, sigma) is images
    assert losses.blur_real_depth(images[:, 3:], sigma).equal(images[:, 3:])


def test_blur_reaches_beyond_small_patches() -> None:
    blurred = losses.blur_patches(torch.ones(1, 4, 8, 8), 10.0)
    assert blurred.shape == (1, 4, 8, 8)
    assert 0 < blurred.max() < 1  # zeros beyond the border


def test_real_depth_blur_keeps_a_plane_up_to_the_border() -> None:
    flat = torch.full((1, 1, 16, 16), -0.3)
    torch.testing.assert_close(losses.blur_real_depth(flat, 3.0), flat)
    step = torch.cat([flat, flat + 1], dim=3)
    blurred = losses.blur_real_depth(step, 2.0)[0, 0, 8]
    assert (blurred.diff() >= -1e-6).all()
    assert blurred[15:17].mean().item() == pytest.approx(0.2, abs=1e-5)
    assert math.isclose(blurred[0].item(), -0.3, abs_tol=1e-5)
