"""The front door for Python gives what the commands write, to the bit, and takes no keyword that there is not."""

from __future__ import annotations

import inspect
import json
import math
import shutil
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
from gp3d_core.generation.recipes import RecipeError, options_of, read_recipe
from gp3d_core.generation.sampling import view
from gp3d_core.hashing import digest
from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import MeshOptions, OptionError
from gp3d_core.networks.generator import Generator
from gp3d_core.pretrained import pretrained_path, shipped_models
from gp3d_core.snapshots.catalogue import catalogue
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.visualization import rgb_to_uint8
from tests.support.micro import micro_config

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
def test_what_notebooks_show_is_a_line(pipeline, mug):
    names = [one.name for one in shipped_models()]
    said = f"model{'s' if len(names) > 1 else ''} {', '.join(names)}"
    assert repr(pipeline) == f"ObjectPipeline({said}, {len(pipeline.classes)} classes)"
    assert repr(mug) == "GeneratedObject(coffee mug, seed 7, truncation 0.7, model box)"
    mesh = mug.mesh(grid=24, faces=300, color="vertex")
    sizes = f"{len(mesh.vertices)} vertices, {len(mesh.faces)} faces, vertex colours"
    assert repr(mesh) == f"ObjectMesh(coffee mug, seed 7, {sizes})"
    assert all(len(repr(part)) < 300 for part in (pipeline.snapshot, mug.generated))


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
    alone = ObjectPipeline.from_pretrained(str(pretrained_path()), device="cpu").classes
    assert alone == pipeline.classes[: len(alone)]
    assert len(pipeline.classes) == len(catalogue().known) >= len(alone) >= 48
    assert "coffee mug" in pipeline.classes


@pytest.mark.slow
def test_wrong_requests_name_what_was_expected(pipeline, mug, tmp_path):
    with pytest.raises(UnknownClassError):
        pipeline.generate("zeppelin")
    with pytest.raises(RequestError, match=f"expected a class, one of {len(pipeline.classes)}"):
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
    with pytest.raises(RequestError, match=r"in \.obj, \.glb, \.ply, \.npz, \.stl, \.3mf, \.usdz for a mesh"):
        mug.mesh(**SMALL, color="none").save(tmp_path / "out" / "mug.fbx")
    assert not list(tmp_path.iterdir())


def test_whole_and_foreign_numbers_make_recipes_that_can_be_read(pipeline, tmp_path):
    made = pipeline.generate("teapot", seed=np.int64(2), truncation=1)
    box = tuple(np.array([-1, -1, -1, 1, 1, 1], np.float32))
    options = {"faces": np.int32(300), "level": Level(10), "crop_depth": np.float32(1), "crop_box": box}
    made.mesh(grid=np.int64(24), color="none", **options).save(tmp_path / "pot.glb")
    recipe = read_recipe(tmp_path / "pot.recipe.json")
    assert [type(recipe[name]) for name in ("seed", "grid", "truncation", "level")] == [
        int,
        int,
        float,
        float,
    ]
    assert (recipe["seed"], recipe["grid"], recipe["truncation"], recipe["level"]) == (2, 24, 1, 10)
    chosen = options_of(recipe)
    assert (chosen.faces, chosen.crop_depth, chosen.crop_box) == (300, 1, box)
    assert made.generated.planes.equal(pipeline.generate("teapot", seed=2, truncation=1.0).generated.planes)
    for wrong in (True, np.bool_(True), 24.5, np.float64(24)):
        with pytest.raises(OptionError, match="`grid`"):
            MeshOptions(grid=wrong)


def test_recipes_name_the_file_that_was_loaded(tmp_path):
    path = tmp_path / "model.safetensors"
    shutil.copyfile(pretrained_path(), path)
    pipeline = ObjectPipeline.from_pretrained(path, device="cpu")
    path.write_text("another one by now")
    made = pipeline.generate("teapot").mesh(grid=16, faces=100, color="none")
    assert made.recipe["snapshot_sha256"] == digest(pretrained_path())


def test_recipes_may_say_whole_numbers(tmp_path):
    recipe = {
        "format": "gp3d-recipe",
        "version": 1,
        "class": {},
        "seed": 0,
        "snapshot_sha256": "0",
        "grid": 8,
    }
    path = tmp_path / "a.recipe.json"
    path.write_text(json.dumps(recipe | {"truncation": 1, "level": 10}))
    assert read_recipe(path)["truncation"] == 1
    for wrong in (True, "1", None):
        path.write_text(json.dumps(recipe | {"truncation": wrong, "level": 10}))
        with pytest.raises(RecipeError, match="truncation: expected a number from 0 to 2, found"):
            read_recipe(path)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"seed": -1}, "seed: expected a whole number of at least 0, found -1"),
        ({"seed": 1.0}, "seed: expected a whole number"),
        ({"truncation": float("nan")}, "NaN is not JSON"),
        ({"truncation": 2.5}, "truncation: expected a number from 0 to 2"),
        ({"level": float("nan")}, "NaN is not JSON"),
        ({"level": "10"}, "level: expected a number, found '10'"),
        ({"level": -1}, "density above 0"),
        ({"raw_level": "3"}, "raw_level: expected a number or null"),
        ({"grid": 10**9}, "from 8 to 2048"),
        ({"grid": 10**400}, "401 digits"),
        ({"versions": []}, "versions: expected"),
        ({"snapshot": 5}, "snapshot: expected a text"),
        ({"snapshot_path": "a\0b"}, "snapshot_path: expected a text"),
        ({"snapshot": "\ud800"}, "half of a pair of surrogates"),
        ({"class": "mug"}, "class: expected a record of a class"),
        ({"face_budget": "many"}, "faces"),
    ],
)
def test_recipes_are_doubted_like_commands(tmp_path, change, answer):
    recipe = {
        "format": "gp3d-recipe",
        "version": 1,
        "class": {"name": "object"},
        "seed": 0,
        "truncation": 0.7,
        "level": 10.0,
        "snapshot": "box",
        "snapshot_sha256": digest(pretrained_path()),
        "grid": 8,
    }
    path = tmp_path / "a.recipe.json"
    path.write_text(json.dumps(recipe | change))
    with pytest.raises(RecipeError) as error:
        options_of(read_recipe(path))
    assert answer in str(error.value)


def test_one_class_is_named_by_text_or_index(pipeline):
    mug = pipeline.generate("coffee mug").spec
    assert pipeline.generate(504).spec == pipeline.generate("n03063599").spec == mug
    with pytest.raises(UnknownClassError, match="'coffee mug, teapot' names several things; one class is"):
        pipeline.generate("coffee mug, teapot")
    for seed in (-1, 1.5, "1"):
        with pytest.raises(RequestError, match="`seed`: expected a whole number of at least 0"):
            pipeline.generate("teapot", seed=seed)


def test_models_without_classes_take_none(tmp_path):
    config = micro_config()
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, Generator(config, num_classes=0), config, [], 0)
    pipeline = ObjectPipeline.from_pretrained(path, device="cpu")
    assert pipeline.generate(seed=3).spec.stem == "object-0003"
    with pytest.raises(RequestError, match="was trained without classes; leave `class_name` out"):
        pipeline.generate("teapot")


@pytest.mark.slow
def test_parts_of_an_obj_replace_nothing_of_another_kind(mug, tmp_path):
    picture, path = tmp_path / "mug.png", tmp_path / "mug.obj"
    mug.view(resolution=8).save(picture)
    kept = picture.read_bytes()
    textured, plain = mug.mesh(**SMALL), mug.mesh(**SMALL | {"color": "none"})
    with pytest.raises(RequestError, match=r"mug.png is there, and is no part of mug.obj"):
        textured.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["mug.png"]
    plain.save(path)  # has no picture beside it
    assert picture.read_bytes() == kept
    textured.save(tmp_path / "other.obj")
    textured.save(tmp_path / "other.obj")  # its own parts


def test_films_are_written_where_they_were_asked_for_or_refused(mug, tmp_path, monkeypatch):
    monkeypatch.setattr("gp3d_core.generation.video.generate", None)  # the object is there already
    (tmp_path / "folder.gif").mkdir()
    for name in ("tt", "folder.gif", "film.avi"):
        with pytest.raises(RequestError, match=r"`path` expects a name in .gif or .mp4 for a film"):
            mug.turntable(tmp_path / name, frames=2, resolution=8)
    with pytest.raises(RequestError, match="`frames`"):
        mug.turntable(tmp_path / "film.gif", frames=1)
    with pytest.raises(RequestError, match="`kind` spiral"):
        mug.turntable(tmp_path / "film.gif", kind="spiral")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.gif"]
    loud = mug.turntable(tmp_path / "FILM.GIF", frames=2, resolution=8)
    assert (loud.name, Image.open(loud).n_frames) == ("FILM.GIF", 2)


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


@pytest.mark.slow
def test_textures_have_the_size_that_shows_what_the_planes_hold(pipeline):
    for name in ("coffee mug", "king penguin"):
        obj = pipeline.generate(name, seed=1)
        auto = obj.mesh(faces=6000)
        fitting = 4 * obj.snapshot.config.generator.plane_resolution
        assert (auto.recipe["texture_size"], auto.mesh.texture.shape) == (fitting, (fitting, fitting, 3))
        assert 0.4 < auto.recipe["atlas_use"] < 0.9
        loss = {
            size: _texture_error(pipeline, obj, obj.mesh(faces=6000, texture_size=size).mesh)
            for size in (64, 1024)
        }
        error = _texture_error(pipeline, obj, auto.mesh)
        assert error < 0.5, "less than rounding to bytes may take"
        assert error - loss[1024] < 0.2
        assert loss[64] > 3 * error


def _texture_error(pipeline, obj, mesh):
    """Root of the mean squared difference between the texture and the field, in 1/255, over the faces' centres."""
    at = mesh.vertices[mesh.faces].mean(axis=1)
    field = pipeline.snapshot.generator.field(obj.generated.planes)
    with torch.no_grad():
        colors = (field(torch.from_numpy(at)[None])[0][0].numpy() + 1) * 127.5
    seen = sample_texture(mesh.texture, mesh.uv[mesh.faces].mean(axis=1))
    return float(np.sqrt(((colors.clip(0, 255) - seen) ** 2).mean()))


@pytest.mark.slow
def test_a_recipe_names_the_texture_size_that_was_found(mug):
    made = mug.mesh(grid=24, faces=300)
    options = options_of(made.recipe)
    assert options.texture_size == made.recipe["texture_size"] == len(made.mesh.texture)
    again = mug.mesh(grid=24, faces=300, texture_size=options.texture_size)
    assert np.array_equal(again.mesh.texture, made.mesh.texture)
    assert again.recipe == made.recipe
