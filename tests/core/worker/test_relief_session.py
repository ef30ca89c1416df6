"""The worker's `lift`: the relief of the command line, errors in the words of the protocol, nothing left behind."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.generation.recipes import RecipeError, read_recipe
from gp3d_core.hashing import digest
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.networks.tcmonodepth import TCMonoDepth
from gp3d_core.worker.model_session import problem_of
from gp3d_core.worker.protocol import read_request
from gp3d_core.worker.relief_session import make_relief
from tests.support.serving import ROOT, Client

HEIGHT, WIDTH = 30, 40
SIZE = (WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture of noise, a depth map with a near square, a mask of that square, and a depth network."""
    folder = tmp_path_factory.mktemp("lifting")
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    depth = np.full((HEIGHT, WIDTH), 3.0)
    depth[8:22, 10:30] = 1.0
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:22, 10:30] = 255
    Image.fromarray(rgb).save(folder / "my owl.png")
    Image.fromarray(mask).save(folder / "mask.png")
    np.save(folder / "depth.npy", depth)
    torch.manual_seed(0)
    torch.save(TCMonoDepth().state_dict(), folder / "network.pt")
    return folder


def ask(place: Path, **changes: Any) -> dict[str, Any]:
    """The fields of a request."""
    fields = {"id": "l", "op": "lift", "dir": str(place / "out"), "picture": str(place / "my owl.png")}
    return fields | {"depth": str(place / "depth.npy"), "grid": 40} | changes


def make(place: Path, **changes: Any) -> dict[str, Any]:
    """What is published for a request, with its files in place."""
    made: dict[str, Any] = {}

    def publish(move: Any, result: Any) -> None:
        move()
        made.update(result)

    request: Any = read_request(json.dumps(ask(place, **changes)).encode()).options
    make_relief(request, "cpu", lambda *step: None, publish)
    return made


def decoded(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_picture_becomes_the_relief_of_the_command_line(place: Path, tmp_path: Path) -> None:
    made = make(place, dir=str(tmp_path / "out"), formats=["npz", "glb"], kind="metric", fov=40, stem="owl")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"owl.npz", "owl_filled.npz", "owl.texture.png", "owl.glb", "owl.recipe.json"}
    command = ["lift", str(place / "my owl.png"), "--depth", str(place / "depth.npy"), "--kind", "metric"]
    command += ["--fov", "40", "--grid", "40", "--out", str(tmp_path / "owl.glb")]
    assert main(command) == 0
    assert (tmp_path / "owl.glb").read_bytes() == Path(made["files"]["glb"]).read_bytes()
    np.testing.assert_array_equal(decoded(Path(made["texture"])), decoded(place / "my owl.png"))
    seen, filled = load_mesh(made["files"]["npz"]), load_mesh(made["filled"]["npz"])
    assert seen.texture is None
    assert filled.texture is not None
    assert made["faces"] == len(seen.faces) + len(filled.faces)
    assert made["vertices"] == len(seen.vertices) + len(filled.vertices)


def test_the_camera_sees_every_vertex_where_its_texel_is(place: Path, tmp_path: Path) -> None:
    made = make(place, dir=str(tmp_path), kind="metric", fov=50)
    camera, mesh = made["camera"], load_mesh(made["files"]["npz"])
    assert mesh.uv is not None
    assert (camera["width"], camera["height"], camera["fov"]) == (WIDTH, HEIGHT, 50)
    away = camera["distance"] - mesh.vertices[:, 2]
    half = math.tan(math.radians(camera["fov"]) / 2)
    np.testing.assert_allclose(mesh.vertices[:, 0] / away / half, 2 * mesh.uv[:, 0] - 1, atol=1e-5)
    upwards = (2 * mesh.uv[:, 1] - 1) * HEIGHT / WIDTH
    np.testing.assert_allclose(mesh.vertices[:, 1] / away / half, upwards, atol=1e-5)
    assert away.min() == pytest.approx(1.0, abs=0.01)
    assert (camera["near"], camera["far"]) == pytest.approx((away.min(), away.max()), abs=0.1)


def test_a_mask_leaves_the_subject_alone(place: Path, tmp_path: Path) -> None:
    made = make(place, dir=str(tmp_path), kind="metric", mask=str(place / "mask.png"))
    mesh = load_mesh(made["files"]["npz"])
    assert mesh.uv is not None
    assert made["filled"] is None
    assert not (tmp_path / "my owl_filled.npz").exists()
    column, row = mesh.uv[:, 0] * WIDTH, (1 - mesh.uv[:, 1]) * HEIGHT
    assert (column.min(), column.max()) == pytest.approx((10, 30), abs=0.5)
    assert (row.min(), row.max()) == pytest.approx((8, 22), abs=0.5)
    np.testing.assert_allclose(made["camera"]["distance"] - mesh.vertices[:, 2], 1.0, atol=1e-4)
    assert made["recipe"]["mask_sha256"] == digest(place / "mask.png")


def test_a_rim_of_the_mask_takes_the_depth_of_the_subject(place: Path, tmp_path: Path) -> None:
    """Where the mask is a little wider than the near square of the depth map, as masks of networks are."""
    wide = np.zeros((HEIGHT, WIDTH), np.uint8)
    wide[7:23, 9:31] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    made = make(place, dir=str(tmp_path), kind="metric", mask=str(tmp_path / "wide.png"))
    mesh = load_mesh(made["files"]["npz"])
    np.testing.assert_allclose(made["camera"]["distance"] - mesh.vertices[:, 2], 1.0, atol=1e-4)


def test_the_recipe_names_what_it_was_made_of(place: Path, tmp_path: Path) -> None:
    made = make(place, dir=str(tmp_path), kind="disparity")
    recipe = made["recipe"]
    assert (recipe["picture"], recipe["picture_sha256"]) == ("my owl.png", digest(place / "my owl.png"))
    assert (recipe["depth"], recipe["depth_sha256"]) == ("depth.npy", digest(place / "depth.npy"))
    assert (recipe["kind"], recipe["grid"], recipe["border"]) == ("disparity", 40, 0.2)
    assert "assumed" in made["remarks"][0]
    with pytest.raises(RecipeError, match=r"recipe of the picture my owl\.png"):
        read_recipe(Path(made["recipe_path"]))


def test_depth_comes_from_a_network(place: Path, tmp_path: Path) -> None:
    network = place / "network.pt"
    made = make(place, dir=str(tmp_path), depth=None, depth_model=str(network))
    assert made["recipe"]["depth_model"] == "TCMonoDepth small"
    assert made["recipe"]["depth_sha256"] == digest(network)
    assert not [line for line in made["remarks"] if "plain" in line]
    Image.new("RGB", SIZE, "white").save(tmp_path / "white.png")
    made = make(
        place, dir=str(tmp_path), depth=None, depth_model=str(network), picture=str(tmp_path / "white.png")
    )
    assert [line for line in made["remarks"] if "plain background" in line]


@pytest.mark.parametrize("kind", ["grey", "cmyk", "alpha", "turned", "deep", "palette"])
def test_pictures_of_all_kinds_arrive_upright_and_in_colour(kind: str, place: Path, tmp_path: Path) -> None:
    picture = Image.open(place / "my owl.png").convert("RGB")
    expected, path = np.asarray(picture), tmp_path / "photo.tif"
    if kind == "grey":
        picture.convert("L").save(path)
        expected = np.asarray(picture.convert("L").convert("RGB"))
    elif kind == "cmyk":
        picture.convert("CMYK").save(path)
    elif kind == "alpha":
        alpha = picture.convert("RGBA")
        alpha.putalpha(0)
        alpha.save(path)
        expected = np.full_like(expected, 255)
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # turn it by 90° clockwise
        path = tmp_path / "photo.png"
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif kind == "deep":
        Image.fromarray(expected[..., 0].astype(np.uint16) * 256 + 77).save(path)
        expected = np.repeat(expected[..., :1], 3, axis=2)
    else:
        picture.quantize(256).save(path)
        expected = np.asarray(picture.quantize(256).convert("RGB"))
    made = make(place, dir=str(tmp_path / "out"), picture=str(path))
    assert (made["camera"]["width"], made["camera"]["height"]) == SIZE
    np.testing.assert_array_equal(decoded(Path(made["texture"])), expected)


def bad_files(folder: Path, place: Path) -> dict[str, str]:
    """Files that cannot be used, by name."""
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "letter.png").write_text("Dear sir")
    Image.new("1", (18000, 10000)).save(folder / "gigantic.png")
    Image.new("L", (30, 30), 255).save(folder / "square.png")
    Image.new("L", SIZE).save(folder / "black.png")
    (folder / "torn.npy").write_bytes((place / "depth.npy").read_bytes()[:500])
    np.save(folder / "square.npy", np.ones((30, 30)))
    huge = np.lib.format.open_memmap(folder / "huge.npy", mode="w+", dtype=np.float64, shape=(15000, 12000))
    del huge  # without numbers: a sparse file
    torch.save({"head.weight": torch.zeros(3)}, folder / "other.pt")
    (folder / "torn.pt").write_bytes((place / "network.pt").read_bytes()[:500])
    (folder / "folder").mkdir()
    return {path.name: str(path) for path in folder.iterdir()}


NETWORK = {"depth": None}


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"picture": "none.png"}, "E_PICTURE", "there is no picture at"),
        ({"picture": "fifo"}, "E_PICTURE", "there is no picture at"),
        ({"picture": "folder"}, "E_PICTURE", "there is no picture at"),
        ({"picture": "letter.png"}, "E_PICTURE", "letter.png is no picture in a format that is read"),
        ({"picture": "gigantic.png"}, "E_PICTURE", "is gigantic: it has more than 64 million pixels"),
        ({"depth": "none.npy"}, "E_PICTURE", "none.npy cannot be read"),
        ({"depth": "fifo"}, "E_PICTURE", "fifo cannot be read (expected a file)"),
        ({"depth": "letter.png"}, "E_PICTURE", "letter.png cannot be read"),
        ({"depth": "gigantic.png"}, "E_PICTURE", "more than 64 million pixels"),
        ({"depth": "huge.npy"}, "E_PICTURE", "12000x15000, more than 64 million pixels"),
        ({"depth": "torn.npy"}, "E_PICTURE", "torn.npy cannot be read"),
        ({"depth": "square.npy"}, "E_PICTURE", "is 30x30, expected the proportions of the picture, 40x30"),
        ({"mask": "none.png"}, "E_PICTURE", "there is no mask at"),
        ({"mask": "fifo"}, "E_PICTURE", "there is no mask at"),
        ({"mask": "letter.png"}, "E_PICTURE", "letter.png is no picture"),
        ({"mask": "square.png"}, "E_PICTURE", "is 30x30, expected 40x30 like its picture"),
        ({"mask": "black.png"}, "E_PICTURE", "shows no subject"),
        (NETWORK | {"depth_model": "none.pt"}, "E_NO_WEIGHTS", "there is no depth model at"),
        (NETWORK | {"depth_model": "organisation/model"}, "E_NO_WEIGHTS", "there is no depth model at"),
        (NETWORK | {"depth_model": "fifo"}, "E_BAD_WEIGHTS", "neither a file nor a folder"),
        (NETWORK | {"depth_model": "other.pt"}, "E_BAD_WEIGHTS", "expected weights of TCMonoDepth small"),
        (NETWORK | {"depth_model": "torn.pt"}, "E_BAD_WEIGHTS", "expected a safetensors file, or tensors"),
        (NETWORK | {"depth_model": "letter.png"}, "E_BAD_WEIGHTS", "expected a safetensors file, or tensors"),
        (NETWORK, "E_PROTOCOL", "either `depth` or `depth_model`"),
        ({"depth_model": "other.pt"}, "E_PROTOCOL", "either `depth` or `depth_model`"),
        ({"kind": "metric", "ratio": 2}, "E_PROTOCOL", "found `ratio` with it"),
        (NETWORK | {"depth_model": "other.pt", "kind": "metric"}, "E_PROTOCOL", "found `depth_model`"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    changes: dict[str, Any], code: str, said: str, place: Path, tmp_path: Path
) -> None:
    bad = bad_files(tmp_path / "bad", place)
    named = ("picture", "depth", "mask", "depth_model")
    changes = {
        key: bad.get(value, str(tmp_path / value)) if key in named and value else value
        for key, value in changes.items()
    }
    with pytest.raises(Exception, match=re.escape(said)) as caught:
        make(place, dir=str(tmp_path / "out"), **changes)
    problem = problem_of(caught.value)
    assert problem.code == code
    assert problem.action
    assert "\n" not in problem.event("l")["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", ["depth", "edges", "filling", "triangles", "write"])
def test_a_relief_cancelled_in_any_stage_writes_nothing(stage: str, place: Path, tmp_path: Path) -> None:
    def stop(now: str, done: int, total: int) -> None:
        if now == stage and done == total:
            raise InterruptedError

    request: Any = read_request(json.dumps(ask(place, dir=str(tmp_path))).encode()).options
    with pytest.raises(InterruptedError):
        make_relief(request, "cpu", stop, lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_documented_request_is_valid() -> None:
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\{.*\"op\": \"lift\", \"picture\".*\}$", text, re.MULTILINE)
    options = read_request(line.encode()).options
    assert (options["grid"], options["border"], options["formats"]) == (512, 0.2, ["npz"])


@pytest.mark.slow
def test_the_worker_lifts_without_another_model_and_lets_go(place: Path, tmp_path: Path) -> None:
    client = Client(tmp_path / "none.safetensors")
    try:
        assert client.wait("error")["code"] == "E_NO_WEIGHTS"
        fields = {key: value for key, value in ask(place).items() if key not in ("id", "op", "dir")}
        result = client.ask("lift", **fields, dir=str(tmp_path / "a"))
        assert result["event"] == "result"
        assert list(result["stages"]) == ["depth", "edges", "filling", "triangles", "write"]
        Image.fromarray(np.zeros((1500, 2000, 3), np.uint8)).save(tmp_path / "large.png")
        fields |= {"picture": str(tmp_path / "large.png"), "grid": 600}
        job = client.send("lift", **fields, dir=str(tmp_path / "b"))
        client.wait("progress", id=job, stage="edges")
        client.ask("cancel", target=job)
        assert client.final(job)["code"] == "E_CANCELLED"
        assert not (tmp_path / "b").exists()
        assert client.ask("lift", **fields | {"grid": 40}, dir=str(tmp_path / "b"))["event"] == "result"
    finally:
        client.process.kill()
