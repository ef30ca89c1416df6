"""Point clouds: sampling, Chamfer distances in three ways, coverage, MMD and 1-NN accuracy in known cases."""

import numpy as np
import pytest
import torch
import trimesh

from gp3d_core.metrics.pointclouds import (
    _DenseChamfer,
    chamfer_matrix,
    set_scores,
    surface_points,
    unit_clouds,
)


def some(count, seed, points=60, shift=0.0):
    return torch.randn(count, points, 3, generator=torch.Generator().manual_seed(seed)) + shift


def brute_force(first, second):
    apart = ((first.double()[:, None, :, None] - second.double()[None, :, None]) ** 2).sum(-1)  # [N,M,P,P]
    return apart.min(3).values.mean(2) + apart.min(2).values.mean(2)


def scores_of(made, real):
    return set_scores(chamfer_matrix(made, made), chamfer_matrix(made, real), chamfer_matrix(real, real))


def test_surface_points_lie_on_the_surface_evenly_and_the_same_every_time():
    box = trimesh.creation.box((2.0, 1.0, 1.0))
    points = surface_points(box.vertices, box.faces, seed=3, count=4000).numpy()
    on_side = np.isclose(np.abs(points), [1.0, 0.5, 0.5], atol=1e-6)
    assert on_side.any(axis=1).all()
    share = on_side[:, 0].mean()  # two of six sides, 2 of 10 of the area
    assert abs(share - 0.2) < 0.02
    again = surface_points(box.vertices, box.faces, seed=3, count=4000)
    assert np.array_equal(points, again.numpy())
    assert not np.array_equal(points, surface_points(box.vertices, box.faces, seed=4, count=4000).numpy())


def test_surfaces_without_area_become_a_point():
    nothing = surface_points(np.empty((0, 3)), np.empty((0, 3), int), seed=0, count=5)
    assert torch.equal(nothing, torch.zeros(5, 3))
    needle = np.array([[1.0, 2, 3], [1, 2, 3], [1, 2, 3]])
    assert torch.equal(
        surface_points(needle, np.array([[0, 1, 2]]), 0, 4), torch.tensor([[1.0, 2, 3]]).expand(4, 3)
    )


def test_unit_clouds_forget_place_and_size():
    cloud = some(2, 0)
    unit = unit_clouds(cloud)
    torch.testing.assert_close(unit, unit_clouds(cloud * 7 + torch.tensor([1.0, -5, 2])), rtol=0, atol=1e-5)
    torch.testing.assert_close(unit.norm(dim=2).amax(dim=1), torch.ones(2))
    assert unit.mean(dim=1).abs().max() < 1e-6
    assert torch.equal(unit_clouds(torch.full((1, 4, 3), 2.5)), torch.zeros(1, 4, 3))


def test_chamfer_by_trees_densely_and_by_brute_force_agree():
    first, second = some(4, 1), some(3, 2, points=80)
    trees = chamfer_matrix(first, second)
    dense = torch.stack([_DenseChamfer(first, second, "cpu", chunk=5000).row(i, range(3)) for i in range(4)])
    torch.testing.assert_close(trees, dense, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(trees, brute_force(first, second))


def test_chamfer_of_a_set_with_itself_is_symmetric_and_zero_on_the_diagonal():
    cloud = some(5, 3)
    found = chamfer_matrix(cloud, cloud)
    torch.testing.assert_close(found, chamfer_matrix(cloud, cloud.clone()))
    assert torch.equal(found, found.T)
    assert found.diagonal().sum() == 0


def test_chamfer_of_a_small_shift_is_twice_its_square():
    grid = torch.cartesian_prod(*[torch.arange(4.0)] * 3)[None]
    found = chamfer_matrix(grid, grid + torch.tensor([0.1, 0.0, 0.0]))
    assert float(found) == pytest.approx(2 * 0.1**2, rel=1e-5)


def slow_scores(made, real):
    """The three scores by their definitions, in loops."""
    between = brute_force(made, real).numpy()
    count = len(made)
    matched = {int(np.argmin(row)) for row in between}
    mmd = np.mean([min(between[i][j] for i in range(count)) for j in range(count)])
    both = torch.cat([made, real])
    every = brute_force(both, both).numpy()
    right = 0
    for i in range(2 * count):
        others = [j for j in range(2 * count) if j != i]
        nearest = min(others, key=lambda j: every[i][j])
        right += (nearest < count) == (i < count)
    return len(matched) / count, mmd, right / (2 * count)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_scores_equal_their_definitions(shift):
    made, real = some(7, 4, points=20, shift=shift), some(7, 5, points=20)
    found = scores_of(made, real)
    assert (found.coverage, found.mmd, found.nna) == pytest.approx(slow_scores(made, real), rel=1e-6)


def test_scores_of_copies_of_strangers_and_of_one_sample_repeated():
    real = some(8, 6)
    copies, strangers = scores_of(real.clone(), real), scores_of(real + 50, real)
    assert (copies.coverage, copies.mmd, copies.nna) == (1.0, 0.0, 0.0)
    assert strangers.nna == 1.0
    assert strangers.mmd > 100
    collapsed = scores_of(real[:1].expand(8, -1, -1).contiguous(), real)
    assert collapsed.coverage == 1 / 8


def test_nearest_neighbour_test_cannot_tell_two_halves_of_one_set_apart():
    made, real = some(40, 7, points=8), some(40, 8, points=8)
    assert abs(scores_of(made, real).nna - 0.5) < 0.17  # three standard deviations of 80 coins


def test_sets_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        scores_of(some(3, 0), some(2, 1))
