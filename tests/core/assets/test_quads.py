"""Quads of surfaces that are known, and what a library that fails may do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gp3d_core.assets import native, quads
from gp3d_core.assets.distance import SurfaceDistance
from gp3d_core.assets.native import NativeError
from gp3d_core.assets.quads import QuadError, Quads, flipped_quads, quad_mesh
from gp3d_core.meshing.cleaning import is_watertight, mesh_report
from gp3d_core.meshing.files import formats
from gp3d_core.meshing.mesh import Mesh
from tests.support.solids import ball, box, has, torus

needs_library = pytest.mark.skipif(not has("quads"), reason="pyinstantmeshes is not installed")
Made = dict[str, NDArray[Any]]


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize(("shape", "euler"), [(ball, 2), (torus, 0)])
def test_round_bodies_become_closed_quads(shape: Callable[[], Mesh], euler: int) -> None:
    made = quad_mesh(shape(), 1000)
    assert 800 <= len(made.faces) <= 1200
    report = mesh_report(made.triangles())
    assert report.watertight
    assert report.euler == euler
    assert made.distance.largest < 0.01
    turned = quad_mesh(shape(), 1000)
    assert np.array_equal(made.vertices, turned.vertices)
    assert np.array_equal(made.faces, turned.faces)


def cube_of_quads(cells: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices and quads of the unit cube around the origin, each side cut into cells²."""
    points: dict[tuple[float, ...], int] = {}
    found = []
    for axis in range(3):
        for side in (0, cells):
            for i in range(cells):
                for j in range(cells):
                    around = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
                    ring = [tuple(np.insert(np.array(at), axis, side).tolist()) for at in around]
                    ring = ring if (side > 0) != (axis == 1) else ring[::-1]
                    found.append([points.setdefault(point, len(points)) for point in ring])
    return np.array(list(points), np.float32) / cells - 0.5, np.array(found, np.int32)


def faked(monkeypatch: pytest.MonkeyPatch, vertices: NDArray[Any], faces: NDArray[Any]) -> None:
    """A library that returns these faces."""
    monkeypatch.setattr(formats, "_missing", lambda name: None)
    monkeypatch.setattr(quads, "call", lambda *_: {"vertices": vertices, "faces": faces})


def test_a_right_answer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = cube_of_quads(5)
    faked(monkeypatch, vertices, faces)
    made = quad_mesh(box(1, 1, 1), 150)
    assert len(made.faces) == 150
    assert made.distance.largest < 1e-6
    triangles = made.triangles()
    assert is_watertight(triangles.faces)
    assert mesh_report(triangles).volume == pytest.approx(1)
    assert triangles.quads is not None
    assert len(triangles.quads) == 150


def test_pairs_of_triangles_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = cube_of_quads(5)
    pairs = np.stack([faces[:, [0, 1, 2]], faces[:, [3, 0, 2]]], axis=1).reshape(-1, 3)
    faked(monkeypatch, vertices, pairs)
    assert np.array_equal(quad_mesh(box(1, 1, 1), 150).faces, faces)


def test_every_fault_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = cube_of_quads(5)
    flipped = faces.copy()
    flipped[[3, 77]] = flipped[[3, 77]][:, ::-1]
    pulled = vertices.copy()
    pulled[0] *= 1.2
    torn = np.where(np.arange(len(faces))[:, None] == 7, faces[:, [0, 1, 2, 2]], faces)
    for wrong, message in (
        ((vertices, faces[:100]), "100 came out, expected 150 within 20%"),
        ((vertices, faces[:140]), "the surface was closed, and they leave holes"),
        ((vertices, torn), "fewer than four corners"),
        ((vertices, faces[:, :3]), "no quads: the library returned faces"),
        ((vertices[:50], faces), "a corner is missing"),
        ((pulled, faces), "of the diagonal away from the triangles"),
        ((vertices, faces[:, ::-1]), "150 of 150 look inwards"),
        ((vertices, flipped), "holes"),  # an edge that two quads run along in the same direction
    ):
        faked(monkeypatch, *wrong)
        with pytest.raises(QuadError, match=message):
            quad_mesh(box(1, 1, 1), 150)


def test_flipped_quads_are_found_one_by_one() -> None:
    vertices, faces = cube_of_quads(5)
    faces[[3, 77]] = faces[[3, 77]][:, ::-1]
    assert np.flatnonzero(flipped_quads(box(1, 1, 1), vertices, faces)).tolist() == [3, 77]


@pytest.mark.parametrize("middle", [(0.5, 0.5, 0.4), (1.0, 1.6, 0.7), (-0.3, -1.2, 0.3)])
def test_quads_around_a_corner_of_valence_two_are_cut_without_a_double_edge(
    middle: tuple[float, float, float],
) -> None:
    """Corners 0 to 3 make a quad seen from below; above, 4 lies between the two quads of a diagonal."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], middle], np.float32)
    faces = np.array([[0, 1, 2, 4], [0, 4, 2, 3], [3, 2, 1, 0]], np.int32)
    made = Quads(vertices, faces, SurfaceDistance(0, 0)).triangles()
    assert is_watertight(made.faces)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "Instant Meshes ended with exit code -6"),
        ("raise RuntimeError('no field')", "exit code 1: RuntimeError: no field"),
        ("import time; time.sleep(60)", "took more than 1 seconds"),
    ],
)
def test_a_library_that_dies_or_hangs_costs_no_more_than_its_result(
    program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "child.py"
    script.write_text(f"print('noise')\n{program}\n")
    monkeypatch.setattr(formats, "_missing", lambda name: None)
    monkeypatch.setattr(native, "_SCRIPT", script)
    with pytest.raises(NativeError, match=message):
        native.call("quads", {"faces": np.zeros(3)}, seconds=1 if "sleep" in program else 60)


def test_who_watches_can_stop_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "child.py"
    script.write_text("import time; time.sleep(60)\n")
    monkeypatch.setattr(formats, "_missing", lambda name: None)
    monkeypatch.setattr(native, "_SCRIPT", script)

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        native.call("quads", {"faces": np.zeros(3)}, 60, stop)


def test_the_libraries_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The worker's protocol owns stdout."""
    if not has("quads"):
        pytest.skip("pyinstantmeshes is not installed")
    quad_mesh(ball(0.5, 3), 200)
    assert capfd.readouterr().out == ""
    assert "pyinstantmeshes" not in sys.modules
