"""Non-flatness score, from depth maps whose histograms are known."""

from __future__ import annotations

import math

import pytest
import torch

from gp3d_core.metrics.nfs import depth_entropy, non_flatness_score


def test_a_flat_map_scores_one() -> None:
    assert non_flatness_score(torch.full((3, 100), 1.0), 0.75, 1.25) == pytest.approx(1.0)


def test_evenly_spread_depth_scores_the_number_of_bins() -> None:
    centres = 0.75 + 0.5 * (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    assert non_flatness_score(centres.repeat(2, 7), 0.75, 1.25) == pytest.approx(64.0)


def test_k_depths_in_equal_shares_score_k() -> None:
    depth = torch.tensor([0.80, 0.95, 1.10, 1.20]).repeat(1, 25)
    assert non_flatness_score(depth, 0.75, 1.25) == pytest.approx(4.0, rel=1e-6)


def test_unequal_shares_give_the_entropy_of_a_coin() -> None:
    depth = torch.cat([torch.full((1, 30), 0.8), torch.full((1, 10), 1.2)], dim=1)
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert depth_entropy(depth, 0.75, 1.25).item() == pytest.approx(expected, rel=1e-6)


def test_depths_beyond_the_bounds_fall_into_the_outer_bins() -> None:
    depth = torch.tensor([[0.0, 0.75, 0.755, 1.245, 1.25, 9.0]])
    assert non_flatness_score(depth, 0.75, 1.25) == pytest.approx(2.0)


def test_the_score_is_the_mean_of_the_maps_scores() -> None:
    flat, spread = torch.full((1, 4), 1.0), torch.tensor([[0.8, 0.95, 1.1, 1.2]])
    assert non_flatness_score(torch.cat([flat, spread]), 0.75, 1.25) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("depth", "near", "far", "match"),
    [
        (torch.ones(5), 0.75, 1.25, "shape"),
        (torch.ones(0, 5), 0.75, 1.25, "finite"),
        (torch.tensor([[1.0, math.nan]]), 0.75, 1.25, "finite"),
        (torch.ones(1, 5), 1.25, 0.75, "t_near"),
    ],
)
def test_bad_input_is_refused(depth: torch.Tensor, near: float, far: float, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        non_flatness_score(depth, near, far)
