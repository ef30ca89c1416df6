"""Sizes and pivots of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from gp3d_core.assets.placement import placement_of
from gp3d_core.meshing.cleaning import mesh_report
from gp3d_core.meshing.mesh import Mesh
from tests.support.solids import box


def moved() -> Mesh:
    mesh = box(1, 2, 4)
    return Mesh(mesh.vertices + np.array([5, 6, 7], np.float32), mesh.faces)


@pytest.mark.parametrize(
    ("pivot", "low", "high"),
    [
        ("none", (4.5, 5, 5), (5.5, 7, 9)),
        ("bottom", (-0.5, 0, -2), (0.5, 2, 2)),
        ("center", (-0.5, -1, -2), (0.5, 1, 2)),
    ],
)
def test_a_pivot_moves_the_box(pivot: str, low: tuple[float, ...], high: tuple[float, ...]) -> None:
    placed = placement_of(moved(), pivot=pivot)(moved())  # type: ignore[arg-type]
    assert mesh_report(placed).bounds == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(("measure", "sides"), [("longest", (2.5, 5, 10)), ("height", (5, 10, 20))])
def test_a_size_is_that_of_the_longest_side_or_the_height(measure: str, sides: tuple[float, ...]) -> None:
    placement = placement_of(moved(), 10.0, measure, "bottom")  # type: ignore[arg-type]
    placed = placement(moved())
    assert np.ptp(placed.vertices, axis=0) == pytest.approx(sides)
    assert placed.vertices[:, 1].min() == 0
    facts = placement.measured({"area": mesh_report(moved()).area, "volume": 8.0, "iou": 0.9})
    assert facts["volume"] == pytest.approx(mesh_report(placed).volume)
    assert facts["area"] == pytest.approx(mesh_report(placed).area)
    assert facts["iou"] == 0.9


def test_without_either_nothing_moves() -> None:
    mesh = moved()
    assert placement_of(mesh)(mesh) is mesh


def test_corners_that_no_face_has_do_not_count() -> None:
    mesh = box(1, 1, 1)
    stray = Mesh(np.concatenate([mesh.vertices, np.full((1, 3), 50, np.float32)]), mesh.faces)
    assert placement_of(stray, 2.0).scale == pytest.approx(2)


def test_a_flat_mesh_has_no_height() -> None:
    flat = Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]], np.float32), np.array([[0, 1, 2]], np.int32))
    with pytest.raises(ValueError, match="height"):
        placement_of(flat, 1.0, "height")
