"""Reference operations, from closed forms, slow independent loops and numerical derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.reference import (
    activate_density,
    composite_rays,
    cut_density,
    ray_weights,
    sample_importance,
    sample_triplane,
)

Close = Callable[..., None]
WALL = 1e10


def uniform(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    u = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * u


# --- tri-planes


def linear_planes(height: int, width: int) -> torch.Tensor:
    """Planes [1,3,2,H,W] whose two channels are the coordinates along width and height."""
    x = torch.linspace(-1, 1, width, dtype=torch.float64).expand(height, width)
    y = torch.linspace(-1, 1, height, dtype=torch.float64)[:, None].expand(height, width)
    return torch.stack([x, y]).expand(1, 3, 2, height, width)


@pytest.mark.slow
def test_triplane_interpolates_linear_planes_exactly(close: Close) -> None:
    points = uniform(1, 200, 3, low=-1, high=1)
    x, y, z = points.unbind(-1)
    expected = torch.stack([(x + x + y) / 3, (y + z + z) / 3], dim=-1)  # planes xy, xz, yz
    close(sample_triplane(linear_planes(5, 9), points), expected, "exact64")


@pytest.mark.parametrize(("plane", "kept"), [(0, (0, 1)), (1, (0, 2)), (2, (1, 2))])
def test_each_plane_sees_its_own_two_axes(close: Close, plane: int, kept: tuple[int, int]) -> None:
    planes = torch.zeros(1, 3, 1, 4, 6, dtype=torch.float64)
    planes[0, plane] = uniform(1, 4, 6)
    points = uniform(1, 50, 3, low=-1, high=1, seed=1)
    moved = points.clone()
    (ignored,) = {0, 1, 2} - set(kept)
    moved[..., ignored] = 0.123
    close(sample_triplane(planes, points), sample_triplane(planes, moved), "exact64")
    moved[..., kept[0]] += 0.01
    assert not torch.allclose(sample_triplane(planes, points), sample_triplane(planes, moved))


def test_corner_texels_lie_on_the_corners_of_the_cube(close: Close) -> None:
    planes = uniform(1, 3, 2, 4, 5)
    for sign, index in ((-1.0, 0), (1.0, -1)):
        at_corner = sample_triplane(planes, torch.full((1, 1, 3), sign, dtype=torch.float64))
        close(at_corner[0, 0], planes[0, :, :, index, index].mean(0), "exact64")


def test_features_fall_to_zero_one_texel_outside(close: Close) -> None:
    planes = torch.ones(1, 3, 1, 5, 5, dtype=torch.float64)  # texels are 0.5 apart
    points = torch.tensor([[[1.25, 0, 0], [1.5, 0, 0], [5, 5, 5]]], dtype=torch.float64)
    close(sample_triplane(planes, points)[0, :, 0], [(0.5 + 0.5 + 1) / 3, 1 / 3, 0], "exact64")


@pytest.mark.parametrize("shape", [(1, 1, 2, 3, 1), (2, 5, 4, 7, 13)])
def test_triplane_agrees_with_a_loop_over_texels(close: Close, shape: tuple[int, ...]) -> None:
    batch, channels, height, width, count = shape
    planes, points = (
        uniform(batch, 3, channels, height, width),
        uniform(batch, count, 3, low=-1, high=1, seed=1),
    )
    expected = torch.zeros(batch, count, channels, dtype=torch.float64)
    for b in range(batch):
        for n in range(count):
            for plane, (u, v) in enumerate(((0, 1), (0, 2), (1, 2))):
                column = (points[b, n, u].item() + 1) / 2 * (width - 1)
                row = (points[b, n, v].item() + 1) / 2 * (height - 1)
                for i in range(height):
                    for j in range(width):
                        weight = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
                        expected[b, n] += weight * planes[b, plane, :, i, j] / 3
    close(sample_triplane(planes, points), expected, "exact64")


def test_triplane_has_correct_derivatives() -> None:
    planes, points = (
        uniform(2, 3, 2, 4, 5).requires_grad_(),
        uniform(2, 6, 3, low=-1.1, high=1.1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(sample_triplane, (planes, points))


def test_triplane_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"planes must have shape \[B, 3, C, H, W\], got \[1, 6, 4, 4\]"):
        sample_triplane(torch.zeros(1, 6, 4, 4), torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match=r"points must have shape \[B=1, N, 3\]"):
        sample_triplane(torch.zeros(1, 3, 2, 4, 4), torch.zeros(2, 2, 3))
    with pytest.raises(TypeError, match=r"torch\.Tensor"):
        check_shape("points", [1.0], "N")


# --- density


def test_density_is_a_scaled_softplus(close: Close) -> None:
    raw = torch.tensor([-3.0, 0.0, 2.0], dtype=torch.float64)
    close(activate_density(raw), torch.log1p(raw.exp()), "exact64")
    scaled = activate_density(raw, scale=64.0, gain=10.0, shift=-3.0)
    close(scaled, 64 * torch.log1p(torch.exp(10 * raw - 3)), "exact64")


def test_an_opaque_logit_becomes_alpha_over_the_step_it_is_scaled_for(close: Close) -> None:
    raw, step = torch.linspace(-4, 4, 9, dtype=torch.float64), 1 / 64
    sigma = activate_density(raw, scale=1 / step)
    close(1 - torch.exp(-sigma * step), torch.sigmoid(raw), "exact64")


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.73, 1.0])
@pytest.mark.parametrize("count", [1, 2, 101])
def test_cutting_agrees_with_torch_quantile(quantile: float, count: int) -> None:
    sigma = uniform(1, 1, count)
    expected = torch.where(sigma < torch.quantile(sigma, quantile), 0.0, sigma)
    assert torch.equal(cut_density(sigma, quantile), expected)


def test_cutting_stops_gradients_of_what_it_cuts() -> None:
    sigma = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], requires_grad=True)
    cut_density(sigma, 0.5).sum().backward()
    assert sigma.grad.tolist() == [[[0.0, 0.0, 1.0, 1.0]]]
    with pytest.raises(ValueError, match="quantile"):
        cut_density(sigma, 1.5)


# --- compositing


def even_ray(samples: int, near: float = 1.0, far: float = 2.0) -> torch.Tensor:
    return torch.linspace(near, far, samples, dtype=torch.float64).expand(1, 1, samples)


@pytest.mark.parametrize("density", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("samples", [2, 7, 64])
def test_constant_density_absorbs_exponentially(close: Close, density: float, samples: int) -> None:
    t = even_ray(samples)
    last = 0.25
    weights = ray_weights(torch.full_like(t, density), t, last_interval=last)
    assert weights.sum().item() == pytest.approx(1 - math.exp(-density * (1 + last)), abs=1e-12)
    reached = torch.exp(-density * (t - 1))
    close(weights[..., :-1], (reached[..., :-1] - reached[..., 1:]), "exact64")


def test_weights_agree_with_a_loop(close: Close) -> None:
    sigma, t = uniform(2, 3, 9, high=8), uniform(2, 3, 9, seed=1).sort(dim=-1).values
    expected = torch.zeros_like(sigma)
    for b in range(2):
        for r in range(3):
            light = 1.0
            for k in range(9):
                step = t[b, r, k + 1] - t[b, r, k] if k < 8 else 0.1
                alpha = 1 - math.exp(-sigma[b, r, k] * step)
                expected[b, r, k] = light * alpha
                light *= 1 - alpha
    close(ray_weights(sigma, t, last_interval=0.1), expected, "exact64")


def test_an_infinite_last_interval_is_a_wall_without_gradient(close: Close) -> None:
    t = even_ray(5)
    sigma = torch.full_like(t, 0.2).requires_grad_()
    composite = composite_rays(torch.ones(1, 1, 5, 3), sigma, t, last_interval=WALL, t_far=2.0)
    close(composite.opacity.detach(), [[[1.0]]], "exact64")
    composite.depth.sum().backward()
    assert sigma.grad[0, 0, -1] == 0
    assert sigma.grad[0, 0, :-1].abs().min() > 0


def test_an_empty_ray_shows_its_background(close: Close) -> None:
    t, rgb = even_ray(6), uniform(1, 1, 6, 3)
    empty = torch.zeros_like(t)
    white = composite_rays(rgb, empty, t, last_interval=1e-3, background="white", t_far=2.5)
    close(white.rgb, [[[1.0, 1.0, 1.0]]], "exact64")
    close(white.depth, [[[2.5]]], "exact64")
    close(white.opacity, [[[0.0]]], "exact64")
    last = composite_rays(rgb, empty, t, last_interval=1e-3, background="last", t_far=2.5)
    close(last.rgb, rgb[:, :, -1], "exact64")
    close(last.depth, [[[2.0]]], "exact64")
    close(last.opacity, [[[1.0]]], "exact64")
    none = composite_rays(rgb, empty, t, last_interval=1e-3, t_far=2.5)
    close(torch.cat([none.rgb, none.depth, none.opacity], dim=-1), torch.zeros(1, 1, 5), "exact64")


def test_white_shines_through_by_the_share_that_is_left(close: Close) -> None:
    t, rgb = even_ray(50), torch.full((1, 1, 50, 3), -1.0, dtype=torch.float64)
    sigma = torch.full_like(t, 0.7)
    composite = composite_rays(rgb, sigma, t, last_interval=1e-9, background="white", t_far=2.0)
    opacity = 1 - math.exp(-0.7)
    close(composite.rgb, torch.full((1, 1, 3), 1 - 2 * opacity), "exact32")
    close(composite.depth, (composite.weights * t).sum(-1, keepdim=True) + 2 * math.exp(-0.7), "exact32")


def test_an_opaque_sample_hides_what_is_behind(close: Close) -> None:
    t, rgb = even_ray(6), uniform(1, 1, 6, 3)
    sigma = torch.tensor([[[0, 0, 1e6, 3, 4, 5]]], dtype=torch.float64)
    composite = composite_rays(rgb, sigma, t, last_interval=1e-3, background="white", t_far=2.0)
    close(composite.rgb, rgb[:, :, 2], "exact64")
    close(composite.depth, t[..., 2:3], "exact64")


@pytest.mark.parametrize("background", ["none", "last", "white"])
def test_compositing_has_correct_derivatives(background: str) -> None:
    rgb, sigma = uniform(2, 2, 5, 3).requires_grad_(), uniform(2, 2, 5, high=4, seed=1).requires_grad_()
    t = uniform(2, 2, 5, seed=2).sort(dim=-1).values.requires_grad_()

    def composite(rgb: torch.Tensor, sigma: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(composite_rays(rgb, sigma, t, last_interval=0.2, background=background, t_far=1.0))

    assert torch.autograd.gradcheck(composite, (rgb, sigma, t))


def test_compositing_stays_finite_in_float32_for_extreme_densities() -> None:
    sigma = torch.tensor([[[0.0, 1e-30, 1e30, 1e-8, 1e4]]], requires_grad=True)
    t = torch.linspace(0.75, 1.25, 5).expand(1, 1, 5)
    composite = composite_rays(torch.ones(1, 1, 5, 3), sigma, t, last_interval=WALL, t_far=1.25)
    (composite.rgb.sum() + composite.depth.sum()).backward()
    assert torch.isfinite(composite.rgb).all()
    assert torch.isfinite(sigma.grad).all()


def test_compositing_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="rgb must have shape"):
        composite_rays(torch.ones(1, 1, 4, 3), torch.ones(1, 1, 5), even_ray(5), last_interval=1.0, t_far=1.0)
    with pytest.raises(ValueError, match="sigma must have shape"):
        ray_weights(torch.ones(1, 1, 5, 1), even_ray(5), last_interval=1.0)


# --- importance sampling


def test_even_weights_give_evenly_spread_samples(close: Close) -> None:
    s = torch.linspace(0, 1, 12, dtype=torch.float64).expand(1, 1, 12)
    u = torch.linspace(0, 1, 11, dtype=torch.float64).expand(1, 1, 11)
    low, high = 0.5 / 11, 10.5 / 11  # midpoints of the first and the last two samples
    close(sample_importance(s, torch.ones_like(s), u), low + (high - low) * u, "exact64")


def test_samples_gather_where_the_weight_is() -> None:
    s = torch.linspace(0, 1, 21, dtype=torch.float64).expand(1, 1, 21)
    weights = torch.zeros_like(s)
    weights[..., 10] = 1.0
    samples = sample_importance(s, weights, uniform(1, 1, 1000))
    inside = ((samples > 0.475 - 1e-6) & (samples < 0.525 + 1e-6)).double().mean()
    assert inside > 0.995


def test_samples_follow_the_histogram_of_the_weights() -> None:
    s, weights = uniform(1, 1, 8).sort(dim=-1).values, uniform(1, 1, 8, seed=1)
    samples = sample_importance(s, weights, uniform(1, 1, 50_000, seed=2)).flatten()
    borders = (0.5 * (s[..., 1:] + s[..., :-1])).flatten()
    counts = torch.histogram(samples, borders).hist / 50_000
    expected = weights[0, 0, 1:-1] / weights[0, 0, 1:-1].sum()
    assert (counts - expected).abs().max() < 0.01


def test_samples_increase_with_u_and_carry_no_gradient() -> None:
    s = uniform(2, 3, 10).sort(dim=-1).values
    weights = uniform(2, 3, 10, seed=1).requires_grad_()
    samples = sample_importance(s, weights, torch.linspace(0, 1, 30, dtype=torch.float64).expand(2, 3, 30))
    assert (samples.diff(dim=-1) >= 0).all()
    assert not samples.requires_grad


def test_importance_sampling_needs_three_samples() -> None:
    two = torch.rand(1, 1, 2)
    with pytest.raises(ValueError, match="at least 3"):
        sample_importance(two, two, two)
