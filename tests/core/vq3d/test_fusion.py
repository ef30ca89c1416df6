"""Several pictures of one thing: one scene that shows each better than its own does, and what is between them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import ScenePipeline
from gp3d_core.cli.main import main
from gp3d_core.vq3d.pipeline import GeneratedScene
from gp3d_core.vq3d.scenes.fusion import FusionError, fuse


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
    assert fused.yaws == (0.0, -20.0)
    for yaw, picture, alone, together in zip(fused.yaws, pictures, fused.alone, fused.together, strict=True):
        own = pipeline.reconstruct(picture).view()
        assert alone == pytest.approx(psnr(own, picture), abs=0.3)  # of bytes
        shown = GeneratedScene(fused.scene).view(yaw=yaw)
        assert together == pytest.approx(psnr(shown, picture), abs=2)  # bytes alone are 59 dB
        assert together >= alone + 1
    between = psnr(GeneratedScene(fused.scene).view(yaw=-10), thing.view(yaw=-10))
    assert between > psnr(pipeline.reconstruct(pictures[0]).view(yaw=-10), thing.view(yaw=-10)) + 3
    assert [one.yaw for one in fused.scene.inputs] == [0.0, -20.0]
    # the command and Python make the same, from files
    out = tmp_path / "out"
    asked = ["--yaws", "0,-20", "--resolution", "8", "--device", "cpu", "--out", str(out)]
    assert main(["vq3d", "reconstruct", "box", *map(str, paths), *asked]) == 0
    assert "right.png: yaw -20°" in capsys.readouterr().err
    theirs, mine = GeneratedScene.load(out / "front.safetensors", device="cpu"), pipeline.fuse(paths)
    assert torch.equal(theirs.scene.parts[0].planes, mine.scene.parts[0].planes)
    assert theirs.scene.source == "front.png + right.png"
    assert mine.mesh(grid=24, color="vertex").recipe["input_pictures"] == [
        {"pixels": 64, "yaw": 0.0},
        {"pixels": 64, "yaw": -20.0},
    ]


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
    asked = ["vq3d", "reconstruct", "box", str(tmp_path / "a.png"), "--yaws", "0,20", "--device", "cpu"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    assert "two or more pictures" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
