"""Rays see of a surface what is not cut away, and hits say where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic.checks.rays import RaySurface
from synthetic.staging.surface import Material, Surface
from tests.synthetic.checks.made_surfaces import squares, texture

DOWN = np.array([0.0, 0.0, -1.0])


def grid(side: float, count: int = 41) -> np.ndarray:
    """Origins [N,3] five above a square, none of them on the border of a texel or triangle."""
    at = (np.arange(count) + 0.513) / count * side - side / 2
    x, y = np.meshgrid(at, at * 1.003)
    return np.stack([x, y, np.full_like(x, 5.0)], axis=-1).reshape(-1, 3)


def with_hole(folder: Path, layers: int = 1, opacity: float = 1.0) -> Surface:
    """Squares of side 2 without their middle half, at heights 1, 0.99, ..., above whole ones of side 4 at 0 and -1."""
    pixels = np.full((4, 4, 4), 255)
    pixels[1:3, 1:3, 3] = 0
    leaf = Material("leaf", color_texture=texture(folder / "leaf.png", pixels), alpha="mask", opacity=opacity)
    heights = [1 - 0.01 * layer for layer in range(layers)]
    return squares(
        [2.0] * layers + [4.0, 4.0],
        [*heights, 0.0, -1.0],
        [leaf] * layers + [Material("ground"), Material("below")],
    )


def in_hole(origins: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(origins[:, :2]).max(axis=1) < 0.5)


@pytest.mark.parametrize("layers", [1, 60])
def test_first_hit_is_the_first_that_is_not_cut_away(tmp_path: Path, layers: int) -> None:
    rays, origins = RaySurface.of(with_hole(tmp_path, layers)), grid(3.8)
    hits = rays.cast(origins, np.broadcast_to(DOWN, origins.shape))
    on_leaf = (np.abs(origins[:, :2]).max(axis=1) < 1) & ~in_hole(origins)
    np.testing.assert_allclose(hits.distance, np.where(on_leaf, 4, 5), atol=1e-5)
    assert ((hits.triangle < 2) == on_leaf).all()
    np.testing.assert_allclose(np.abs(hits.normals), [[0, 0, 1]] * len(origins), atol=1e-6)
    corners = rays.vertices[rays.triangles[hits.triangle]]
    weights = np.column_stack([1 - hits.barycentric.sum(axis=1), hits.barycentric])
    found = np.einsum("nk,nkd->nd", weights, corners)
    np.testing.assert_allclose(found, origins + hits.distance[:, None] * DOWN, atol=1e-5)


def test_nothing_is_in_the_way_in_a_hole(tmp_path: Path) -> None:
    leaf = with_hole(tmp_path, 5).subset(np.arange(14) < 10)
    rays, origins = RaySurface.of(leaf), grid(3.8)
    query = np.concatenate([origins, np.broadcast_to(DOWN, origins.shape)], axis=1)
    there = (np.abs(origins[:, :2]).max(axis=1) < 1) & ~in_hole(origins)
    np.testing.assert_array_equal(rays.blocked(query), there)
    np.testing.assert_array_equal(np.isfinite(rays.first_hits(query).distance), there)
    missed = rays.cast(origins[~there], np.broadcast_to(DOWN, origins[~there].shape))
    assert (missed.triangle == -1).all()


def test_opacity_counts_towards_the_cutoff(tmp_path: Path) -> None:
    faint = RaySurface.of(with_hole(tmp_path, opacity=0.4))
    hits = faint.cast(grid(1.9), np.broadcast_to(DOWN, grid(1.9).shape))
    np.testing.assert_allclose(hits.distance, 5, atol=1e-5)


def test_alpha_of_an_opaque_material_is_not_looked_at(tmp_path: Path) -> None:
    surface = with_hole(tmp_path)
    leaf = surface.materials[0]
    solid = squares([2.0], [1.0], [Material("leaf", color_texture=leaf.color_texture, opacity=0.0)])
    hits = RaySurface.of(solid).cast(grid(1.9), np.broadcast_to(DOWN, grid(1.9).shape))
    np.testing.assert_allclose(hits.distance, 4, atol=1e-5)


def test_distance_is_that_of_what_is_left(tmp_path: Path) -> None:
    leaf = RaySurface.of(with_hole(tmp_path).subset(np.arange(6) < 2))
    points = np.array([[0.8, 0.2, 1.3], [0, 0, 1.0], [0, 0, 0.7], [0.4, 0.1, 1.0], [2.0, 0, 1.0]])
    expected = [0.3, 0.5, np.hypot(0.5, 0.3), 0.1, 1.0]
    np.testing.assert_allclose(leaf.distance(points), expected, atol=0.01)
    np.testing.assert_allclose(leaf.distance(points)[[0, 4]], [0.3, 1.0], atol=1e-6)
    gone = RaySurface.of(with_hole(tmp_path, opacity=0.1).subset(np.arange(6) < 2))
    assert np.isinf(gone.distance(points)).all()
