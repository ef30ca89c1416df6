"""Distances between surfaces that are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gp3d_core.assets.distance import distances_to, nearest_on, sample, surface_distance
from gp3d_core.meshing.mesh import Mesh
from tests.support.solids import ball, box


def test_a_surface_is_nowhere_away_from_itself() -> None:
    for mesh in (ball(), box(1, 2, 3)):
        assert surface_distance(mesh, mesh).largest < 1e-6


def test_two_balls_differ_by_their_radii() -> None:
    found = surface_distance(ball(0.5, 5), ball(0.55, 5))
    assert found.largest == pytest.approx(0.05 / np.sqrt(3), rel=0.02)  # the diagonal of the smaller one: √3
    assert found.mean == pytest.approx(0.05 / np.sqrt(3), rel=0.02)


def test_the_largest_distance_is_that_of_the_worse_way() -> None:
    """A ball and the same with a far smaller one beside it: from there, not from here, one sees the second."""
    one, other = ball(0.5), ball(0.05)
    beside = other.vertices + np.array([2, 0, 0], np.float32)
    both = Mesh(
        np.concatenate([one.vertices, beside]), np.concatenate([one.faces, other.faces + len(one.vertices)])
    )
    for first, second in ((one, both), (both, one)):
        scale = np.linalg.norm(np.ptp(first.vertices, axis=0))
        assert surface_distance(first, second).largest * scale == pytest.approx(1.55, rel=0.01)


def test_points_are_as_far_from_a_box_as_they_are() -> None:
    cube = box(2, 2, 2)
    points = np.array([[0, 0, 0], [3, 0, 0], [2, 2, 1], [1, 0.3, -0.2], [4, 4, 4]], np.float64)
    expected = [1, 2, np.sqrt(2), 0, 3 * np.sqrt(3)]
    assert distances_to(cube, points) == pytest.approx(expected, abs=1e-6)
    reached, face = nearest_on(cube, points[1:2])
    assert cube.vertices[cube.faces[face[0]]][:, 0].min() == 1
    assert reached[0] == pytest.approx(2)


def test_samples_lie_evenly_on_the_surface() -> None:
    points, face = sample(box(1, 1, 4), 6000)
    assert np.abs(np.abs(points / np.array([0.5, 0.5, 2])).max(axis=1) - 1).max() < 1e-6
    ends = np.abs(points[:, 2]) > 2 - 1e-9
    assert ends.mean() == pytest.approx(2 / 18, abs=0.01)
    assert len(face) == 6000
    again, _ = sample(replace(box(1, 1, 4)), 6000)
    assert np.array_equal(points, again)
