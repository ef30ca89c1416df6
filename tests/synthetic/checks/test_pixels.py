"""Rays of pixels, by hand."""

from __future__ import annotations

from typing import cast

import numpy as np

from synthetic.checks.pixels import depth_edges, pixel_centres, pixel_rays, wide_enough
from synthetic.checks.rays import RaySurface
from synthetic.dataset import ViewRecord


def test_rays_of_a_known_camera() -> None:
    record = {"intrinsics": [[10.0, 0, 2], [0, 10, 2], [0, 0, 1]], "cam2world": np.eye(4).tolist()}
    origin, directions = pixel_rays(cast(ViewRecord, record), pixel_centres(5))
    assert origin.tolist() == [0, 0, 0]
    np.testing.assert_allclose(directions[2, 2], [0, 0, -1])
    np.testing.assert_allclose(directions[0, 4], [0.2, 0.2, -1])
    _, between = pixel_rays(cast(ViewRecord, record), np.array([[2.0, 2.5]]))
    np.testing.assert_allclose(between, [[0.05, 0, -1]])


def test_edges_are_the_pixels_on_both_sides_of_a_step() -> None:
    depth = np.full((6, 6), 2.0)
    depth[:, 3:] = 2.03
    assert depth_edges(depth).any(axis=0).tolist() == [False, False, True, True, False, False]
    depth[:, 3:] = np.inf
    assert depth_edges(depth).all(axis=0).tolist() == [False, False, True, True, False, False]
    assert not depth_edges(np.full((3, 3), np.inf)).any()


def test_rays_beside_the_centre_miss_what_is_narrower_than_a_hundredth_of_a_pixel() -> None:
    """Strips at a distance of 2, seen by a focal length of 100 pixels: a pixel is 0.02 wide there."""
    for width, wide in ((1.9e-4, False), (2.1e-4, True)):
        x = np.array([-width / 2, width / 2])
        vertices = np.array([(x[0], -1, 0), (x[1], -1, 0), (x[1], 1, 0), (x[0], 1, 0)])
        surface = RaySurface(vertices, np.array([(0, 1, 2), (0, 2, 3)]))
        directions = np.array([[0.0, y, -1.0] for y in (-0.49, 0.49, 0.6)])
        hits = surface.cast(np.array([0, 0, 2.0]), directions)
        assert (hits.triangle >= 0).tolist() == [True, True, False]
        found = wide_enough(hits, surface.vertices, surface.triangles, 100.0)
        assert found.tolist() == [wide, wide, False]
