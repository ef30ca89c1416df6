"""The Fréchet distance against closed forms and scipy's matrix square root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from gp3d_core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance


def gaussian(mean, covariance):
    return Gaussian(
        torch.as_tensor(mean, dtype=torch.float64), torch.as_tensor(covariance, dtype=torch.float64), 100
    )


def random_gaussian(seed, size, rank=None):
    draws = np.random.default_rng(seed)
    factor = draws.normal(size=(size, rank or 2 * size))
    return gaussian(draws.normal(size=size), factor @ factor.T / factor.shape[1])


def by_scipy(one, other):
    root = scipy.linalg.sqrtm((one.covariance @ other.covariance).numpy()).real
    spread = np.trace(one.covariance + other.covariance) - 2 * np.trace(root)
    return ((one.mean - other.mean) ** 2).sum().item() + spread


def test_a_gaussian_is_at_distance_zero_from_itself() -> None:
    one = random_gaussian(0, 20)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_a_shift_costs_its_square() -> None:
    one = random_gaussian(1, 5)
    other = Gaussian(one.mean + torch.tensor([3.0, 0, 0, 4.0, 0]), one.covariance, 10)
    assert frechet_distance(one, other) == pytest.approx(25.0)


def test_commuting_covariances_cost_the_squared_difference_of_their_roots() -> None:
    one, other = gaussian([0, 0, 0], np.diag([1.0, 4.0, 0.0])), gaussian([0, 0, 0], np.diag([9.0, 1.0, 16.0]))
    assert frechet_distance(one, other) == pytest.approx((1 - 3) ** 2 + (2 - 1) ** 2 + 4**2)


def test_gaussians_on_perpendicular_lines_share_nothing() -> None:
    """Both covariances are singular, their product is 0: all of both variances is paid."""
    direction, across = np.array([3.0, 4.0]) / 5, np.array([-4.0, 3.0]) / 5
    one, other = (gaussian([0, 0], 2.0 * np.outer(line, line)) for line in (direction, across))
    assert frechet_distance(one, other) == pytest.approx(4.0)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_it_agrees_with_scipy(size) -> None:
    one, other = random_gaussian(2, size), random_gaussian(3, size)
    expected = by_scipy(one, other)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-9)


def test_it_agrees_with_scipy_where_samples_are_fewer_than_features() -> None:
    one, other = random_gaussian(4, 30, rank=10), random_gaussian(5, 30)
    assert frechet_distance(one, other) == pytest.approx(by_scipy(one, other), rel=1e-6)


def test_rotating_both_changes_nothing() -> None:
    one, other = random_gaussian(6, 12), random_gaussian(7, 12)
    turn, _ = np.linalg.qr(np.random.default_rng(8).normal(size=(12, 12)))
    turned = [gaussian(turn @ g.mean.numpy(), turn @ g.covariance.numpy() @ turn.T) for g in (one, other)]
    assert frechet_distance(*turned) == pytest.approx(frechet_distance(one, other), rel=1e-9)


def test_portions_give_numpys_mean_and_covariance_however_far_from_zero() -> None:
    samples = np.random.default_rng(9).normal(size=(101, 6)) * 1e-3 + 1e4
    portions = [torch.from_numpy(part) for part in np.split(samples, [1, 40, 40, 96])]
    fitted = fit_gaussian(portions)
    assert fitted.count == 101
    np.testing.assert_allclose(fitted.mean, samples.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.covariance, np.cov(samples.T), rtol=1e-6, atol=1e-13)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least two"):
        fit_gaussian([torch.zeros(1, 3)])
