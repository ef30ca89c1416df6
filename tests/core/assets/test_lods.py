"""Levels of detail of a ball, whose errors are known, and of what cannot be made coarser."""

from __future__ import annotations

import numpy as np
import pytest

from gp3d_core.assets.lods import FEWEST_FACES, coarser, texture_size
from gp3d_core.meshing.cleaning import mesh_report
from tests.support.solids import ball, box


@pytest.mark.parametrize("level", [1, 2, 3])
def test_each_level_has_a_quarter_of_the_faces_and_is_as_far_as_a_polyhedron_from_its_ball(
    level: int,
) -> None:
    made = coarser(ball(0.5, 5), level)
    faces = 20480 / 4**level
    assert len(made.mesh.faces) == pytest.approx(faces, rel=0.02)
    report = mesh_report(made.mesh)
    assert report.watertight
    assert report.euler == 2
    sagitta = np.pi / (2 * np.sqrt(3)) * 2 / faces * 2  # about edge² / (8 r), in radii, of equal triangles
    assert 0.1 * sagitta < made.distance.mean * np.sqrt(3) / 0.5 < 2 * sagitta
    assert made.distance.mean < made.distance.largest < 6 * sagitta


def test_errors_grow_from_level_to_level() -> None:
    errors = [coarser(ball(0.5, 5), level).distance.mean for level in (1, 2, 3)]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_what_has_few_faces_stays() -> None:
    made = coarser(box(1, 1, 1), 3)
    assert len(made.mesh.faces) == 12 < FEWEST_FACES
    assert made.distance.largest < 1e-6


def test_textures_shrink_with_the_faces_and_not_below_the_smallest() -> None:
    assert [texture_size(512, level) for level in range(6)] == [512, 256, 128, 64, 32, 32]
    assert texture_size(16, 2) == 16
