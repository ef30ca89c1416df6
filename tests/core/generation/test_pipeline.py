"""The front door for Python gives what the commands write, to the bit, and takes no keyword that there is not."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import ObjectPipeline, load_mesh
from gp3d_core.cli.main import main
from gp3d_core.datasets.imagenet import UnknownClassError
from gp3d_core.generation.objects import RequestError
from gp3d_core.generation.pipeline import GeneratedObject, MeshChoices
from gp3d_core.generation.sampling import view
from gp3d_core.meshing.options import MeshOptions, OptionError
from gp3d_core.pretrained import pretrained_path
from gp3d_core.visualization import rgb_to_uint8

SMALL = {"grid": 24, "faces": 300, "texture_size": 32}
FLAGS = ["--grid", "24", "--faces", "300", "--texture-size", "32"]


@pytest.fixture(scope="module")
def pipeline():
    torch.set_num_threads(1)
    return ObjectPipeline.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def mug(pipeline):
    return pipeline.generate("coffee mug", seed=7)


def same_files(one: Path, other: Path) -> None:
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_meshes_are_those_of_the_command(mug, tmp_path):
    asked = [
        "mesh",
        "--class",
        "coffee mug",
        "--seeds",
        "7",
        "--format",
        "obj,glb",
        "--device",
        "cpu",
        *FLAGS,
    ]
    assert main([*asked, "--out", str(tmp_path / "command")]) == 0
    mesh = mug.mesh(**SMALL)
    for suffix in ("obj", "glb"):
        path = tmp_path / "python" / f"coffee_mug-0007.{suffix}"
        assert mesh.save(str(path)) == path
    same_files(tmp_path / "command", tmp_path / "python")
    assert len(mesh.faces) == len(load_mesh(tmp_path / "python" / "coffee_mug-0007.obj").faces)
    assert mesh.vertices.shape[1] == 3
    assert mesh.recipe["seed"] == 7


@pytest.mark.slow
def test_a_saved_mesh_is_made_again_by_the_command_from_its_recipe(pipeline, tmp_path):
    made = pipeline.generate("teapot", seed=2, truncation=0.5).mesh(**SMALL, color="vertex", components=None)
    made.save(tmp_path / "mine" / "teapot-0002.ply")
    again = ["mesh", "--recipe", str(tmp_path / "mine" / "teapot-0002.recipe.json"), "--format", "ply"]
    assert main([*again, "--device", "cpu", "--out", str(tmp_path / "again")]) == 0
    same_files(tmp_path / "mine", tmp_path / "again")


@pytest.mark.slow
def test_films_are_those_of_the_command(mug, tmp_path):
    asked = [
        "render",
        "--class",
        "coffee mug",
        "--seeds",
        "7",
        "--kind",
        "turntable",
        "--frames",
        "3",
        "--depth",
    ]
    assert main([*asked, "--resolution", "16", "--device", "cpu", "--out", str(tmp_path / "a.gif")]) == 0
    path = tmp_path / "b.gif"
    assert mug.turntable(path, frames=3, resolution=16, depth=True) == path
    assert path.read_bytes() == (tmp_path / "a.gif").read_bytes()


@pytest.mark.slow
def test_views_turn_by_degrees_and_are_of_the_size_asked_for(mug, tmp_path):
    front, side = (mug.view(yaw=yaw, resolution=24) for yaw in (0, 90))
    assert isinstance(front, Image.Image)
    assert (front.mode, front.size) == ("RGB", (24, 24))
    back = ["render", "--class", "coffee mug", "--seeds", "7", "--kind", "turntable", "--frames", "4"]
    assert main([*back, "--resolution", "24", "--device", "cpu", "--out", str(tmp_path / "turn.gif")]) == 0
    film = Image.open(tmp_path / "turn.gif")
    film.seek(1)  # a quarter turn
    near, far = (np.abs(np.asarray(film.convert("RGB"), float) - np.asarray(x)).mean() for x in (side, front))
    assert near < 0.5 * far
    quarter = view(mug.snapshot, mug.generated, math.pi / 2, 24).rgb
    np.testing.assert_array_equal(np.asarray(side), rgb_to_uint8(quarter)[0])
    assert mug.view().size == (mug.snapshot.config.training.resolution,) * 2


def test_a_path_names_another_model_and_classes_are_listed(pipeline):
    assert ObjectPipeline.from_pretrained(str(pretrained_path()), device="cpu").classes == pipeline.classes
    assert len(pipeline.classes) == 48
    assert "coffee mug" in pipeline.classes


@pytest.mark.slow
def test_wrong_requests_name_what_was_expected(pipeline, mug, tmp_path):
    with pytest.raises(UnknownClassError):
        pipeline.generate("zeppelin")
    with pytest.raises(RequestError, match="expected a class, one of 48"):
        pipeline.generate()
    with pytest.raises(RequestError, match="`truncation`: expected a number from 0 to 2, found 3"):
        pipeline.generate("teapot", truncation=3)
    with pytest.raises(RequestError, match="`seed`"):
        pipeline.generate("teapot", seed=-1)
    with pytest.raises(OptionError, match="`grid`"):
        mug.mesh(grid=1)
    with pytest.raises(OptionError, match="`level`"):
        mug.mesh(level="high")
    with pytest.raises(RequestError, match=r"\.gif or \.mp4"):
        mug.turntable(tmp_path / "film.avi")
    with pytest.raises(RequestError, match=r"in \.obj, \.glb, \.ply, \.npz for a mesh"):
        mug.mesh(**SMALL, color="none").save(tmp_path / "out" / "mug.fbx")
    assert not list(tmp_path.iterdir())


def test_misspelt_keywords_are_type_errors(pipeline, mug):
    for call in (
        lambda: mug.mesh(gird=24),
        lambda: mug.view(resolutoin=8),
        lambda: mug.turntable("x.gif", frame=2),
        lambda: pipeline.generate("teapot", sed=1),
        lambda: ObjectPipeline.from_pretrained(devise="cpu"),
    ):
        with pytest.raises(TypeError, match="unexpected keyword"):
            call()


def test_type_checkers_know_every_option_of_a_mesh():
    hints, own = get_type_hints(MeshChoices), get_type_hints(MeshOptions)
    assert list(hints) == [entry.name for entry in fields(MeshOptions)]
    assert {name: hint for name, hint in hints.items() if name != "level"} == {
        name: hint for name, hint in own.items() if name in hints and name != "level"
    }
    assert inspect.signature(GeneratedObject.mesh).parameters["choices"].annotation == "Unpack[MeshChoices]"
