"""The renderer against independent rays, known points and known colours; and its behaviour as a program."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open3d
import pytest
import trimesh
from PIL import Image

from synthetic.render import main
from synthetic.viewpoints import ViewDistribution, sample_viewpoint
from synthetic.workers.run import Shard
from tests.synthetic import small_library as library

RESOLUTION, VIEWS, SEED = 64, 5, 3
OPTIONS = ("--resolution", RESOLUTION, "--views", VIEWS, "--seed", SEED, "--samples", 8)


@dataclass(frozen=True)
class Rendered:
    """One complete run of the program."""

    models: Path
    folder: Path
    scratch: Path
    run: subprocess.CompletedProcess[str]
    index: dict[str, Any]
    views: dict[str, dict[str, Any]]

    def image(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(self.folder / name))

    def depth_code(self, name: str) -> np.ndarray:
        return np.asarray(Image.open(self.folder / name.replace(".png", "_depth.png")))

    def geometry(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name.replace(".png", "_geometry.npz"), allow_pickle=False) as arrays:
            return dict(arrays)

    def of(self, model: str) -> dict[str, dict[str, Any]]:
        found = {name: view for name, view in self.views.items() if view["model"] == model}
        assert len(found) == VIEWS
        return found


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    root = tmp_path_factory.mktemp("render")
    models, folder, scratch = root / "models", root / "dataset", root / "scratch"
    library.write_facts(models)
    library.write_shapes(models)
    library.write_broken(models)
    run = library.run(scratch, "synthetic.render", models, folder, *OPTIONS)
    assert run.returncode == 0, run.stderr
    views = json.loads((folder / "cameras.json").read_text())["views"]
    return Rendered(models, folder, scratch, run, json.loads((folder / "dataset.json").read_text()), views)


def cast(mesh: trimesh.Trimesh, view: dict[str, Any]) -> np.ndarray:
    """z-depth [R,R] of a mesh in the world frame by Open3D's ray caster; inf where nothing is hit."""
    origin, directions = library.pixel_rays(view, RESOLUTION)
    rays = np.concatenate([np.broadcast_to(origin, directions.shape), directions], -1).astype(np.float32)
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
    return scene.cast_rays(open3d.core.Tensor(rays))["t_hit"].numpy()


def assert_depth_true(rendered: Rendered, model: str, mesh: trimesh.Trimesh) -> None:
    for name, view in rendered.of(model).items():
        geometry, expected = rendered.geometry(name), cast(mesh, view)
        hit = np.isfinite(expected)
        assert hit.sum() > 20
        assert (geometry["mask"] != hit).mean() <= 5e-4
        both = hit & geometry["mask"]
        error = np.abs(geometry["z_depth"][both] - expected[both])
        assert np.median(error) < 5e-5
        assert (error > 1e-3).mean() <= 0.01  # a pixel on the edge between two depths may fall to either side
        assert np.isinf(geometry["z_depth"][~geometry["mask"]]).all()


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("model", library.SHAPES)
def test_depth_agrees_with_independent_rays(rendered: Rendered, model: str) -> None:
    assert_depth_true(rendered, model, library.opaque_mesh(library.SHAPES[model]))


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.parametrize("synset", library.REAL_KEYS)
def test_depth_agrees_with_independent_rays_on_real_models(rendered: Rendered, synset: str) -> None:
    if not library.REAL_MODELS.is_dir():
        pytest.skip(f"no real models: {library.REAL_MODELS} does not exist")
    model = next((rendered.models / synset).iterdir())
    mesh = trimesh.load(model / "models/model_normalized.obj", force="mesh", process=False)
    mesh.vertices = mesh.vertices * [-1, 1, -1]
    assert_depth_true(rendered, f"{synset}/{model.name}", mesh)


@pytest.mark.blender
@pytest.mark.slow
def test_depth_image_decodes_to_ray_distance(rendered: Rendered) -> None:
    near, far = rendered.index["t_near"], rendered.index["t_far"]
    assert (near, far) == (1.45, 2.55)
    for name, view in rendered.views.items():
        geometry, code = rendered.geometry(name), rendered.depth_code(name)
        lengths = np.linalg.norm(library.pixel_rays(view, RESOLUTION)[1], axis=-1)
        mask = geometry["mask"]
        np.testing.assert_allclose(
            geometry["ray_distance"][mask], (geometry["z_depth"] * lengths)[mask], rtol=1e-6
        )
        assert code.dtype == np.uint16
        assert (code[~mask] == 65535).all()
        normalised = code[mask] / 65536 * 2 - 1
        expected = 2 * (geometry["ray_distance"][mask] - (near + far) / 2) / (far - near)
        assert np.abs(normalised - expected).max() <= 1 / 65536 + 1e-6


@pytest.mark.blender
@pytest.mark.slow
def test_background_is_exactly_white_and_objects_are_not(rendered: Rendered) -> None:
    for name in rendered.views:
        image, mask = rendered.image(name), rendered.geometry(name)["mask"]
        assert image.shape == (RESOLUTION, RESOLUTION, 3)
        padded = np.pad(mask, 2)
        near = np.any(
            [padded[i : i + RESOLUTION, j : j + RESOLUTION] for i in range(5) for j in range(5)], axis=0
        )
        assert (image[~near] == 255).all()
        assert (image[mask].min(axis=-1) < 250).mean() > 0.95


@pytest.mark.blender
@pytest.mark.slow
def test_pixel_centres_include_the_corners(rendered: Rendered) -> None:
    view = next(iter(rendered.views.values()))
    np.testing.assert_allclose(view["intrinsics"][0][0], 31.5 / np.tan(np.radians(20)), rtol=1e-12)
    assert view["intrinsics"][0][2] == view["intrinsics"][1][2] == 31.5
    _, directions = library.pixel_rays(view, RESOLUTION)
    middle_row = (directions[31] + directions[32]) / 2
    cosine = middle_row[0] @ middle_row[-1] / np.linalg.norm(middle_row[0]) / np.linalg.norm(middle_row[-1])
    np.testing.assert_allclose(np.degrees(np.arccos(cosine)), 40.0, rtol=1e-6)


@pytest.mark.blender
@pytest.mark.slow
def test_known_points_appear_where_the_cameras_say(rendered: Rendered) -> None:
    expected, found = [], []
    for name, view in rendered.of("04379243/dots").items():
        dark = 255.0 - rendered.image(name).mean(axis=-1)
        places = library.project(view, np.array(library.DOTS))
        for place in places:
            if (
                np.sort(np.abs(places - place).max(axis=1))[1] < 7
            ):  # another dot is too near to tell them apart
                continue
            column, row = np.round(place).astype(int)
            rows, columns = np.mgrid[row - 3 : row + 4, column - 3 : column + 4]
            weight = dark[rows, columns]
            expected.append(place)
            found.append([(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()])
    expected, found = np.array(expected) - 31.5, np.array(found) - 31.5
    assert len(found) > 10
    assert np.abs(found - expected).max() < 0.2
    assert np.abs(found.mean(axis=0) - expected.mean(axis=0)).max() < 0.05  # half a pixel with another centre
    np.testing.assert_allclose((found * expected).sum() / (expected**2).sum(), 1.0, atol=4e-3)  # else 64/63


@pytest.mark.blender
@pytest.mark.slow
def test_front_faces_the_camera_at_yaw_zero_and_colors_are_true(rendered: Rendered) -> None:
    faces = np.array([(0, 0, 0.37), (0.3, 0, 0.07), (0, 0.3, 0.07)])  # red in front, green at +x, blue above
    for name, view in rendered.of("02876657/blocks").items():
        assert abs(view["yaw"]) < np.pi / 3
        image = rendered.image(name).astype(int)
        for channel, (column, row) in enumerate(np.round(library.project(view, faces)).astype(int)):
            color = image[row, column]
            assert color.argmax() == channel, (name, channel, color)
            assert color[channel] > 60 + np.delete(color, channel).max()


@pytest.mark.blender
@pytest.mark.slow
def test_faces_are_as_bright_as_light_and_albedo_say(rendered: Rendered) -> None:
    sun = np.array([-0.55, 0.75, 0.6]) / np.linalg.norm([-0.55, 0.75, 0.6])
    linear = 0.8 * (
        0.5 + 1.6 / np.pi * sun[2]
    )  # the red face turned to +z, under sky and sun, nothing in their way
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    for name, view in rendered.of("02876657/blocks").items():
        column, row = np.round(library.project(view, np.array([[0, 0, 0.37]]))).astype(int)[0]
        assert abs(rendered.image(name)[row - 1 : row + 2, column - 1 : column + 2, 0].mean() - expected) < 5


@pytest.mark.blender
@pytest.mark.slow
def test_every_view_has_the_camera_its_seed_draws(rendered: Rendered) -> None:
    for model in library.SHAPES:
        for number, view in enumerate(rendered.of(model).values()):
            drawn = sample_viewpoint(ViewDistribution(), SEED, model, number)
            assert (view["yaw"], view["pitch"], view["radius"], view["fov"]) == (
                drawn.yaw,
                drawn.pitch,
                2.0,
                40.0,
            )
            assert view["look_at"] == list(drawn.look_at)


@pytest.mark.blender
@pytest.mark.slow
def test_index_lists_every_view_with_its_class(rendered: Rendered) -> None:
    index = rendered.index
    names = [name for name, _ in index["labels"]]
    assert names == sorted(rendered.views) == [name for name, _ in index["camera_angles"]]
    assert {
        name for name in map(str, rendered.folder.glob("*/*.png")) if not name.endswith("_depth.png")
    } == {str(rendered.folder / name) for name in names}
    classes = {entry["label"]: entry for entry in index["classes"]}
    assert sorted(classes) == list(range(len(classes)))
    for name, label in index["labels"]:
        assert name.startswith(classes[label]["wnid"] + "/")
    by_wnid = {entry["wnid"]: entry for entry in classes.values()}
    assert by_wnid["n02823428"] == {
        "label": by_wnid["n02823428"]["label"],
        **library.CLASSES["02876657/blocks"],
    }
    assert by_wnid["n03797390"]["name"] == "mug"
    assert by_wnid["n03797390"]["imagenet_index"] is None


@pytest.mark.blender
@pytest.mark.slow
def test_broken_models_are_named_and_the_others_rendered(rendered: Rendered) -> None:
    failures = {failure["model"]: failure["reason"] for failure in rendered.index["failures"]}
    assert sorted(failures) == sorted(library.BROKEN)
    for model, reason in library.BROKEN.items():
        assert reason in failures[model]
        assert model in rendered.run.stderr
    assert not {view["model"] for view in rendered.views.values()} & set(failures)


@pytest.mark.blender
@pytest.mark.slow
def test_program_is_quiet_and_leaves_no_rubbish(rendered: Rendered) -> None:
    assert rendered.run.stdout == ""
    assert len(rendered.run.stderr.splitlines()) == len(library.BROKEN) + 1  # and the summary
    assert list(rendered.scratch.iterdir()) == []
    assert not list(rendered.folder.rglob(".*"))
    assert not list(Path("/dev/shm").glob("blender_proc_*"))


@pytest.mark.blender
@pytest.mark.slow
def test_interrupted_run_is_continued_to_the_same_bytes(rendered: Rendered, tmp_path: Path) -> None:
    arguments = (rendered.models, tmp_path / "dataset", *OPTIONS)
    process = subprocess.Popen(
        library.command("synthetic.render", *arguments),
        stderr=subprocess.PIPE,
        text=True,
        env=library.environment(tmp_path / "scratch"),
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "dataset").glob("*/*_camera.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert "the same command continues" in process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert list((tmp_path / "scratch").iterdir()) == []
    done = json.loads((tmp_path / "dataset/dataset.json").read_text())["labels"]
    assert 0 < len(done) < len(rendered.views)
    kept = {name: (tmp_path / "dataset" / name).stat().st_mtime_ns for name, _ in done[1:]}
    (tmp_path / "dataset" / done[0][0].replace(".png", "_depth.png")).unlink()

    assert library.run(tmp_path / "scratch", "synthetic.render", *arguments).returncode == 0
    assert all((tmp_path / "dataset" / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())
    files = sorted(path.relative_to(rendered.folder) for path in rendered.folder.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "dataset") for path in (tmp_path / "dataset").rglob("*") if path.is_file()
    )
    assert len(files) == 4 * len(rendered.views) + 4
    for file in files:
        assert (rendered.folder / file).read_bytes() == (tmp_path / "dataset" / file).read_bytes(), file


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs the program in this process, where it must fail before Blender starts; its one line."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.blender
@pytest.mark.slow
def test_other_settings_than_the_folder_has_are_refused(
    rendered: Rendered, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in rendered.folder.rglob("*") if path.is_file()}
    line = fails(capsys, rendered.models, rendered.folder, *OPTIONS, "--resolution", 32, "--fov", 30)
    assert "resolution 64 (asked for: 32)" in line
    assert "fov 40.0 (asked for: 30.0)" in line
    assert before == {path: path.read_bytes() for path in rendered.folder.rglob("*") if path.is_file()}


def test_missing_and_empty_libraries_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "no such folder" in fails(capsys, tmp_path / "nowhere", out)
    assert "has no taxonomy.json" in fails(capsys, tmp_path, out)
    library.write_facts(tmp_path / "models")
    assert "holds no models" in fails(capsys, tmp_path / "models", out)
    assert not out.exists()


@pytest.mark.parametrize("place", ["file/out", "file", "/proc/out"])
def test_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    library.write_facts(tmp_path / "models")
    library.write_model(tmp_path / "models", "03797390/cube", [library.Part(library.box((0, 0, 0), 0.5))])
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in fails(capsys, tmp_path / "models", tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_but_broken_models_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library.write_facts(tmp_path / "models")
    library.write_broken(tmp_path / "models", only_text=True)
    assert "none of 4 models could be rendered" in fails(capsys, tmp_path / "models", tmp_path / "out")
    index = json.loads((tmp_path / "out/dataset.json").read_text())
    names = [failure["model"].partition("/")[2] for failure in index["failures"]]
    assert names == ["empty", "missing", "nan", "points"]


def test_strict_stops_at_the_first_broken_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library.write_facts(tmp_path / "models")
    library.write_broken(tmp_path / "models", only_text=True)
    assert "03797390/empty: " in fails(capsys, tmp_path / "models", tmp_path / "out", "--strict")
    assert len(json.loads((tmp_path / "out/dataset.json").read_text())["failures"]) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--resolution", 3), "resolution"),
        (("--samples", 0), "sample"),
        (("--fov", 180), "field of view"),
        (("--near-far", 2, 1), "near"),
        (("--radius", 0), "radius"),
        (("--pitch", 4, 0.1), "pitch"),
        (("--yaw", 0, -1), "negative"),
        (("--yaw", "nan", 1), "finite"),
    ],
)
def test_impossible_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[object, ...], message: str
) -> None:
    assert message in fails(capsys, tmp_path, tmp_path / "out", *option)
    assert not (tmp_path / "out").exists()


def test_sphere_has_no_yaw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no --yaw" in fails(capsys, tmp_path, tmp_path / "out", "--preset", "sphere", "--yaw", 0, 1)


def test_shard_without_a_model_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library.write_facts(tmp_path / "models")
    library.write_broken(tmp_path / "models", only_text=True)
    empty = next(
        f"{number}/40"
        for number in range(1, 41)
        if not any(
            Shard(number, 40).holds(f"03797390/{name}") for name in ("empty", "missing", "nan", "points")
        )
    )
    assert main([str(tmp_path / "models"), str(tmp_path / "out"), "--shard", empty]) == 0
    assert "holds 0 views" in capsys.readouterr().err
    assert "samples 16 (asked for: 3)" in fails(
        capsys, tmp_path / "models", tmp_path / "out", "--shard", "1/2", "--samples", 3
    )
