"""Several pictures of one thing: one scene that shows each better than its own does, and what is between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import ScenePipeline
from gp3d_core.cli.main import main
from gp3d_core.vq3d.pipeline import GeneratedScene
from gp3d_core.vq3d.rendering.views import orbit
from gp3d_core.vq3d.scenes.fusion import FusionError, found_yaw, fuse
from gp3d_core.vq3d.scenes.reconstruction import reconstruct_picture
from gp3d_core.vq3d.scenes.turns import unlikeness
from gp3d_core.vq3d.toyscenes import cast, draw_scene

FOV = 40.0  # degrees


@pytest.fixture(scope="module")
def pipeline():
    torch.set_num_threads(1)
    return ScenePipeline.from_pretrained(device="cpu")


def psnr(one, other):
    difference = (np.asarray(one, float) - np.asarray(other, float)) / 255
    return -10 * np.log10((difference**2).mean())


@pytest.mark.slow
def test_one_scene_shows_every_picture_better_than_its_own_and_finds_how_far_the_camera_was_turned(
    pipeline, tmp_path, capsys
):
    thing = pipeline.sample("school bus", seed=0)
    pictures, paths = [thing.view(), thing.view(yaw=-20)], [tmp_path / "front.png", tmp_path / "right.png"]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    fused = fuse(pipeline.tokenizer, pictures, ["front.png", "right.png"], None)
    assert fused.yaws == (0.0, pytest.approx(-20, abs=2))
    assert not fused.left_out
    for yaw, picture, alone, together in zip(fused.yaws, pictures, fused.alone, fused.together, strict=True):
        own = pipeline.reconstruct(picture).view()
        assert alone == pytest.approx(psnr(own, picture), abs=0.3)  # of bytes
        shown = GeneratedScene(fused.scene).view(yaw=yaw)
        assert together == pytest.approx(psnr(shown, picture), abs=2)  # bytes alone are 59 dB
        assert together >= alone + 1
    between = psnr(GeneratedScene(fused.scene).view(yaw=-10), thing.view(yaw=-10))
    assert between > psnr(pipeline.reconstruct(pictures[0]).view(yaw=-10), thing.view(yaw=-10)) + 3
    assert tuple(one.yaw for one in fused.scene.inputs) == fused.yaws
    # the command and Python make the same, from files
    out = tmp_path / "out"
    asked = ["--yaws", "auto", "--resolution", "8", "--device", "cpu", "--out", str(out)]
    assert main(["vq3d", "reconstruct", "box", *map(str, paths), *asked]) == 0
    assert f"right.png: yaw {fused.yaws[1]:g}°" in capsys.readouterr().err
    theirs, mine = GeneratedScene.load(out / "front.safetensors", device="cpu"), pipeline.fuse(paths)
    assert torch.equal(theirs.scene.parts[0].planes, mine.scene.parts[0].planes)
    assert theirs.scene.source == "front.png + right.png"
    assert mine.mesh(grid=24, color="vertex").recipe["input_pictures"] == [
        {"pixels": 64, "yaw": 0.0},
        {"pixels": 64, "yaw": fused.yaws[1]},
    ]


def of_toys(index, yaw, resolution, elevation=0.0):
    """Two true views of a toy scene, which the pretrained model knows nothing of, by cameras that look down."""
    scene = draw_scene(np.random.default_rng([8, index]))
    turns = torch.tensor([0.0, yaw], dtype=torch.float64)
    # pitch moves a camera up that looks at the pivot still, and the vertical is the world's
    poses = orbit(turns, torch.full_like(turns, elevation), torch.full_like(turns, scene.pivot))
    return [cast(scene, pose, FOV, resolution)[0] for pose in poses]


@pytest.mark.parametrize(("index", "yaw"), [(0, 10.0), (3, -35.0), (8, 30.0)])
def test_two_views_look_alike_along_the_lines_of_their_own_yaw(index, yaw):
    one, other = (picture / 255 for picture in of_toys(index, yaw, 64))
    found = {tried: unlikeness(one, other, tried, FOV) for tried in (yaw - 15, yaw, yaw + 15, -yaw, 0.0)}
    assert min(found, key=found.get) == yaw
    assert unlikeness(other, one, -yaw, FOV) == pytest.approx(found[yaw])
    assert unlikeness(one, one, 0.0, FOV) < 1e-3


@pytest.mark.parametrize(("index", "yaw", "elevation"), [(0, 20.0, 15.0), (3, -25.0, 25.0), (8, 30.0, 10.0)])
def test_cameras_that_look_down_are_turned_about_the_vertical_of_the_world(index, yaw, elevation):
    one, other = (picture / 255 for picture in of_toys(index, yaw, 64, elevation))
    right = unlikeness(one, other, yaw, FOV, elevation)
    for wrong in (
        (yaw, 0.0),
        (yaw, -elevation),
        (-yaw, elevation),
        (yaw - 15, elevation),
        (yaw, elevation + 20),
    ):
        assert unlikeness(one, other, wrong[0], FOV, wrong[1]) > right
    assert unlikeness(other, one, -yaw, FOV, elevation) == pytest.approx(right)


@pytest.mark.slow
def test_yaws_of_things_that_the_model_does_not_know_are_found(pipeline):
    off = []
    for index, yaw in ((0, 9.5), (3, -38.8), (5, -7.6), (8, 30.4), (11, 26.3), (14, 18.3)):
        pictures = [Image.fromarray(picture) for picture in of_toys(index, yaw, 128)]
        alone = [reconstruct_picture(pipeline.tokenizer, picture, "") for picture in pictures]
        off.append(abs(found_yaw(*alone) - yaw))
    assert max(off) <= 5
    assert np.mean(off) < 2.5


@pytest.mark.slow
def test_the_point_that_cameras_were_turned_about_is_found_and_elevation_is_heeded(pipeline):
    thing, yaw, elevation = pipeline.sample("school bus", seed=0), 25.0, 15.0
    farther = replace(thing.scene, pivot=1.2 * thing.scene.pivot)
    beside = farther.view(yaw, elevation=elevation).rgb[0].permute(1, 2, 0).clamp(0, 1)
    pictures = [thing.view(), Image.fromarray((beside * 255).round().byte().numpy())]
    snapshot, names = pipeline.tokenizer, ["a.png", "b.png"]
    fused = fuse(snapshot, pictures, names, [0, yaw], elevation=elevation)
    assert not fused.left_out
    assert fused.scene.pivot == pytest.approx(farther.pivot, rel=0.05)
    assert [one.elevation for one in fused.scene.inputs] == [0, elevation]
    level = fuse(snapshot, pictures, names, [0, yaw])
    assert sum(fused.together) > sum(level.together) + 1
    with pytest.raises(FusionError, match=r"`elevation`: expected -80 to 80 degrees, found 95"):
        fuse(snapshot, pictures, names, [0, yaw], elevation=95)


@pytest.mark.slow
def test_pictures_that_do_not_fit_are_left_out_and_named(pipeline, tmp_path, capsys):
    thing = pipeline.sample("school bus", seed=0)
    for name, picture in (("front", thing.view()), ("side", thing.view(yaw=-20))):
        picture.save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("front", "side")]
    asked = ["vq3d", "reconstruct", "box", *paths, "--yaws", "0,0", "--resolution", "8", "--device", "cpu"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    assert (
        "1 of 2 pictures refused:\n  side.png left out: no scene shows it as well" in capsys.readouterr().err
    )
    with pytest.warns(UserWarning, match=r"left out: side.png \(yaw 0°\)"):
        mine = pipeline.fuse(paths, yaws=[0, 0])
    kept = GeneratedScene.load(tmp_path / "out" / "front.safetensors", device="cpu").scene
    for scene in (mine.scene, kept):
        assert torch.equal(scene.parts[0].planes, pipeline.reconstruct(paths[0]).scene.parts[0].planes)
        assert (scene.source, len(scene.inputs)) == ("front.png", 1)


def test_yaws_that_are_not_the_pictures_get_a_line(pipeline):
    pictures = [Image.new("RGB", (8, 8))] * 2
    for given, yaws, line in (
        (pictures[:1], None, "two or more pictures of one thing, found 1"),
        (pictures, [0.0], "one for each of 2 pictures, found 1"),
        (pictures, [5.0, 0.0], "expected 0 for the first picture and -180 to 180 for others, found 5,0"),
        (pictures, [0.0, float("nan")], "found 0,nan"),
    ):
        with pytest.raises(FusionError, match=line):
            fuse(pipeline.tokenizer, given, ["a", "b"][: len(given)], yaws)


def test_the_command_says_what_yaws_are(capsys, tmp_path):
    assert main(["vq3d", "reconstruct", "box", "a.png", "--yaws", "left"]) == 2
    assert "expects degrees with commas, or auto, found 'left'" in capsys.readouterr().err
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["vq3d", "reconstruct", "box", "a.png", "--elevation", "10"]) == 2
    assert "--elevation is of pictures of one thing" in capsys.readouterr().err
    asked = ["vq3d", "reconstruct", "box", str(tmp_path / "a.png"), "--yaws", "0,20", "--device", "cpu"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    assert "two or more pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
