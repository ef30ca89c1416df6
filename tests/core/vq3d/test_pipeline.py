"""The front door of scenes gives what the commands of VQ3D write, to the bit."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import ScenePipeline
from gp3d_core.cli.main import main
from gp3d_core.datasets.decoding import PictureError
from gp3d_core.generation.objects import RequestError
from gp3d_core.meshing.options import OptionError, SceneMeshOptions
from gp3d_core.pretrained import vq3d_tokenizer
from gp3d_core.vq3d.config import SamplingError
from gp3d_core.vq3d.pipeline import GeneratedScene, SceneMeshChoices
from gp3d_core.vq3d.scenes.outputs import OutputError

OF_MESH = ["--grid", "20", "--faces", "200", "--texture-size", "32"]
SMALL = {"grid": 20, "faces": 200, "texture_size": 32}


@pytest.fixture(scope="module")
def pipeline():
    torch.set_num_threads(1)
    return ScenePipeline.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def bus(pipeline):
    return pipeline.sample("school bus", seed=3, top_k=50)


def run(*words):
    assert main(["vq3d", *map(str, words), "--device", "cpu"]) == 0


@pytest.mark.slow
def test_samples_films_and_meshes_are_those_of_the_commands(bus, tmp_path):
    asked = ("--class", "school bus", "--seeds", 3, "--top-k", 50, "--resolution", 8)
    run("sample", "box", *asked, "--out", tmp_path)
    theirs = GeneratedScene.load(tmp_path / "school_bus-0003.safetensors", device="cpu")
    assert torch.equal(theirs.scene.parts[0].planes, bus.scene.parts[0].planes)
    assert theirs.scene.pivot == bus.scene.pivot
    assert theirs.scene.source == bus.scene.source
    scene = bus.save(tmp_path / "mine.safetensors")
    run("orbit", scene, "--frames", 3, "--resolution", 16, "--out", tmp_path / "a.gif")
    assert bus.orbit(tmp_path / "b.gif", frames=3, resolution=16) == tmp_path / "b.gif"
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    run("mesh", scene, *OF_MESH, "--out", tmp_path / "a" / "bus.glb")
    assert bus.mesh(**SMALL).save(tmp_path / "b" / "bus.glb") == tmp_path / "b" / "bus.glb"
    assert (tmp_path / "a" / "bus.glb").read_bytes() == (tmp_path / "b" / "bus.glb").read_bytes()


@pytest.mark.slow
def test_pictures_become_the_scenes_of_the_command_from_a_file_or_an_image(pipeline, tmp_path):
    picture, turned = tmp_path / "photo.png", Image.Exif()
    turned[0x0112] = 6
    noise = np.random.default_rng(0).integers(0, 256, (40, 31, 4), np.uint8)
    Image.fromarray(noise, "RGBA").save(picture, exif=turned)
    run("reconstruct", "box", picture, "--resolution", 8, "--out", tmp_path / "out")
    theirs = GeneratedScene.load(tmp_path / "out" / "photo.safetensors", device="cpu").scene.parts[0]
    given = Image.open(picture)
    for mine in (
        pipeline.reconstruct(picture),
        pipeline.reconstruct(str(picture)),
        pipeline.reconstruct(given),
    ):
        assert torch.equal(mine.scene.parts[0].codes.int(), theirs.codes)
        assert torch.equal(mine.scene.parts[0].planes, theirs.planes)
    assert given.mode == "RGBA"
    assert not torch.equal(
        pipeline.reconstruct(picture, fit="letterbox").scene.parts[0].planes, theirs.planes
    )


def test_what_notebooks_show_is_a_line(pipeline, bus):
    classes = len(pipeline.classes)
    assert repr(pipeline) == f"ScenePipeline({pipeline.prior.path}, {classes} classes)"
    assert repr(ScenePipeline(pipeline.tokenizer)) == f"ScenePipeline({vq3d_tokenizer()}, no code prior)"
    assert repr(bus) == f"GeneratedScene({bus.scene.source}, {bus.scene.resolution} px)"
    assert "school bus" in repr(bus)
    mesh = bus.mesh(grid=20, faces=200, color="none")
    sizes = f"{len(mesh.vertices)} vertices, {len(mesh.faces)} faces"
    assert repr(mesh) == f"SceneMesh({bus.scene.source}, {sizes})"


def test_views_are_what_the_scene_shows(bus):
    seen = bus.view(yaw=10, pitch=3, resolution=12)
    assert (seen.mode, seen.size) == ("RGB", (12, 12))
    radiance = bus.scene.view(10, 3, resolution=12).rgb[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(np.asarray(seen) / 255, radiance.clip(0, 1), atol=0.6 / 255)
    assert np.abs(np.asarray(seen, float) - np.asarray(bus.view(resolution=12), float)).mean() > 1


def test_a_tokenizer_alone_reconstructs_but_samples_nothing():
    alone = ScenePipeline.from_pretrained(vq3d_tokenizer(), device="cpu")
    assert alone.prior is None
    assert alone.classes == []
    with pytest.raises(SamplingError, match="is a tokenizer: scenes are sampled with a code prior"):
        alone.sample("school bus")


def test_wrong_requests_name_what_was_expected(pipeline, bus, tmp_path, monkeypatch):
    assert len(pipeline.classes) == 48
    with pytest.raises(SamplingError, match="`top_p` above 0"):
        pipeline.sample("school bus", top_p=0)
    with pytest.raises(RequestError, match="`seed`: expected a whole number of at least 0"):
        pipeline.sample("school bus", seed=-1)
    (tmp_path / "bus.png").write_text("mine")
    with pytest.raises(OutputError, match=r"bus.png is there, and is no part of bus.obj"):
        bus.mesh(grid=16, color="none", faces=100).save(tmp_path / "bus.obj")
    (tmp_path / "bus.png").unlink()
    Image.new("1", (9000, 9000)).save(tmp_path / "large.png")
    with pytest.raises(PictureError, match=r"large.png has 9000x9000 pixels, more than 64 million$"):
        pipeline.reconstruct(tmp_path / "large.png")  # which takes no other limit
    (tmp_path / "large.png").unlink()
    with pytest.raises(OutputError, match=r"in \.gif or \.mp4"):
        bus.orbit(tmp_path / "bus.avi")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if it were not installed
    with pytest.raises(RequestError, match=r"^`path` \.mp4 needs imageio-ffmpeg"):
        bus.orbit(tmp_path / "bus.mp4", frames=2, resolution=8)
    with pytest.raises(OptionError, match="`crop_depth`"):
        bus.mesh(crop_depth=7)
    with pytest.raises(OutputError, match=r"in \.safetensors"):
        bus.save(tmp_path / "bus.png")
    with pytest.raises(OutputError, match=r"in \.obj, \.glb"):
        bus.mesh(grid=16, color="none", faces=100).save(tmp_path / "bus.fbx")
    assert not list(tmp_path.iterdir())
    for call in (
        lambda: bus.mesh(crop_box=None),
        lambda: bus.view(yav=3),
        lambda: pipeline.sample("x", topk=1),
    ):
        with pytest.raises(TypeError, match="unexpected keyword"):
            call()


def test_type_checkers_know_every_option_of_a_mesh():
    hints, own = get_type_hints(SceneMeshChoices), get_type_hints(SceneMeshOptions)
    assert list(hints) == [entry.name for entry in fields(SceneMeshOptions) if entry.init]
    assert all(own[name] == hint for name, hint in hints.items() if name != "level")
