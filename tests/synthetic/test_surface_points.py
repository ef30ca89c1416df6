"""Points on a surface: they have the colour and the normal of where they lie, and change nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.checks.rays import RaySurface
from synthetic.layouts.shapenet import split_of
from synthetic.occupancy import THIN, SurfacePoints, sample_points, surface_points, thickness
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


def seen_of(surface: Surface, count: int, thin: float = 0.0) -> SurfacePoints:
    colors = SurfaceColors(surface)
    return surface_points(RaySurface.of(surface, colors), colors, count, np.random.default_rng(0), thin)


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


def test_points_on_a_surface_never_lie_on_hidden_faces() -> None:
    """A green box closed in by a red one: all that is seen is red, and lies on the outer box."""
    outer, inner = (painted_box(tuple(size * HALF), np.zeros((6, 3))) for size in (2, 1))
    both = Surface(
        np.concatenate([outer.positions, inner.positions]),
        np.concatenate([outer.triangles, inner.triangles + len(outer.positions)]),
        np.repeat([0, 1], 12).astype(np.int32),
        (Material("red", color=(1, 0, 0)), Material("green", color=(0, 1, 0))),
        np.zeros(24, np.int32),
    )
    for thin in (0.0, 0.5):
        seen = seen_of(both, 4000, thin)
        assert (seen.albedo == [255, 0, 0]).all()
        np.testing.assert_allclose(np.abs(seen.positions / HALF).max(axis=1), 1, atol=2e-3)


def slab_and_rod() -> Surface:
    """A slab 0.1 thick and a square rod 0.02 thick above it, without colours of interest."""
    slab, rod = trimesh.creation.box((0.5, 0.1, 0.5)), trimesh.creation.box((0.02, 0.5, 0.02))
    slab.apply_translation((0, -0.3, 0))
    mesh = trimesh.util.concatenate([slab, rod])
    triangles = np.array(mesh.faces)
    triangles[::2] = triangles[::2, ::-1]
    zeros = np.zeros(len(triangles), np.int32)
    return Surface(np.asarray(mesh.vertices), triangles, zeros, (Material("grey"),), zeros)


def test_thickness_is_the_way_through_and_nothing_behind_a_sheet() -> None:
    random = np.random.default_rng(0)
    solid = RaySurface.of(slab_and_rod())
    points = np.array([[0.2, -0.25, 0.1], [0.01, 0.1, 0], [0.2, -0.35, 0], [0.25, -0.3, 0]])
    inward = np.array([[0, -1, 0], [-1, 0, 0], [0, 1, 0], [-1, 0, 0]], float)
    found = thickness(solid, points, inward, random)
    np.testing.assert_allclose(found, [0.1, 0.02, 0.1, THIN[1]], atol=2e-5)
    walls = trimesh.creation.box((0.5, 0.5, 0.5))
    tube = RaySurface(
        np.asarray(walls.vertices), np.asarray(walls.faces)[np.abs(walls.face_normals[:, 1]) < 0.5]
    )
    wall = np.array([[0.25, 0.2, 0.0]])
    np.testing.assert_allclose(thickness(tube, wall, np.array([[-1.0, 0, 0]]), random), THIN[0])


def test_thin_parts_have_more_of_the_points() -> None:
    """The rod is a fifth as thick as the slab, so that a place on it is drawn five times as often."""
    surface = slab_and_rod()

    def on_rod(positions: np.ndarray) -> np.ndarray:
        return np.asarray(positions[:, 1] > -0.1)  # far from the slab, for any jitter

    plain, half, most = (on_rod(seen_of(surface, 20_000, thin).positions).mean() for thin in (0.0, 0.5, 1.0))
    assert plain == pytest.approx(0.028 / 0.74, rel=0.25)  # of the area; the rod hides some of the slab
    assert most == pytest.approx(5 * plain / (1 + 4 * plain * 0.5 / 0.35), rel=0.05)
    assert half == pytest.approx((plain + most) / 2, rel=0.05)
    rays = RaySurface.of(surface)
    near, uniform = (
        [
            on_rod(sample_points(rays, 20_000, np.random.default_rng(0), thin)[0][rows]).mean()
            for thin in (0.0, 0.5)
        ]
        for rows in (slice(10_000), slice(10_000, None))
    )
    assert near[1] == pytest.approx(near[0] * half / plain, rel=0.1)
    assert uniform[1] == pytest.approx(uniform[0], rel=0.02)
    thirds = np.split(sample_points(rays, 24_000, np.random.default_rng(0), 0.5)[0][:12_000], 3)
    np.testing.assert_allclose([on_rod(third).mean() for third in thirds], half, rtol=0.15)  # for any jitter


def test_neighbours_in_the_file_are_neighbours_in_space() -> None:
    positions = seen_of(slab_and_rod(), 8000, 0.5).positions.astype(np.float64)
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    assert np.median(steps) < 0.02
    assert np.median(np.linalg.norm(positions[16:] - positions[:-16], axis=1)) < 0.08
    assert len(np.unique(positions, axis=0)) > 7900


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
    said = json.loads((tmp_path / "with/points/points.json").read_text())
    assert (said["surface_order"], "thin" in said) == ("morton", False)
    assert (
        main([str(models), str(tmp_path / "with"), "--points", "256", "--surface", "300", "--thin", "1"]) == 2
    )


@pytest.mark.slow
def test_points_of_several_libraries_say_what_they_are_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, out = tmp_path / "first", tmp_path / "second", tmp_path / "out"
    write_library(first, select_families("coffee mug"), 2, 0)
    write_library(second, select_families("coffee mug,barn"), 1, 1)
    settings = ["--points", "64", "--surface", "64", "--thin", "0.5", "--workers", "1"]
    assert main([str(first), str(second), str(out), *settings]) == 0
    lines = (out / "points/models.jsonl").read_text().splitlines()
    records = {record["model"]: record for record in map(json.loads, lines)}
    assert {
        path.relative_to(out / "points").with_suffix("").as_posix() for path in out.glob("points/*/*.npz")
    } == set(records)
    assert sorted(record["class"]["name"] for record in records.values()) == ["barn", *["coffee mug"] * 3]
    for key, record in records.items():
        assert record["split"] == split_of(key)
        assert record["licence"]["licence"] == "CC0-1.0"
    apart = tmp_path / "apart"
    for library in (second, first):
        assert main([str(library), str(apart), *settings]) == 0
    assert (apart / "points/models.jsonl").read_text().splitlines() == lines
    classes = json.loads((second / "classes.json").read_text())
    for facts in classes.values():
        facts["name"] = f"another {facts['name']}"
    (second / "classes.json").write_text(json.dumps(classes))
    capsys.readouterr()
    for libraries in ([first, second], [second]):
        assert main([*map(str, libraries), str(out), *settings]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert "another coffee mug" in said or "another barn" in said or "holds points of another" in said
    assert (out / "points/models.jsonl").read_text().splitlines() == lines
    assert main([str(first), str(first), str(out), *settings]) == 2
    assert "rename one" in capsys.readouterr().err
