"""The mesh bundle as arrays: what the add-on reckons from it without Blender."""

from __future__ import annotations

import numpy as np
import pytest

RED, GREEN, BLACK = (255, 0, 0), (0, 188, 0), (0, 0, 0)
HALF = 0.5028864580325687  # light of the byte 188 in sRGB


@pytest.fixture(scope="module")
def mesh_bundle(parts):
    return parts("mesh_bundle")


@pytest.fixture
def two_triangles() -> dict[str, np.ndarray]:
    """One of area 3 and one of area 1."""
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [0, 0, 2], [1, 0, 0]], np.float32)
    return {"vertices": vertices, "faces": np.array([[0, 1, 2], [0, 4, 3]], np.int32)}


def test_mean_color_is_weighted_by_area_and_knows_no_padding(mesh_bundle, two_triangles) -> None:
    texture = np.full((8, 8, 3), BLACK, np.uint8)
    texture[0, :4], texture[7, 4:] = RED, GREEN  # top row first; the triangles lie in these strips
    above, below = [[0, 1], [0.49, 1], [0.2, 0.9]], [[0.51, 0], [1, 0], [0.7, 0.1]]
    bundle = mesh_bundle.Bundle(
        **two_triangles, recipe={}, uv=np.array([*above, *below], np.float32), texture=texture
    )
    np.testing.assert_allclose(mesh_bundle.mean_color(bundle), (0.75, HALF / 4, 0), atol=1e-6)


def test_mean_color_of_vertices_is_that_of_the_faces(mesh_bundle, two_triangles) -> None:
    colors = np.array([GREEN, GREEN, GREEN, RED, GREEN], np.uint8)
    bundle = mesh_bundle.Bundle(**two_triangles, recipe={}, colors=colors)
    np.testing.assert_allclose(mesh_bundle.mean_color(bundle), (1 / 12, HALF * 11 / 12, 0), atol=1e-6)


def test_mean_color_of_nothing_is_that_of_blenders_materials(mesh_bundle, two_triangles) -> None:
    assert mesh_bundle.mean_color(mesh_bundle.Bundle(**two_triangles, recipe={})) == (0.8, 0.8, 0.8)
