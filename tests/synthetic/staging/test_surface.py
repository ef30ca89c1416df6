"""Normals and areas of triangles, also of those that have none."""

from __future__ import annotations

import numpy as np

from synthetic.staging.surface import area_vectors, double_areas, face_normals

PLACES = np.array(
    [[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 5], [np.nan, 0, 0], [np.inf, 0, 0], [1e-200, 0, 0]]
)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 1], [0, 2, 3], [0, 1, 1], [0, 1, 4], [0, 6, 6]])


def test_normals_go_by_the_order_of_the_corners_and_are_zero_without_an_area() -> None:
    expected = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(face_normals(PLACES, TRIANGLES), expected)


def test_area_vectors_are_as_long_as_twice_the_area() -> None:
    sound = TRIANGLES[:4]
    np.testing.assert_array_equal(double_areas(PLACES, sound), [6, 6, 15, 0])
    np.testing.assert_array_equal(area_vectors(PLACES, sound)[:3], [[0, 0, 6], [0, 0, -6], [15, 0, 0]])
    random = np.random.default_rng(0)
    places, triangles = random.normal(size=(50, 3)), random.integers(0, 50, (200, 3))
    one, two, three = places[triangles].transpose(1, 0, 2)
    np.testing.assert_allclose(area_vectors(places, triangles), np.cross(two - one, three - one), atol=1e-14)
    np.testing.assert_array_equal(
        double_areas(places, triangles), np.sqrt((area_vectors(places, triangles) ** 2).sum(axis=1))
    )
