"""`gp3d vq3d …` from end to end on a model of two steps, with odd pictures, and one clear line for each wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.hashing import digest
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.snapshots.run_folder import newest_snapshot
from gp3d_core.vq3d.evaluation import ablation
from gp3d_core.vq3d.scenes.figures import side_by_side
from gp3d_core.vq3d.scenes.scenefile import load_scene
from gp3d_core.vq3d.scenes.segmentation import subject_depth
from tests.core.vq3d.test_prior import MICRO

SETTINGS = [
    *MICRO,
    "training.batch=4",
    "training.kimg=0.008",
    "training.snapshot_kimg=0.008",
    "training.checkpoint_kimg=0.008",
    "training.critic_from=0",
    "training.novel_from=0",
    "critic.channel_base=64",
    "critic.channel_max=8",
]


def settings(*more):
    return [part for assignment in (*SETTINGS, *more) for part in ("--set", assignment)]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A folder with toys, a tokenizer's run, a prior's run and two scenes."""
    folder = tmp_path_factory.mktemp("vq3d")
    toys = ["vq3d", "toys", str(folder / "toys"), "--count", "6", "--views", "2", "--resolution", "16"]
    assert main(toys) == 0
    assert main(["vq3d", "train", str(folder / "toys"), str(folder / "run"), *settings()]) == 0
    prior = ["vq3d", "train-prior", str(folder / "run"), str(folder / "toys"), str(folder / "prior")]
    assert main(prior) == 0
    pictures = [str(path) for path in sorted((folder / "toys").glob("*/*_000.png"))[:2]]
    made = ["vq3d", "reconstruct", str(folder / "run"), *pictures, "--out", str(folder / "scenes")]
    assert main([*made, "--resolution", "16"]) == 0
    scenes = sorted((folder / "scenes").glob("*.safetensors"))
    scenes[0].rename(folder / "a.safetensors")
    scenes[1].rename(folder / "b.safetensors")
    return folder


def run(*arguments):
    return main(["vq3d", *map(str, arguments)])


def refused(capsys, *arguments) -> str:
    """The one line that a refused command says."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out = capsys.readouterr()
    lines = [line for line in out.err.splitlines() if line.startswith("gp3d: ")]
    assert not out.out
    assert len(lines) == 1
    assert "Traceback" not in out.err
    return lines[0]


def odd_pictures(folder: Path) -> list[Path]:
    """Pictures of many sizes, modes and formats."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (50, 31, 3), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    folder.mkdir()
    colour.save(folder / "plain.jpg", exif=turned)
    colour.convert("CMYK").save(folder / "print.jpg")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "plain.gif")
    colour.convert("RGBA").save(folder / "glass.webp")
    colour.convert("1").save(folder / "fax.tif")
    Image.fromarray(rng.integers(0, 65536, (9, 200), np.uint16)).save(folder / "deep.png")
    colour.resize((2, 1)).save(folder / "speck.bmp")
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_pictures_of_any_size_and_mode_become_scenes(session, tmp_path, capsys):
    pictures = odd_pictures(tmp_path / "odd")
    out = tmp_path / "scenes"
    assert run("reconstruct", session / "run", *pictures, "--out", out, "--resolution", 16) == 0
    stems = {"deep", "fax", "glass", "grey", "plain", "plain-2", "print", "speck"}
    assert {path.stem for path in out.glob("*.safetensors")} == stems
    scene = load_scene(out / "plain.safetensors")
    assert scene.source == "plain.gif"
    assert scene.parts[0].codes.shape == (16,)
    assert scene.pivot == pytest.approx(subject_depth(scene.view().disparity[0]))
    assert scene.pivot != 1.0
    assert scene.parts[0].tokenizer == digest(newest_snapshot(session / "run"))
    assert Image.open(out / "scenes.png").width > 8 * 100
    assert len(capsys.readouterr().out.split()) == 9


def test_pictures_that_cannot_be_used_are_named(session, tmp_path, capsys):
    (tmp_path / "letter.png").write_text("Dear sir")
    Image.new("RGB", (40, 40)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:200])
    for name, why in (
        ("letter.png", "no picture"),
        ("cut.jpg", "cannot be decoded"),
        ("none.png", "No such"),
    ):
        line = refused(
            capsys,
            "reconstruct",
            session / "run",
            tmp_path / name,
            "--out",
            tmp_path / "out",
            "--resolution",
            16,
        )
        assert name in line
        assert why in line
    assert not (tmp_path / "out").exists()


def test_pictures_that_cannot_be_used_are_left_out_and_listed(session, tmp_path, capsys):
    good = sorted((session / "toys").glob("*/*_000.png"))[0]
    (tmp_path / "letter.txt").write_text("Dear sir")
    pictures = (tmp_path / "letter.txt", good, tmp_path / "none.png")
    out = ("--out", tmp_path / "out", "--resolution", 16)
    assert run("reconstruct", session / "run", *pictures, *out) == 2
    said = capsys.readouterr()
    assert said.out.split() == [
        str(tmp_path / "out" / name) for name in (f"{good.stem}.safetensors", "scenes.png")
    ]
    assert "2 of 3 pictures refused:\n" in said.err
    for name, why in (("letter.txt", "no picture"), ("none.png", "No such file")):
        assert any(name in line and why in line for line in said.err.splitlines())
    assert "lump" not in said.err
    nothing = refused(capsys, "reconstruct", session / "run", *pictures[::2], "--out", tmp_path / "other")
    assert "none of 2 pictures can be used" in nothing
    assert not (tmp_path / "other").exists()


def test_the_pretrained_model_says_what_it_knows(session, tmp_path, capsys):
    picture = next((session / "toys").glob("*/*_000.png"))
    assert run("reconstruct", "box", picture, "--out", tmp_path / "out", "--resolution", 8) == 0
    assert (
        "knows 48 kinds of rendered objects in plain rooms; a photograph of anything else"
        in capsys.readouterr().err
    )


def test_the_same_seed_samples_the_same_scene(session, tmp_path):
    common = ("--class", "red ball", "--resolution", 16, "--top-k", 5)
    assert run("sample", session / "prior", *common, "--seeds", "3-4", "--out", tmp_path / "one") == 0
    assert run("sample", session / "prior", *common, "--seed", 4, "--out", tmp_path / "two") == 0
    one, two = (load_scene(tmp_path / name / "red_ball-0004.safetensors") for name in ("one", "two"))
    assert torch.equal(one.parts[0].codes, two.parts[0].codes)
    assert one.source == "red ball, seed 4"
    other = load_scene(tmp_path / "one" / "red_ball-0003.safetensors")
    assert not torch.equal(one.parts[0].codes, other.parts[0].codes)


def test_scenes_turn_and_blend_on_film(session, tmp_path):
    a, b = session / "a.safetensors", session / "b.safetensors"
    assert run("orbit", a, "--out", tmp_path / "o.gif", "--frames", 3, "--resolution", 16) == 0
    film = Image.open(tmp_path / "o.gif")
    assert (film.size, film.n_frames) == ((32, 16), 3)
    assert run("orbit", a, "--out", tmp_path / "o.png", "--yaw", -7, "--resolution", 16) == 0
    assert run("interpolate", a, b, "--out", tmp_path / "i.gif", "--frames", 3, "--resolution", 16) == 0
    assert Image.open(tmp_path / "i.gif").n_frames == 3
    assert run("interpolate", a, b, "--out", tmp_path / "i.safetensors", "--at", 0, "--resolution", 16) == 0
    same = load_scene(tmp_path / "i.safetensors").parts[0].planes
    assert torch.equal(same, load_scene(a).parts[0].planes)


def test_one_view_is_the_input_cameras_unless_it_is_turned(session, tmp_path):
    a, scene = session / "a.safetensors", load_scene(session / "a.safetensors")
    for name, turns, angles in (("s", (), (0, 0)), ("t", ("--yaw", -7, "--pitch", 3), (-7, 3))):
        assert run("orbit", a, "--out", tmp_path / f"{name}.png", *turns, "--resolution", 16) == 0
        drawn = np.asarray(Image.open(tmp_path / f"{name}.png"))
        np.testing.assert_array_equal(drawn, side_by_side(scene, *angles, resolution=16))


def test_no_command_replaces_what_it_reads_or_what_another_made(session, tmp_path, capsys):
    a, b, whole = session / "a.safetensors", session / "b.safetensors", ("--region", "0,0,1,1")
    small = ("--resolution", 16)
    assert run("interpolate", a, b, "--out", tmp_path / "x.png", "--frames", 3, *small) == 0
    film_strip = (tmp_path / "x.png").read_bytes()
    assert run("interpolate", a, b, "--out", tmp_path / "x.safetensors", *small) == 0
    assert run("remove", a, *whole, "--out", tmp_path / "x.safetensors", *small) == 0
    assert (tmp_path / "x.png").read_bytes() == film_strip
    assert (tmp_path / "x.view.png").is_file()
    texture = ("mesh", a, "--out", tmp_path / "x.obj", "--grid", 12)
    assert "is no part of x.obj" in refused(capsys, *texture)
    odd = tmp_path / "b.view.png"
    Image.new("L", (16, 16), 255).save(odd)
    mine = session / "toys" / "scenes.png"
    for words in (
        ("remove", a, *whole, "--out", a),
        ("move", a, *whole, "--yaw", 5, "--out", session / "toys" / ".." / "a.safetensors"),
        ("insert", a, b, *whole, "--out", b),
        ("remove", a, "--mask", odd, "--out", tmp_path / "b.safetensors"),
        ("interpolate", a, b, "--out", b),
        ("reconstruct", session / "run", mine, "--out", mine.parent),
    ):
        assert "which is an input; give another name" in refused(capsys, *words), words
    assert "x.png is there" in refused(capsys, *texture)


def test_things_are_inserted_removed_and_moved(session, tmp_path):
    a, b = session / "a.safetensors", session / "b.safetensors"
    where = ("--resolution", 16, "--region", "0.1,0.2,0.9,0.9")
    goes = ("--shift", "0.1,0,0.1", "--scale", 0.5, "--yaw", 30)
    assert run("insert", a, b, *where, *goes, "--out", tmp_path / "i.safetensors") == 0
    assert run("remove", a, *where, "--out", tmp_path / "r.safetensors") == 0
    assert run("move", tmp_path / "i.safetensors", *where, *goes, "--out", tmp_path / "m.safetensors") == 0
    assert [len(load_scene(tmp_path / f"{k}.safetensors").parts) for k in "irm"] == [2, 1, 4]
    assert (tmp_path / "m.view.png").is_file()


def test_what_reaches_out_of_the_picture_is_said(session, tmp_path, capsys):
    scene, where = session / "a.safetensors", ("--region", "0.1,0.2,0.9,0.9", "--resolution", 16)
    for number, (goes, said) in enumerate([("9,0,0", True), ("0,0,0", False)]):
        out = tmp_path / f"{number}.safetensors"
        assert run("insert", scene, scene, *where, "--shift", goes, "--out", out) == 0
        assert (
            "100 % of it reaches out of the picture: a smaller --scale" in capsys.readouterr().err
        ) == said


def test_numbers_may_be_negative(session, tmp_path, capsys):
    corners = ("--box", "-0.5,-1e-1,-.5,0.5,0.5,0.5", "--resolution", 16)
    goes = ("--shift", "-0.3,0,0", "--yaw", -5)
    assert run("move", session / "a.safetensors", *corners, *goes, "--out", tmp_path / "m.safetensors") == 0
    removed, _, place = (step for part in load_scene(tmp_path / "m.safetensors").parts for step in part.steps)
    assert removed.region.low == (-0.5, -0.1, -0.5)
    assert place.yaw == -5
    assert "expects 3 numbers" in refused(
        capsys, "move", "a", *corners, "--out", "x.safetensors", "--shift", "-1,2"
    )


def test_how_much_was_chosen_is_said(session, tmp_path, capsys):
    def said(*choice):
        capsys.readouterr()
        out = tmp_path / "r.safetensors"
        assert run("remove", session / "a.safetensors", *choice, "--resolution", 16, "--out", out) == 0
        return capsys.readouterr().err

    masks = {}
    for name, height in (("some", 4), ("all", 16)):
        picture = np.zeros((16, 16), np.uint8)
        picture[:height] = 255
        masks[name] = tmp_path / f"{name}.png"
        Image.fromarray(picture).save(masks[name])
    assert "chosen: 25.0 % of the picture\n" in said("--mask", masks["some"])
    assert "chosen: 100.0 % of the picture; is that one object?" in said("--mask", masks["all"])
    assert "chosen: 0.0 % of the picture; is that all of it?" in said("--box", "8,8,8,9,9,9")


def test_scenes_become_meshes(session, tmp_path, capsys):
    out = tmp_path / "mesh.obj"
    assert run("mesh", session / "a.safetensors", "--out", out, "--grid", 12, "--texture-size", 32) == 0
    mesh = load_mesh(out)
    sides = " × ".join(f"{side:.2f}" for side in np.ptp(mesh.vertices, axis=0))
    told = capsys.readouterr().err
    assert f"{len(mesh.faces)} faces, without" in told
    assert f"of the surface), {sides} units\n" in told
    assert len(mesh.faces) > 10
    assert mesh.vertices[:, 2].max() < 0.61  # the near plane
    assert mesh.vertices[:, 2].min() > -7.01  # the far plane


def test_evaluation_writes_a_report_and_goes_on(session, tmp_path, capsys):
    command = ("evaluate", session / "run", session / "toys", "--out", tmp_path, "--prior", session / "prior")
    assert run(*command, "--images", 6) == 0
    first = capsys.readouterr().out
    scores = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    values = {score["metric"]: score["value"] for score in scores}
    assert {"vq3d/psnr", "vq3d/depth_correlation", "vq3d/ray_spread", "vq3d/code_usage"} < set(values)
    assert values["vq3d/copied_psnr"] > 10
    assert {"vq3d/novel_psnr", "vq3d/nll", "vq3d/unigram_entropy"} < set(values)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert run(*command, "--images", 6) == 0
    assert capsys.readouterr().out == first
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert "gp3d evaluate" not in refused(capsys, *command, "--images", 3)


@pytest.mark.slow
def test_depth_losses_are_compared(session, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ablation, "_SHOWN", 16)
    monkeypatch.setattr(ablation, "_FRAMES", 3)
    command = ["ablate-depth", session / "toys", tmp_path / "out", "--modes", "point,none", *settings()]
    assert run(*command) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in table] == ["depth loss", "---", "point", "none"]
    assert "ray spread" in table[0]
    assert Image.open(tmp_path / "out" / "ablation.gif").n_frames > 1


def test_wrong_requests_are_refused_in_one_line(session, tmp_path, capsys):
    a, run_folder, prior = session / "a.safetensors", session / "run", session / "prior"
    snapshot = next((run_folder / "snapshots").iterdir())
    out = tmp_path / "out.safetensors"
    Image.new("L", (16, 16)).save(tmp_path / "black.png")
    cases = [
        (("sample", prior, "--class", "goldfish"), "does not know"),
        (("sample", prior, "--top-p", 0), "--top-p"),
        (("sample", snapshot), "this is a VQ3D tokenizer, and a prior of VQ3D is needed"),
        (("sample", prior, "--tokenizer", prior), "expected gp3d-vq3d version 1"),
        (("orbit", snapshot, "--out", tmp_path / "o.gif"), "expected gp3d-vq3d-scene"),
        (("orbit", a, "--out", tmp_path / "o.avi"), ".gif or .mp4"),
        (("orbit", a, "--out", tmp_path), "found a folder"),
        (("reconstruct", tmp_path / "none", tmp_path / "black.png"), "no tokenizer at"),
        (("sample", prior, "--cfg", 2), "name one with --class"),
        (("remove", a, "--mask", tmp_path / "black.png", "--out", out), "mask is empty"),
        (("remove", a, "--region", "0.5,0,0.4,1", "--out", out), "left, top, right, bottom"),
        (("remove", a, "--region", "0,0,1", "--out", out), "expects 4 numbers"),
        (("remove", a, "--region", "0,0,1,1", "--box", "0,0,0,1,1,1", "--out", out), "not allowed with"),
        (("remove", a, "--out", out), "one of the arguments --mask --region --box is required"),
        (("move", a, "--region", "0,0,1,1", "--out", out), "nothing moves"),
        (("remove", a, "--region", "0,0,1,1", "--out", tmp_path / "out.png"), ".safetensors"),
        (("mesh", a, "--out", tmp_path / "mesh.fbx"), "expected a name in .obj, .glb, .ply, .npz, .stl"),
        (("mesh", a, "--out", tmp_path / "mesh.obj", "--level", 1e6, "--grid", 8), "no surface"),
        (("reconstruct", a, tmp_path / "black.png"), "this is a VQ3D scene, and a VQ3D tokenizer is needed"),
        (("reconstruct", run_folder, tmp_path), f"the folder {tmp_path}; e.g. {tmp_path}/*.png"),
        (("train", session / "toys", tmp_path / "r", "--preset", "tiny33"), "did you mean 'tiny32'"),
        (("train", session / "toys", run_folder, *settings("training.lr=0.1")), "training.lr"),
        (("train-prior", run_folder, session / "toys", prior, "--set", "training.lr=1"), "prior."),
        (("ablate-depth", session / "toys", tmp_path / "x", "--modes", "deep"), "--modes deep"),
        (
            ("evaluate", run_folder, session / "toys", "--out", tmp_path / "e", "--features", "vgg"),
            "--features",
        ),
    ]
    for arguments, said in cases:
        assert said in refused(capsys, *arguments), arguments
    assert not out.exists()


def test_a_prior_of_another_tokenizer_is_refused(session, tmp_path, capsys):
    other = tmp_path / "run"
    assert run("train", session / "toys", other, *settings("training.seed=1")) == 0
    assert "predicts the codes" in refused(capsys, "sample", session / "prior", "--tokenizer", other)
    data = (other, session / "toys", session / "prior")
    assert "another run folder" in refused(capsys, "train-prior", *data)
