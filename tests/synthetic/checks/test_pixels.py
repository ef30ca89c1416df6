"""Rays of pixels, by hand."""

from __future__ import annotations

from typing import cast

import numpy as np

from synthetic.checks.pixels import depth_edges, pixel_centres, pixel_rays
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
