"""The worker's `picture`: the mesh of the command line, errors in the words of the protocol, nothing left behind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.meshfile import load_mesh
from gp3d_core.picturing import PictureStudio
from gp3d_core.protocol import Problem, read_request
from gp3d_core.studio import problem_of
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.reconstruction import read_picture, reconstruct
from gp3d_core.vq3d.scenemesh import SceneMeshOptions, mesh_of
from gp3d_core.vq3d.snapshot import load_tokenizer, save_tokenizer
from gp3d_core.vq3d.tokenizer import Tokenizer
from tests.core.test_serve import Client
from tests.core.test_vq3d_prior import MICRO

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tokenizer that was never trained and a picture."""
    folder = tmp_path_factory.mktemp("picturing")
    torch.manual_seed(0)
    config = resolve("tiny32", MICRO)
    save_tokenizer(folder / "tokenizer.safetensors", Tokenizer(config), config, [], 0)
    noise = np.random.default_rng(0).integers(0, 256, (20, 33, 3), np.uint8)
    Image.fromarray(noise).save(folder / "my owl.png")
    return folder


def ask(place, **changes):
    """The options of a request."""
    fields = {"id": "p", "op": "picture", "dir": str(place / "out"), "grid": 12, "color": "vertex"}
    fields |= {"picture": str(place / "my owl.png"), "tokenizer": str(place / "tokenizer.safetensors")}
    return fields | changes


def make(place, **changes):
    """What is published for a request, with its files in place."""
    made = {}

    def publish(move, result):
        move()
        made.update(result)

    request = read_request(json.dumps(ask(place, **changes)).encode())
    PictureStudio("cpu").mesh(request.options, lambda *step: None, publish)
    return made


def expected(place):
    snapshot = load_tokenizer(place / "tokenizer.safetensors")
    image = read_picture(place / "my owl.png", snapshot.config.training.resolution)
    scene = reconstruct(snapshot, image, "my owl.png")
    return mesh_of(scene, SceneMeshOptions(grid=12, color="vertex"))[0]


def test_a_picture_becomes_the_mesh_of_the_command_line(place, tmp_path):
    made = make(place, dir=str(tmp_path), formats=["npz", "ply"])
    names = {"my owl.npz", "my owl.ply", "my owl.recipe.json", "my owl.view.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    mesh, own = load_mesh(made["files"]["npz"]), expected(place)
    np.testing.assert_array_equal(mesh.vertices, own.vertices)
    np.testing.assert_array_equal(mesh.vertex_colors, own.vertex_colors)
    assert made["recipe"]["class"] == {"name": "my owl"}
    assert Image.open(made["view"]).size == (512, 256)


def test_what_cannot_be_used_has_its_code(place, tmp_path):
    (tmp_path / "letter.png").write_text("Dear sir")
    (tmp_path / "empty").mkdir()
    cases = {
        "E_PICTURE": {"picture": str(tmp_path / "letter.png")},
        "E_NO_WEIGHTS": {"tokenizer": str(tmp_path / "empty")},
        "E_BAD_WEIGHTS": {"tokenizer": str(tmp_path / "letter.png")},
        "E_EMPTY_MESH": {"level": 1e9},
    }
    for code, changes in cases.items():
        with pytest.raises(ValueError, match=r"\w") as caught:
            make(place, dir=str(tmp_path / "out"), **changes)
        assert problem_of(caught.value).code == code
    with pytest.raises(ValueError, match="no picture at"):
        make(place, picture=str(tmp_path / "none.png"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"crop_box": None}, {"dir": "here"}, {"picture": ""}, {"grid": 7}])
def test_requests_out_of_range_are_refused(place, changes):
    with pytest.raises(Problem):
        read_request(json.dumps(ask(place, **changes)).encode())


def test_documented_request_is_valid():
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    line = re.search(r"^\{.*\"op\": \"picture\".*\}$", text, re.MULTILINE)[0]
    assert read_request(line.encode()).options["grid"] == 128


def test_a_cancelled_picture_writes_nothing(place, tmp_path):
    def stop(stage, done, total):
        if stage == "write":
            raise InterruptedError

    options = read_request(json.dumps(ask(place, dir=str(tmp_path))).encode()).options
    with pytest.raises(InterruptedError):
        PictureStudio("cpu").mesh(options, stop, lambda *_: None)
    assert not list(tmp_path.iterdir())


def test_the_worker_makes_pictures_without_another_model(place, tmp_path):
    client = Client(tmp_path / "none.safetensors")
    try:
        assert client.wait("error")["code"] == "E_NO_WEIGHTS"
        fields = {
            key: value for key, value in ask(place, dir=str(tmp_path)).items() if key not in ("id", "op")
        }
        result = client.ask("picture", **fields)
        assert result["event"] == "result"
        assert result["faces"] == len(expected(place).faces)
        assert list(result["stages"]) == ["planes", "density", "surface", "color", "write"]
        assert client.ask("picture", **fields | {"picture": str(tmp_path)})["code"] == "E_PICTURE"
    finally:
        client.process.kill()
