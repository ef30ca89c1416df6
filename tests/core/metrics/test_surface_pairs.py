"""Density-aware Chamfer distance, concordance of normals and F-scores against closed forms."""

import math

import numpy as np
import pytest
import trimesh
from scipy.spatial.distance import cdist

from gp3d_core.metrics.surface_pairs import (
    density_aware_chamfer,
    f_score,
    match,
    normal_concordance,
    oriented_points,
    pair_measures,
)

GRID = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0], indexing="ij"), -1).reshape(-1, 3)


@pytest.mark.parametrize(("gap", "alpha"), [(0.0, 40.0), (0.01, 40.0), (0.05, 10.0), (0.3, 1.0)])
def test_parallel_planes(gap, alpha):
    matching = match(
        GRID, GRID + np.array([0, 0, gap])
    )  # every point has one partner of its own, right above it
    assert density_aware_chamfer(matching, alpha) == pytest.approx(1 - math.exp(-alpha * gap), abs=1e-9)
    assert f_score(matching, gap + 1e-9) == 1
    assert gap == 0 or f_score(matching, gap - 1e-9) == 0


def test_concentric_spheres():
    directions = np.random.default_rng(0).normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    matching = match(directions, 1.001 * directions)
    assert density_aware_chamfer(matching, 30.0) == pytest.approx(1 - math.exp(-30 * 0.001), abs=1e-9)
    assert normal_concordance(matching, directions, directions) == pytest.approx(1)


@pytest.mark.parametrize("copies", [2, 3, 7])
def test_points_given_several_times_count_once(copies):
    """Each of the copies shares its partner with the others, and so counts 1 − 1/k; the other way n is 1."""
    crowded = np.repeat(GRID, copies, axis=0)
    assert density_aware_chamfer(match(GRID, crowded)) == pytest.approx((1 - 1 / copies) / 2)
    assert density_aware_chamfer(match(crowded, GRID)) == pytest.approx((1 - 1 / copies) / 2)
    # all points of one side on one of the other's: n is the number of points, all distances but one are too far
    lump = np.tile(GRID[:1], (400, 1))
    one_way = 1 - 1 / 400 / 400  # of the grid's points, all 400 of which go to one point of the lump
    other = 1 - 1 / 400
    assert density_aware_chamfer(match(GRID, lump), 200.0) == pytest.approx((one_way + other) / 2, abs=1e-12)


def test_the_density_aware_distance_is_its_double_sum():
    draws = np.random.default_rng(1)
    first, second = draws.normal(size=(40, 3)), draws.normal(size=(70, 3))
    apart, alpha, sums = cdist(first, second), 2.5, []
    for distances in (apart, apart.T):
        partner = distances.argmin(axis=1)
        terms = [
            1 - math.exp(-alpha * distances[i, k]) / sum(1 for other in partner if other == k)
            for i, k in enumerate(partner)
        ]
        sums.append(sum(terms) / len(terms))
    assert density_aware_chamfer(match(first, second), alpha) == pytest.approx(sum(sums) / 2, abs=1e-12)


@pytest.mark.parametrize("angle", [0, 30, 60, 90, 120, 180])
def test_turned_normals(angle):
    turn = math.radians(angle)
    flat, tilted = np.tile([0.0, 0, 1], (400, 1)), np.tile([0, math.sin(turn), math.cos(turn)], (400, 1))
    found = normal_concordance(match(GRID, GRID), flat, tilted)
    assert found == pytest.approx(abs(math.cos(turn)), abs=1e-12)


def test_f_score_is_the_harmonic_mean_of_both_shares():
    far = GRID.copy()
    far[:100] += [0, 0, 500]
    matching = match(GRID, far)  # a quarter of the second cloud is away; so is what it leaves of the first
    precision = np.mean(cdist(GRID, far).min(axis=1) <= 0.5)
    assert precision == 0.75
    assert f_score(matching, 0.5) == pytest.approx(0.75)
    half = match(GRID[:200], GRID)
    assert f_score(half, 0.5) == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_points_of_a_mesh_have_the_normals_of_its_faces_in_unit_scale():
    box = trimesh.creation.box(extents=(30, 50, 70))
    box.apply_translation([5, 6, 7])
    drawn = oriented_points(box.vertices, box.faces, seed=2, count=4000)
    assert np.linalg.norm(drawn.points, axis=1).max() == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(drawn.normals, axis=1), 1)
    assert set(np.abs(drawn.normals).argmax(axis=1)) == {0, 1, 2}
    side = np.take_along_axis(drawn.points, np.abs(drawn.normals).argmax(axis=1)[:, None], 1)[:, 0]
    sign = np.take_along_axis(drawn.normals, np.abs(drawn.normals).argmax(axis=1)[:, None], 1)[:, 0]
    assert (side * sign > 0).all()  # outwards
    again = oriented_points(box.vertices * 3, box.faces, seed=2, count=4000)
    np.testing.assert_allclose(again.points, drawn.points, atol=1e-6)  # size does not count


def test_nothing_to_compare():
    assert oriented_points(np.zeros((3, 3)), np.empty((0, 3), int), 0) is None
    assert oriented_points(np.eye(3)[:, :1] * np.ones(3), np.array([[0, 1, 2]]), 0) is None  # a line
    with pytest.raises(ValueError, match=r"at least one, found \[0, 3\]"):
        match(GRID, np.empty((0, 3)))


def test_ten_thousand_points_of_a_ball_match_a_ball_and_no_box():
    ball, box = trimesh.creation.icosphere(subdivisions=4), trimesh.creation.box()
    first, again = (oriented_points(ball.vertices, ball.faces, seed) for seed in (0, 1))
    copy = pair_measures(first, again, at=(0.05,))
    other = pair_measures(first, oriented_points(box.vertices, box.faces, 0), at=(0.05,))
    assert copy["f-score@0.05"] > 0.99 > other["f-score@0.05"]
    assert copy["normal_concordance"] > 0.99 > other["normal_concordance"]
    assert copy["dcd"] < other["dcd"] < 1
