"""Collision hulls against volumes and corners that are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from gp3d_core.assets.collision import TOLERANCE, CollisionError, collision_hull, is_convex
from gp3d_core.meshing.cleaning import is_watertight
from gp3d_core.meshing.files import formats
from gp3d_core.meshing.files.formats import LibraryError
from gp3d_core.meshing.mesh import Mesh
from tests.support.solids import ball, box, corner, has, torus

needs_coacd = pytest.mark.skipif(not has("collision"), reason="coacd is not installed")


def test_the_hull_of_a_box_is_the_box() -> None:
    hull = collision_hull(box(1, 2, 3), 1)
    [part] = hull.parts
    assert len(part.vertices) == 8
    assert hull.volume_ratio == pytest.approx(1)
    assert hull.outside == pytest.approx(0, abs=1e-6)
    assert is_watertight(part.faces)


def test_one_part_is_the_convex_hull_and_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_missing", lambda name: "coacd")
    assert collision_hull(corner(), 1).volume_ratio == pytest.approx(3.5 / 3)


def test_few_corners_stand_for_a_ball_within_the_tolerance() -> None:
    hull = collision_hull(ball(0.5, 4), 1)
    [part] = hull.parts
    assert len(part.vertices) <= 255
    assert 0 < hull.outside <= TOLERANCE
    assert 0.9 < hull.volume_ratio < 1  # inside of it


@needs_coacd
@pytest.mark.slow
def test_an_l_falls_into_two_boxes() -> None:
    hull = collision_hull(corner(), 8)
    assert len(hull.parts) == 2
    assert hull.volume_ratio == pytest.approx(1, rel=0.02)
    assert hull.outside <= TOLERANCE


@needs_coacd
@pytest.mark.slow
def test_parts_cover_a_torus_and_leave_its_hole_open() -> None:
    mesh = torus()
    hull = collision_hull(mesh, 16)
    assert 4 <= len(hull.parts) <= 16
    assert all(is_convex(part, 1.4) for part in hull.parts)
    assert all(trimesh.Trimesh(part.vertices, part.faces, process=False).is_convex for part in hull.parts)
    assert 0.95 < hull.volume_ratio < 1.25  # of the convex hull: 1.7
    for part in hull.parts:
        body = trimesh.Trimesh(part.vertices, part.faces, process=False)
        planes = np.einsum("fd,fd->f", body.face_normals, body.triangles[:, 0])
        assert (planes < 0).any()  # the origin, in the hole, is outside


@needs_coacd
@pytest.mark.slow
def test_the_same_object_has_the_same_parts() -> None:
    first, second = (collision_hull(torus(), 8) for _ in range(2))
    assert all(np.array_equal(a.vertices, b.vertices) for a, b in zip(first.parts, second.parts, strict=True))


def test_what_is_not_convex_is_found_out() -> None:
    cube = box(1, 1, 1)
    assert is_convex(cube, 1)
    assert not is_convex(corner(), 3)
    assert not is_convex(replace(cube, faces=cube.faces[:, ::-1].copy()), 1)
    dented = cube.vertices.copy()
    dented[0] *= 0.5
    assert not is_convex(Mesh(dented, cube.faces), 1)


def test_a_flat_object_has_no_hull() -> None:
    square = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
    )
    with pytest.raises(CollisionError, match="flat"):
        collision_hull(square, 1)


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_missing", lambda name: "coacd")
    with pytest.raises(
        LibraryError, match="collision needs coacd, which is not installed: pip install coacd"
    ):
        collision_hull(ball(), 4)
