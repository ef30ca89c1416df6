"""The mesh bundle as arrays: what the add-on reckons from it without Blender."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gp3d_core.hashing import DAMAGE
from synthetic.exchange import source

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


@pytest.fixture
def strip(mesh_bundle):
    """Two quads (0 1 4 3) and (1 2 5 4), and a triangle (2 6 5), as five faces."""
    vertices = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [3, 0]], np.float32)
    faces = np.array([[0, 1, 4], [2, 6, 5], [0, 4, 3], [1, 2, 5], [1, 5, 4]], np.int32)
    return mesh_bundle.Bundle(
        np.pad(vertices, ((0, 0), (0, 1))), faces, {}, quads=np.array([[0, 2], [3, 4]], np.int32)
    )


def corners(mesh_bundle, bundle) -> list[list[int]]:
    made, flat = mesh_bundle.polygons(bundle), bundle.faces.reshape(-1)
    return [
        flat[made.corners[start : start + count]].tolist()
        for start, count in zip(made.starts, made.counts, strict=True)
    ]


def test_halves_of_quads_are_put_together(mesh_bundle, strip) -> None:
    assert corners(mesh_bundle, strip) == [[0, 1, 4, 3], [2, 6, 5], [1, 2, 5, 4]]
    triangles = replace(strip, quads=None)
    assert corners(mesh_bundle, triangles) == strip.faces.tolist()


def test_seam_along_the_diagonal_leaves_two_triangles(mesh_bundle, strip) -> None:
    uv = strip.vertices[strip.faces.reshape(-1), :2].copy()
    seamless = replace(strip, uv=uv.copy(), texture=np.zeros((4, 4, 3), np.uint8))
    assert [len(row) for row in corners(mesh_bundle, seamless)] == [4, 3, 4]
    uv[3 * 2] += 0.5  # of the second half's first corner
    torn = replace(seamless, uv=uv)
    assert corners(mesh_bundle, torn) == [[0, 1, 4], [2, 6, 5], [0, 4, 3], [1, 2, 5, 4]]


def test_crop_keeps_quads_whose_halves_both_stay(mesh_bundle, strip) -> None:
    kept = mesh_bundle._subset(strip, np.array([True, True, True, True, False]))
    assert corners(mesh_bundle, kept) == [[0, 1, 4, 3], [2, 6, 5], [1, 2, 5]]


def test_place_is_the_same_for_all_that_belongs_together(mesh_bundle, strip) -> None:
    place = mesh_bundle.placement(strip, 6.0, on_ground=True)
    assert place.scale == 2
    np.testing.assert_allclose(place(np.array([[1.5, 0.5, 0.0]])), [[0, 0, 0]])
    assert mesh_bundle.placement(strip, None, on_ground=True).scale == 1


@pytest.mark.parametrize(
    ("stored", "line"),
    [
        ({"format": "gp3d-mesh", "version": 2}, "is no gp3d-mesh of version 1"),
        ({"format": "gp3d-trust", "version": 1}, "is no gp3d-mesh of version 1"),
        ({"format": "gp3d-mesh", "version": 1, "vertices": np.zeros(1000)}, "unpacks to more than 0 MiB"),
    ],
    ids=["version", "format", "gigantic"],
)
def test_files_that_are_no_bundle_are_one_line(mesh_bundle, tmp_path, monkeypatch, stored, line) -> None:
    monkeypatch.setattr(mesh_bundle, "_MOST_BYTES", 4000)
    np.savez_compressed(tmp_path / "a.npz", **stored)
    with pytest.raises(mesh_bundle.BundleError, match=f"a.npz {line}"):
        mesh_bundle.read_bundle(tmp_path / "a.npz")


def test_damaged_files_of_the_engine_are_one_line(mesh_bundle, tmp_path) -> None:
    np.savez_compressed(tmp_path / "whole.npz", format="gp3d-mesh", version=1)
    whole = (tmp_path / "whole.npz").read_bytes()
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(mesh_bundle.BundleError, match=r"a\.npz is no readable file of the engine"):
            mesh_bundle.read_bundle(tmp_path / "a.npz")
    with pytest.raises(mesh_bundle.BundleError, match=r"gone\.npz is no readable file of the engine"):
        mesh_bundle.read_bundle(tmp_path / "gone.npz")


def test_the_add_on_the_renderer_and_the_engine_mean_the_same_by_a_damaged_npz(mesh_bundle) -> None:
    """None of them may import another's list."""
    assert mesh_bundle._DAMAGE == source._DAMAGE
    assert set(mesh_bundle._DAMAGE) <= set(DAMAGE)
