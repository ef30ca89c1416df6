"""KID, Inception Score, precision and recall, against direct sums, closed forms and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gp3d_core.metrics.inception_score import inception_score
from gp3d_core.metrics.kernel_distance import kernel_distance, squared_discrepancy
from gp3d_core.metrics.manifold import precision_recall


def features(seed, count, width=5, spread=1.0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, width)) * spread)


def double_sum(x, y):
    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n = len(x)
    within = [
        sum(k(s[i], s[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1)) for s in (x, y)
    ]
    across = sum(k(a, b) for a in x for b in y) / n**2
    return sum(within) - 2 * across


def test_the_discrepancy_is_the_double_sum() -> None:
    x, y = features(0, 9), features(1, 9, spread=1.5)
    assert squared_discrepancy(x, y) == pytest.approx(double_sum(x.tolist(), y.tolist()), rel=1e-10)


def test_the_discrepancy_has_no_bias() -> None:
    """Its mean over all ways to split a population in two is what the unbiased estimate of nothing must be: exactly 0.

    For pairs (a, b | c, d) of four points every pair is within as often as the formula weighs it across.
    """
    points = features(2, 4)
    splits = [([0, 1], [2, 3]), ([0, 2], [1, 3]), ([0, 3], [1, 2])]
    values = [squared_discrepancy(points[a], points[b]) for a, b in splits]
    assert sum(values) == pytest.approx(0.0, abs=1e-10)


def test_one_subset_of_everything_is_the_discrepancy_itself() -> None:
    x, y = features(3, 12), features(4, 12)
    mean, spread = kernel_distance(x, y, torch.Generator().manual_seed(0), subsets=3)
    assert mean == pytest.approx(squared_discrepancy(x, y), rel=1e-9)
    assert spread == pytest.approx(0.0, abs=1e-9)


def test_subsets_are_of_the_asked_size_and_of_both_sets() -> None:
    """Two sets of one point each, repeated: whatever the subset, the value is k(x,x) + k(y,y) − 2 k(x,y)."""
    x, y = torch.ones(40, 2), torch.zeros(30, 2)
    mean, _ = kernel_distance(x, y, torch.Generator().manual_seed(0), subsets=5, size=7)
    assert mean == pytest.approx(2**3 + 1 - 2 * 1)


def test_images_that_all_look_alike_score_one() -> None:
    assert inception_score(torch.tensor([[0.3, 2.0, -1.0]]).repeat(20, 1)) == pytest.approx((1.0, 0.0))


def test_sure_and_evenly_spread_classes_score_their_number() -> None:
    scores = 1000.0 * torch.eye(7).repeat(10, 1)
    assert inception_score(scores)[0] == pytest.approx(7.0)
    assert inception_score(scores[:6], splits=1)[0] == pytest.approx(6.0)


def test_a_half_sure_coin_scores_by_its_divergence() -> None:
    p = 0.8
    scores = torch.tensor([[p, 1 - p], [1 - p, p]]).log().repeat(10, 1)
    divergence = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert inception_score(scores)[0] == pytest.approx(math.exp(divergence), rel=1e-6)


def test_splits_are_scored_apart() -> None:
    scores = 1000.0 * torch.eye(4).repeat_interleave(5, dim=0)  # each fifth of the images is of one class
    mean, spread = inception_score(scores, splits=4)
    assert (mean, spread) == (pytest.approx(1.0), pytest.approx(0.0))
    assert inception_score(scores, splits=1)[0] == pytest.approx(4.0)


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="10 splits"):
        inception_score(torch.zeros(9, 3))


def by_brute_force(points, manifold, k):
    radii = [sorted(math.dist(a, b) for b in manifold)[k] for a in manifold]
    inside = [any(math.dist(p, m) <= r for m, r in zip(manifold, radii, strict=True)) for p in points]
    return sum(inside) / len(inside)


@pytest.mark.parametrize("neighbours", [1, 3])
def test_precision_and_recall_agree_with_brute_force(neighbours) -> None:
    real, fake = features(5, 40), features(6, 31, spread=1.7)
    found = precision_recall(real, fake, neighbours)
    expected = [by_brute_force(a.tolist(), b.tolist(), neighbours) for a, b in ((fake, real), (real, fake))]
    assert found == pytest.approx(expected)
    assert 0 < found[0] < 1
    assert found[0] != found[1]


def test_a_narrow_copy_is_precise_and_a_distant_one_is_nothing() -> None:
    real = features(7, 50)
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real, real + 100.0) == (0.0, 0.0)
    one_thing = real[:1] + 1e-6 * features(8, 5)
    assert precision_recall(real, one_thing) == (1.0, 1 / 50)


def test_too_few_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 3"):
        precision_recall(features(9, 3), features(10, 50))
