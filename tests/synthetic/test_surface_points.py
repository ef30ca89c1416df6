"""Points on a surface: they have the colour and the normal of where they lie, and change nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.checks.rays import RaySurface
from synthetic.occupancy import SurfacePoints, surface_points
from synthetic.points import main
from synthetic.shapes.library import select_families
from synthetic.shapes.shapenet_writer import write_library
from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.surface import Material, Surface, Texture

HALF = np.array([0.3, 0.2, 0.1])


def painted_box(size: tuple[float, float, float], colours: np.ndarray) -> Surface:
    """A box whose six sides (+x, -x, +y, -y, +z, -z) have a colour each, linear; its triangles turn either way."""
    mesh = trimesh.creation.box(size)
    normals = mesh.face_normals
    side = 2 * np.abs(normals).argmax(axis=1) + (normals.sum(axis=1) < 0)
    triangles = np.array(mesh.faces)
    triangles[::2] = triangles[::2, ::-1]
    return Surface(
        np.asarray(mesh.vertices),
        triangles,
        side.astype(np.int32),
        tuple(Material(f"side {number}", color=tuple(colour)) for number, colour in enumerate(colours)),
        np.zeros(len(triangles), np.int32),
    )


def seen_of(surface: Surface, count: int) -> SurfacePoints:
    colors = SurfaceColors(surface)
    return surface_points(RaySurface.of(surface, colors), colors, count, np.random.default_rng(0))


def test_points_on_a_surface_have_the_colour_and_the_outer_normal_of_where_they_lie() -> None:
    codes = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [188, 0, 99], [1, 2, 3], [255, 255, 255]])
    value = codes / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = seen_of(painted_box(tuple(2 * HALF), linear), 20_000)
    assert (seen.positions.dtype, seen.normals.dtype, seen.albedo.dtype) == (np.float16, np.float16, np.uint8)
    positions = seen.positions.astype(np.float64)
    np.testing.assert_allclose(np.abs(positions / HALF).max(axis=1), 1, atol=2e-3)  # float16
    axis = np.abs(positions / HALF).argmax(axis=1)
    sign = np.sign(positions[np.arange(len(axis)), axis])
    inner = np.sort(np.abs(positions / HALF), axis=1)[:, 1] < 0.99  # at an edge either side is right
    np.testing.assert_array_equal(seen.albedo[inner], codes[2 * axis + (sign < 0)][inner])
    np.testing.assert_array_equal(seen.normals[inner], (np.eye(3)[axis] * sign[:, None])[inner])
    assert inner.mean() > 0.95


def test_points_on_a_surface_have_the_colour_of_the_texture_there(tmp_path: Path) -> None:
    """A sheet with a ramp of 64 greys, whose colour between the middles of its texels is a line in x."""
    ramp = np.arange(64, dtype=np.uint8) * 4
    Image.fromarray(np.repeat(ramp[None], 8, axis=0)).save(tmp_path / "ramp.png")
    corners = np.array([[-0.4, -0.3, 0], [0.4, -0.3, 0], [0.4, 0.3, 0], [-0.4, 0.3, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    uv = ((corners[:, :2] + [0.4, 0.3]) / [0.8, 0.6])[triangles].astype(np.float32)
    sheet = Surface(
        corners,
        triangles,
        np.zeros(2, np.int32),
        (Material("ramp", color=(1, 1, 1), color_texture=Texture(tmp_path / "ramp.png")),),
        np.zeros(2, np.int32),
        (uv,),
    )
    seen = seen_of(sheet, 5000)
    x = seen.positions[:, 0].astype(np.float64)
    inner = np.abs(x) < 0.39
    expected = ((x + 0.4) / 0.8 * 64 - 0.5) * 4
    np.testing.assert_allclose(seen.albedo[inner], np.repeat(expected[inner, None], 3, axis=1), atol=0.6)
    assert set(np.unique(seen.normals[:, 2])) == {-1.0, 1.0}  # seen from both sides


@pytest.mark.slow
def test_points_on_the_surface_leave_the_others_as_they_are(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_library(models, select_families("coffee mug,teapot"), 1, 0)
    for name, more in (("without", []), ("with", ["--surface", "300"])):
        assert main([str(models), str(tmp_path / name), "--points", "256", *more]) == 0
    files = sorted((tmp_path / "with/points").glob("*/*.npz"))
    assert len(files) == 2
    for path in files:
        both, alone = (
            dict(np.load(path)),
            dict(np.load(tmp_path / "without" / path.relative_to(tmp_path / "with"))),
        )
        for name in ("positions", "occupied"):
            np.testing.assert_array_equal(both[name], alone[name])
        assert "surface_albedo" not in alone
        assert {both[f"surface_{name}"].shape for name in ("positions", "normals", "albedo")} == {(300, 3)}
    assert main([str(models), str(tmp_path / "with"), "--points", "256"]) == 2
