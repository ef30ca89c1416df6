"""The light that the check expects, against closed forms."""

from __future__ import annotations

import numpy as np

from synthetic.checks.light import SKIES, Light, light_at
from synthetic.checks.rays import RaySurface

GROUND = np.array([[-1, 0, -1], [-1, 0, 1], [1, 0, 1], [1, 0, -1]], dtype=np.float64)
UP = np.array([0.0, 1.0, 0.0])
SKY, SUN = 0.5, 1.6  # docs/dataset.md
SUN_FROM = np.array([-0.55, 0.75, 0.6]) / np.linalg.norm([-0.55, 0.75, 0.6])


def lit(surface: RaySurface, points: np.ndarray, normal: np.ndarray) -> Light:
    normals = np.broadcast_to(normal, points.shape)
    return light_at(surface, points, normals, normals, np.random.default_rng(0), SKIES["paper"])


def quads(*corners: np.ndarray) -> RaySurface:
    faces = [np.array([[0, 1, 2], [0, 2, 3]]) + 4 * number for number in range(len(corners))]
    return RaySurface(np.concatenate(corners), np.concatenate(faces))


def test_open_ground_gets_sky_and_sun() -> None:
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (500, 3)) * [1, 0, 1]
    light = lit(quads(GROUND), points, UP)
    np.testing.assert_allclose(light.direct, SKY + SUN / np.pi * SUN_FROM[1], rtol=0.05)
    np.testing.assert_allclose(light.direct.mean(), SKY + SUN / np.pi * SUN_FROM[1], rtol=0.005)
    np.testing.assert_allclose(light.most, light.direct)
    assert light.variance.max() < 0.002  # of the sun's disc alone
    below = lit(quads(GROUND), points * 0 + [0, -0.001, 0], UP)
    assert (below.direct == 0).all()
    assert (below.most == 1).all()


def test_face_turned_from_the_sun_gets_the_sky_alone() -> None:
    light = lit(quads(GROUND), np.zeros((500, 3)), -UP)
    np.testing.assert_allclose(light.direct, SKY)


def test_at_the_foot_of_a_long_wall_half_of_the_sky_is_seen() -> None:
    wall = np.array([[-500, 0, -1], [500, 0, -1], [500, 500, -1], [-500, 500, -1]], dtype=np.float64)
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (4000, 3)) * [1, 0, 0] + [0, 0, -0.9999]
    light = lit(quads(GROUND, wall), points, UP)
    assert abs((light.most - light.direct).mean() - 0.5) < 0.005
    np.testing.assert_allclose(light.variance.mean(), SKY**2 / 4, rtol=0.1)
    sunny = SUN_FROM @ [0, 0, 1] > 0  # the wall stands behind
    assert sunny
    np.testing.assert_allclose(light.direct.mean(), 0.5 * SKY + SUN / np.pi * SUN_FROM[1], rtol=0.01)
