"""Points of space: they lie where they should, their labels are true, and the command is a good citizen."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from synthetic.checks.rays import RaySurface
from synthetic.layouts.shapenet import BrokenModelError
from synthetic.occupancy import (
    HALF_SIDE,
    SHEET,
    sample_points,
    solid,
    visible_points,
)
from synthetic.points import main
from synthetic.shapes.library import select_families
from synthetic.shapes.shapenet_writer import write_library
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from tests.synthetic import small_library as library

ROUNDING = {
    "ball": 1e-4,
    "box": 2e-6,
    "torus": 1e-4,
}  # triangles in place of curves; float32; float16 is 1e-4


def surface_of(mesh: trimesh.Trimesh) -> RaySurface:
    return RaySurface(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces))


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def outside_of_ball(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1) - 0.35


def outside_of_box(points: np.ndarray) -> np.ndarray:
    over = np.abs(points) - np.array([0.3, 0.2, 0.1])
    return np.linalg.norm(np.maximum(over, 0), axis=1) + np.minimum(over.max(axis=1), 0)


def outside_of_torus(points: np.ndarray) -> np.ndarray:
    return np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.3, points[:, 2]) - 0.1


BODIES: dict[str, tuple[trimesh.Trimesh, Callable[[np.ndarray], np.ndarray]]] = {
    "ball": (trimesh.creation.icosphere(subdivisions=6, radius=0.35), outside_of_ball),
    "box": (trimesh.creation.box((0.6, 0.4, 0.2)), outside_of_box),
    "torus": (
        trimesh.creation.torus(0.3, 0.1, major_sections=240, minor_sections=160),
        outside_of_torus,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_labels_are_those_of_the_formula_for_the_rounded_points(body: str) -> None:
    """A point is solid inside and in the sheet around the surface: signed distance < 0.008, nothing else."""
    mesh, signed = BODIES[body]
    positions, occupied = sample_points(surface_of(mesh), 40_000, random())
    distance = signed(positions.astype(np.float64))
    clear = np.abs(distance - SHEET) > ROUNDING[body]
    np.testing.assert_array_equal(occupied[clear], distance[clear] < SHEET)
    assert clear.mean() > 0.98


def test_points_lie_near_the_surface_and_all_over_the_cube() -> None:
    positions, occupied = sample_points(surface_of(BODIES["box"][0]), 30_000, random())
    assert (positions.dtype, positions.shape, occupied.dtype, occupied.shape) == (
        np.float16,
        (30_000, 3),
        np.bool_,
        (30_000,),
    )
    assert np.abs(positions).max() <= HALF_SIDE
    signed = outside_of_box(positions.astype(np.float64))
    for third, sigma in zip(np.split(signed[:15_000], 3), (0.004, 0.015, 0.04), strict=True):
        flat = np.abs(third) < 2.5 * sigma  # edges bend the distance; the bulk is normal about the faces
        assert flat.mean() > 0.95
        assert np.median(np.abs(third)) == pytest.approx(0.6745 * sigma, rel=0.12)
    uniform = positions[15_000:].astype(np.float64)
    np.testing.assert_allclose(uniform.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(uniform.std(axis=0), HALF_SIDE / np.sqrt(3), rtol=0.02)
    assert occupied[15_000:].mean() == pytest.approx((outside_of_box(uniform) < SHEET).mean(), abs=1e-3)


def test_surface_points_are_about_even_and_never_on_hidden_faces() -> None:
    outer, inner = trimesh.creation.box((0.6, 0.4, 0.2)), trimesh.creation.box((0.3, 0.2, 0.1))
    points = visible_points(surface_of(trimesh.util.concatenate([outer, inner])), 20_000, random())
    np.testing.assert_allclose(outside_of_box(points), 0, atol=1e-5)
    alone = visible_points(surface_of(outer), 20_000, random())
    area = {0: 0.4 * 0.2, 1: 0.6 * 0.2, 2: 0.6 * 0.4}
    side = np.argmax(np.abs(alone) / [0.3, 0.2, 0.1], axis=1)
    for axis, size in area.items():
        assert (side == axis).mean() == pytest.approx(size / sum(area.values()), rel=0.2)
    height = visible_points(surface_of(BODIES["ball"][0]), 20_000, random())[:, 1] / 0.35
    steps = np.histogram(height, bins=5, range=(-1, 1))[0] / 20_000  # Archimedes: even over the height
    np.testing.assert_allclose(steps, 0.2, atol=0.015)


def cup(opening: float) -> RaySurface:
    """A thin-walled can, 0.5 high and 0.2 wide in radius, with a hole in its lid."""
    wall = trimesh.creation.cylinder(radius=0.2, height=0.5, sections=64)
    lid = wall.triangles_center[:, 2] > 0.249
    faces = wall.faces[~lid]
    ring = trimesh.creation.annulus(opening, 0.2, 0.002, sections=64)
    ring.apply_translation([0, 0, 0.25])
    return surface_of(trimesh.util.concatenate([trimesh.Trimesh(wall.vertices, faces, process=False), ring]))


def test_what_is_inside_a_cup_is_outside_and_inside_a_bottle_solid() -> None:
    span = np.linspace(-1, 1, 17)
    grid = np.stack(np.meshgrid(0.12 * span, 0.12 * span, 0.2 * span), axis=-1).reshape(-1, 3)
    points = grid.astype(np.float32)
    assert solid(cup(0.198), points, random()).mean() < 0.002
    assert solid(cup(0.01), points[points[:, 2] < 0.1], random()).mean() > 0.995


def winding_number(triangles: np.ndarray, point: np.ndarray) -> float:
    """How often triangles [F,3,3] go around a point: solid angles of all triangles (van Oosterom and Strackee)."""
    a, b, c = (triangles - point).transpose(1, 0, 2)
    x, y, z = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
    above = (a * np.cross(b, c)).sum(axis=1)
    below = x * y * z + (a * b).sum(axis=1) * z + (b * c).sum(axis=1) * x + (c * a).sum(axis=1) * y
    return float(2 * np.arctan2(above, below).sum() / (4 * np.pi))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small library of closed parts, among them a hollow mug; one model is there under two names."""
    root = tmp_path_factory.mktemp("points") / "models"
    write_library(root, select_families("coffee mug,barn,teapot"), 2, 0)
    write_library(root, select_families("washer"), 1, 0)
    washer = next(path for path in root.glob("04554684/*") if path.is_dir())
    shutil.copytree(washer, washer.with_name("twin"))
    return root


@pytest.mark.slow
def test_labels_agree_with_winding_numbers(models: Path, tmp_path: Path) -> None:
    """Parts of the library are closed: a winding number of 0 means outside, or in a gap closed all around."""
    directions = random(1).normal(size=(3000, 3))
    differ = 0
    for path in sorted(models.glob("*/*/models/model_normalized.obj")):
        staged = stage_model(path, path.parents[1], tmp_path / "staged", ModelLimits(), Treatment())
        surface, file = RaySurface.of(staged.surface), trimesh.load(path, force="mesh", process=False)
        positions, occupied = sample_points(surface, 900, random())
        for point, mine in list(zip(positions.astype(np.float64), occupied, strict=True))[::4]:
            if surface.distance(point[None])[0] > SHEET:
                inside = abs(winding_number(file.triangles * [-1, 1, -1], point)) > 0.5
                assert mine or not inside
                if mine != inside:
                    assert np.isfinite(surface.cast(point, directions).distance).all()
                    differ += 1
    assert differ < 40  # the air below the coffee of a full mug


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_command_writes_continues_and_depends_on_seed_and_model_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(models), str(out), "--points", "512", "--workers", "2"]) == 0
    assert "holds 8 models\n" in capsys.readouterr().err
    files = sorted((out / "points").glob("*/*.npz"))
    folders = sorted(path for path in models.glob("*/*") if path.is_dir())
    assert [path.relative_to(out / "points").with_suffix("").as_posix() for path in files] == [
        folder.relative_to(models).as_posix() for folder in folders
    ]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    files[3].unlink()
    assert main([str(models), str(out), "--points", "512", "--workers", "1"]) == 0
    assert {path for path in files if path.stat().st_mtime_ns != before[path][0]} == {files[3]}
    assert files[3].read_bytes() == before[files[3]][1]
    assert len({content for _, content in before.values()}) == len(files)
    assert not list(out.rglob("*.part"))
    assert main([str(models), str(out), "--points", "512", "--seed", "1"]) == 2
    assert "ask for the same or choose another folder" in capsys.readouterr().err
    assert read(files[3])["positions"].shape == (512, 3)


def write_leaf(root: Path) -> None:
    """A plate of which a texture cuts away all but a quarter, between two small balls."""
    folder = root / "leaves/leaf"
    folder.mkdir(parents=True)
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[:, 16:, 3] = pixels[:16, :, 3] = 0
    Image.fromarray(pixels).save(folder / "leaf.png")
    (folder / "leaf.mtl").write_text("newmtl leaf\nmap_Kd leaf.png\nmap_d leaf.png\nnewmtl ball\nKd 1 0 0\n")
    text = ["mtllib leaf.mtl", "usemtl leaf", "vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    text += [
        "v -0.3 -0.3 0",
        "v 0.3 -0.3 0",
        "v 0.3 0.3 0",
        "v -0.3 0.3 0",
        "f 1/1 2/2 3/3 4/4",
        "usemtl ball",
    ]
    base = 5
    for centre in ((-0.35, -0.35, 0), (0.35, 0.35, 0)):
        mesh = library.ball(centre, 0.003)
        text += ["v {:.5f} {:.5f} {:.5f}".format(*vertex) for vertex in mesh.vertices]
        text += ["f {}/1 {}/1 {}/1".format(*face + base) for face in mesh.faces]
        base += len(mesh.vertices)
    (folder / "leaf.obj").write_text("\n".join(text) + "\n")


@pytest.mark.slow
def test_cut_away_leaf_is_no_solid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_leaf(tmp_path / "models")
    kept = {}
    for option in ("cut", "solid"):
        out = tmp_path / option
        arguments = [str(tmp_path / "models"), str(out), "--points", "20000", "--workers", "1"]
        assert main([*arguments, "--cutouts", option]) == 0
        points = read(out / "points/leaves/leaf.npz")
        at = points["positions"][points["occupied"]].astype(np.float64)
        on_plate = (np.abs(at[:, :2]).max(axis=1) < 0.28) & (np.abs(at[:, 2]) < 0.008)
        kept[option] = at[on_plate]
        assert json.loads((out / "points/points.json").read_text())["cutouts"] == option
    assert main([*arguments, "--cutouts", "cut"]) == 2
    assert "ask for the same or choose another folder" in capsys.readouterr().err
    left, below = kept["cut"][:, 0] < 0.02, kept["cut"][:, 1] < 0.02
    assert len(kept["cut"]) > 300
    assert (left & below).all()
    quarter = (kept["solid"][:, 0] < 0) & (kept["solid"][:, 1] < 0)
    assert 0.15 < quarter.mean() < 0.35


@pytest.mark.slow
def test_what_was_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library.write_facts(tmp_path / "models")
    library.write_model(tmp_path / "models", "04379243/pane", library.SHAPES["04379243/pane"])
    (tmp_path / "models/04379243/other.fbx").write_text("")
    arguments = [str(tmp_path / "models"), "--points", "64", "--workers", "1"]
    assert main([arguments[0], str(tmp_path / "out"), *arguments[1:]]) == 0
    said = capsys.readouterr().err
    assert "transparent faces removed: 12, in 1 models\n" in said
    assert "not used, such as 04379243/other.fbx (.fbx is not read; convert it to .glb)\n" in said
    opaque = [arguments[0], str(tmp_path / "opaque"), *arguments[1:], "--transparent", "opaque"]
    assert main(opaque) == 0
    assert "transparent faces drawn opaque: 12, in 1 models\n" in capsys.readouterr().err
    inside = read(tmp_path / "opaque/points/04379243/pane.npz")
    assert inside["occupied"].sum() > read(tmp_path / "out/points/04379243/pane.npz")["occupied"].sum()


@pytest.mark.slow
def test_points_of_an_older_version_are_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library.write_facts(tmp_path / "models")
    library.write_model(tmp_path / "models", "04379243/pane", library.SHAPES["04379243/pane"])
    (tmp_path / "out/points").mkdir(parents=True)
    old = {"format": "gp3d-points", "version": 1, "points": 64, "seed": 0}
    (tmp_path / "out/points/points.json").write_text(json.dumps(old))
    arguments = [str(tmp_path / "models"), str(tmp_path / "out"), "--points", "64", "--workers", "1"]
    assert main([*arguments, "--cutouts", "solid"]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert main(arguments) == 0


@pytest.mark.slow
def test_broken_models_are_recorded_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models, out = tmp_path / "models", tmp_path / "out"
    library.write_facts(models)
    library.write_model(models, "04379243/pane", library.SHAPES["04379243/pane"])
    library.write_broken(models)
    beyond = library.write_model(models, "03797390/beyond", [library.Part(library.box((0, 0, 0), 0.3))])
    beyond.write_text(beyond.read_text() + "f 1/1 2/1 999/1\n")
    garbled = library.write_model(models, "03797390/garbled", [library.Part(library.box((0, 0, 0), 0.3))])
    garbled.write_text(garbled.read_text().replace("f 1/", "f one/"))
    assert main([str(models), str(out), "--points", "64", "--workers", "1"]) == 0
    lines = [json.loads(line) for line in (out / "points/failures.jsonl").read_text().splitlines()]
    reasons = {line["model"].rpartition("/")[2]: line["reason"] for line in lines}
    expected = {
        "cut": "corner that is none of its",
        "empty": "is empty",
        "glass": "all of its faces are transparent",
        "huge": "normalise the model",
        "missing": "is missing",
        "nan": "not finite",
        "points": "no faces",
        "beyond": "corner that is none of its",
        "garbled": "corners are no numbers",
    }
    assert set(reasons) == set(expected)  # without its texture a model has points all the same
    assert all(expected[name] in reason for name, reason in reasons.items())
    assert f"{len(expected)} broken models" in capsys.readouterr().err
    for name in expected:
        shutil.rmtree(models / "03797390" / name)
    assert main([str(models), str(out), "--points", "64", "--workers", "1"]) == 0
    assert not (out / "points/failures.jsonl").read_text()
    assert read(out / "points/04379243/pane.npz")["occupied"].any()


def test_surface_without_area_is_refused() -> None:
    flat = RaySurface(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(BrokenModelError, match="area of 0"):
        sample_points(flat, 12, random())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere", "out"], "no such folder"),
        (["models", "models"], "is a model library"),
        (["models", "out", "--points", "1"], "--points must lie between"),
        (["models", "out", "--thin", "1.5"], "--thin must lie between 0 and 1"),
        (["models", "out", "--seed", "-1"], "--seed must be 0 or more"),
        (["models", "out", "--workers", "0"], "--workers must be 1 or more"),
        (["models", "out", "--per-class", "0"], "--per-class must be 1 or more"),
        (["models", "out", "--front", "up"], "front and up must be two of"),
        (["models", "turned"], "rendered with another --front"),
        (["models", "solid"], "was rendered with --transparent opaque (asked for: remove)"),
        (
            ["models", "solid", "--transparent", "opaque"],
            "was rendered with --cutouts solid (asked for: cut)",
        ),
        (["models", "index"], "not readable as the index"),
        (["models", "torn"], "not readable as a manifest"),
        (["models", "other"], "not readable as JSON"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    options: list[str], words: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = sorted(path for path in models.glob("*/*") if path.is_dir())[0].relative_to(models).as_posix()
    for name, text in {
        "turned/manifest.json": json.dumps({"models": {key: {"to_world": np.eye(4).tolist()}}}),
        "torn/manifest.json": "{",
        "other/points/points.json": "{",
        "index/dataset.json": json.dumps({"generator": {"settings": []}}),
        "solid/dataset.json": json.dumps(
            {"generator": {"settings": {"treatment": {"transparent": "opaque", "cutouts": "solid"}}}}
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    paths = [str(models if name == "models" else tmp_path / name) for name in options[:2]]
    assert main([*paths, *options[2:]]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert words in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_stopped_run_leaves_whole_files_and_goes_on(models: Path, tmp_path: Path) -> None:
    out, many = tmp_path / "out", tmp_path / "many"
    model = next(path for path in models.glob("*/*") if path.is_dir())
    for number in range(400):
        (many / model.parent.name).mkdir(parents=True, exist_ok=True)
        (many / model.parent.name / f"m{number}").symlink_to(model)
    library.write_facts(many)
    shutil.copy(models / "taxonomy.json", many)
    run = subprocess.Popen(
        library.command("synthetic.points", many, out, "--workers", 1),
        env=library.environment(tmp_path / "scratch"),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob("points/*/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGINT
    assert "the same command continues" in said
    files = list(out.glob("points/*/*.npz"))
    assert 0 < len(files) < 400
    assert all(read(path)["occupied"].shape == (8192,) for path in files)
    assert not list(out.rglob("*.part"))
    assert not list((tmp_path / "scratch").glob("gp3d-points-*"))
