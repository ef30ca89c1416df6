"""Pictures that scenes keep: along the model's rays, in the file to the bit, on meshes, and gone after an edit."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.datasets.decoding import PictureError
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import SceneMeshOptions
from gp3d_core.meshing.texture.projection import Projection
from gp3d_core.snapshots.metadata import SnapshotError, read_header
from gp3d_core.snapshots.snapshot import load_tensors, save_tensors
from gp3d_core.vq3d.files.metadata import SCENE_FORMAT
from gp3d_core.vq3d.rendering.views import orbit, pixel_rays
from gp3d_core.vq3d.scenes.composition import Box
from gp3d_core.vq3d.scenes.editing import Motion, blend, insert, remove
from gp3d_core.vq3d.scenes.input_views import InputView
from gp3d_core.vq3d.scenes.mesh import mesh_of, recipe_of
from gp3d_core.vq3d.scenes.reconstruction import open_picture
from gp3d_core.vq3d.scenes.scenefile import Scene, load_scene, save_scene
from tests.core.vq3d.test_composition import CAMERA, RED, ball, micro_scene

NOISE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)


@pytest.mark.parametrize(
    ("yaw", "elevation"), [(0.0, 0.0), (35.0, 0.0), (-120.0, 0.0), (35.0, 20.0), (-90.0, -50.0)]
)
def test_a_picture_is_seen_along_the_models_own_rays(yaw, elevation):
    resolution, pivot = 16, 0.7
    photograph = InputView(NOISE, yaw, elevation).photograph(CAMERA, resolution, pivot)
    angles = (torch.tensor([x], dtype=torch.float64) for x in (yaw, 0.0, pivot, 1.0, elevation))
    pose = orbit(*angles)
    origin, directions = pixel_rays(pose, CAMERA.fov, resolution)
    line = (
        np.arange(resolution) + 0.5
    ) / resolution  # centres of the model's pixels, between the picture's edges
    expected = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    blind = Projection(
        photograph.rgb, photograph.camera, 0.1, *(np.zeros((2, 2)) for _ in range(3)), photograph.upright
    )
    for depth in (0.5, 3.0):
        place, ahead = blind.place((origin + depth * directions)[0].numpy())
        np.testing.assert_allclose(place, expected, atol=1e-6)
        np.testing.assert_allclose(ahead, depth, atol=1e-6)


def test_pictures_are_cut_as_the_model_sees_them_and_keep_their_pixels():
    wide = Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 500, 3), np.uint8))
    cut = InputView.of_picture(wide, 64, "crop").rgb
    np.testing.assert_array_equal(cut, np.asarray(wide)[:, 100:400])
    whole = InputView.of_picture(wide, 64, "letterbox").rgb
    assert whole.shape == (
        512,
        512,
        3,
    )  # whole pixels of the model's 64: its bars of 13 rows are 104 of these
    assert (whole[:104] == 255).all()
    assert (whole[512 - 104 :] == 255).all()
    assert whole[104 : 512 - 104].std() > 40
    assert InputView.of_picture(Image.new("RGB", (3000, 2500)), 64, "crop").rgb.shape == (2048, 2048, 3)
    assert InputView.of_picture(Image.new("RGB", (1, 5)), 64, "crop").rgb.shape == (2, 2, 3)


def test_a_scene_file_holds_its_pictures_to_the_bit(tmp_path):
    scene = replace(micro_scene(1), inputs=(InputView(NOISE), InputView(NOISE[::2, ::2], -30.0, 12.0)))
    save_scene(scene, tmp_path / "two.safetensors")
    first, second = load_scene(tmp_path / "two.safetensors").inputs
    np.testing.assert_array_equal(first.rgb, NOISE)
    np.testing.assert_array_equal(second.rgb, NOISE[::2, ::2])
    assert (first.yaw, second.yaw) == (0.0, -30.0)
    assert (first.elevation, second.elevation) == (0.0, 12.0)
    save_scene(micro_scene(1), tmp_path / "none.safetensors")
    assert load_scene(tmp_path / "none.safetensors").inputs == ()
    assert "inputs" not in read_header(tmp_path / "none.safetensors", SCENE_FORMAT)


def test_a_damaged_picture_in_a_scene_gets_a_line(tmp_path):
    path = tmp_path / "scene.safetensors"
    save_scene(replace(micro_scene(1), inputs=(InputView(NOISE),)), path)
    facts, tensors = read_header(path, SCENE_FORMAT), load_tensors(path)
    about = {name: facts[name] for name in ("parts", "camera", "render", "resolution", "pivot", "inputs")}
    save_tensors(path, SCENE_FORMAT, tensors | {"input.0": tensors["input.0"][:40]}, about)
    with pytest.raises(SnapshotError, match=r"scene\.safetensors holds an input picture that .*reconstruct"):
        load_scene(path)
    save_tensors(path, SCENE_FORMAT, tensors | {"input.0": InputView(NOISE[:9]).to_bytes()}, about)
    with pytest.raises(SnapshotError, match="48x9, expected a square"):
        load_scene(path)
    save_tensors(path, SCENE_FORMAT, tensors, about | {"inputs": [{"yaw": "left"}]})
    with pytest.raises(SnapshotError, match="yaw: expected a number"):
        load_scene(path)


def test_what_was_changed_is_no_longer_what_the_picture_shows():
    scene, box = replace(micro_scene(1), inputs=(InputView(NOISE),)), Box((-0.1,) * 3, (0.1,) * 3)
    for changed in (
        remove(scene, box),
        insert(scene, scene, box, Motion()),
        blend(scene, micro_scene(2), 0.5),
    ):
        assert changed.inputs == ()


def test_a_mesh_carries_the_picture_that_its_scene_was_made_of(monkeypatch):
    monkeypatch.setattr(Scene, "field", lambda self: ball((0.0, 0, 0.1), 0.25, RED))
    plain = SceneMeshOptions(grid=48, level=Level(200.0), color="vertex", crop_depth=None)
    bare, told = mesh_of(replace(micro_scene(1), resolution=64), plain)
    assert "input_pictures" not in told
    blue = InputView(np.full((32, 32, 3), [0, 0, 255], np.uint8))
    scene = replace(micro_scene(1), resolution=64, inputs=(blue,))
    mesh, facts = mesh_of(scene, plain)
    np.testing.assert_array_equal(mesh.vertices, bare.vertices)
    assert recipe_of(scene, plain, facts)["input_pictures"] == [{"pixels": 32, "yaw": 0.0}]
    towards = (mesh.vertices - [0, 0, 0.1])[:, 2] / 0.25
    assert np.abs(mesh.vertex_colors[towards > 0.7].astype(int) - [0, 0, 255]).max() <= 1
    np.testing.assert_array_equal(mesh.vertex_colors[towards < -0.7], bare.vertex_colors[towards < -0.7])
    textured, facts = mesh_of(scene, replace(plain, color="texture"))
    shown = (np.abs(textured.texture.astype(int) - [0, 0, 255]) <= 1).all(axis=-1).mean()
    assert 0.2 < shown < 0.6
    assert facts["texture_size"] == len(textured.texture)


def test_a_picture_without_an_end_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(PictureError, match=r"pipe\.png is no ordinary file"):
        open_picture(tmp_path / "pipe.png")
