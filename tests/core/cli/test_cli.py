"""The command line: help at once, every command on a small snapshot, one line and exit code 2 for bad input."""

import json
import os
import random
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from gp3d_core.cli.arguments import UsageError, parse_seeds
from gp3d_core.cli.main import main
from gp3d_core.cli.models import chosen_models
from gp3d_core.networks.generator import Generator
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.snapshot import save_snapshot
from tests.support.micro import MICRO, micro_config, micro_data, micro_snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """An untrained micro model with some density in the middle, so that it has a surface."""
    return micro_snapshot(tmp_path_factory.mktemp("snapshot"))


def lines(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.strip().splitlines()


def ask_for_help(*options):
    """`gp3d --help` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, *options, "-m", "gp3d_core.cli", "--help"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True)


@pytest.mark.timing
def test_help_answers_in_half_a_second():
    seconds = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        ask_for_help()
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    assert min(seconds) < 0.5  # of processor time, which other work on the machine does not stretch


def test_help_imports_neither_torch_nor_numpy():
    done = ask_for_help("-X", "importtime")
    assert "train" in done.stdout
    assert "torch" not in done.stderr  # -X importtime lists every module that was imported
    assert "numpy" not in done.stderr


@pytest.mark.slow
def test_mesh_writes_coloured_objects_with_recipes(snapshot, tmp_path, capsys):
    out = tmp_path / "meshes"
    code = main(
        (
            f"mesh {snapshot} --class Coffee_Mug --class 947 --seeds 0-1 --grid 24 --out {out} "
            "--texture-size 64 --format obj,glb --device cpu"
        ).split()
    )
    assert code == 0
    written, _ = lines(capsys)
    assert [line.rsplit("/", 1)[1] for line in written] == [
        f"{name}-000{seed}.{suffix}"
        for name in ("coffee_mug", "mushroom")
        for seed in (0, 1)
        for suffix in ("obj", "glb")
    ]
    mesh = trimesh.load(out / "coffee_mug-0000.obj", force="mesh")
    assert len(mesh.faces) > 20
    assert np.abs(mesh.vertices).max() <= 0.55 + 1e-5
    recipe = json.loads((out / "mushroom-0001.recipe.json").read_text())
    assert (recipe["class"]["wnid"], recipe["seed"], recipe["truncation"]) == ("n07734744", 1, 0.7)


def test_a_folder_in_the_way_of_a_mesh_is_named_and_nothing_is_written(snapshot, tmp_path, capsys):
    (tmp_path / "mushroom-0000.obj").mkdir()
    wish = f"mesh {snapshot} --class mushroom --grid 24 --color vertex --out {tmp_path} --device cpu"
    assert main(wish.split()) == 2
    [told] = [line for line in lines(capsys)[1] if line.startswith("gp3d: ")]
    assert told.startswith(f"gp3d: {tmp_path / 'mushroom-0000.obj'} is a folder, and a file needs that name")
    assert [path.name for path in tmp_path.iterdir()] == ["mushroom-0000.obj"]


@pytest.mark.parametrize("formats", ["glb", "obj,ply"])
def test_a_recipe_makes_the_formats_beside_it_again(snapshot, tmp_path, formats):
    first, again = tmp_path / "first", tmp_path / "again"
    wish = f"mesh {snapshot} --class mushroom --grid 24 --color vertex --format {formats} --out {first}"
    assert main([*wish.split(), "--device", "cpu"]) == 0
    recipe = first / "mushroom-0000.recipe.json"
    assert main(["mesh", str(snapshot), "--recipe", str(recipe), "--out", str(again), "--device", "cpu"]) == 0
    names = {path.name for path in first.iterdir()}
    assert {path.name for path in again.iterdir()} == names
    for name in formats.split(","):
        assert f"mushroom-0000.{name}" in names
        assert (first / f"mushroom-0000.{name}").read_bytes() == (
            again / f"mushroom-0000.{name}"
        ).read_bytes()


def test_a_format_named_twice_is_written_and_listed_once(snapshot, tmp_path, capsys):
    wish = f"mesh {snapshot} --class mushroom --grid 24 --color vertex --format ply,PLY --out {tmp_path}"
    assert main([*wish.split(), "--device", "cpu"]) == 0
    assert lines(capsys)[0] == [str(tmp_path / "mushroom-0000.ply")]


def test_a_folder_for_a_recipe_is_told_from_a_missing_one(tmp_path, capsys):
    assert main(["mesh", "--recipe", str(tmp_path)]) == 2
    assert "is a folder; expected the recipe of one mesh" in lines(capsys)[1][-1]


@pytest.mark.slow
def test_same_wish_gives_the_same_file(snapshot, tmp_path):
    for name in "ab":
        arguments = [
            "mesh",
            str(snapshot),
            "--class",
            "mushroom",
            "--seeds",
            "3",
            "--grid",
            "24",
            "--color",
            "vertex",
        ]
        assert main([*arguments, "--out", str(tmp_path / name), "--device", "cpu"]) == 0
    assert (tmp_path / "a/mushroom-0003.obj").read_bytes() == (tmp_path / "b/mushroom-0003.obj").read_bytes()


def sheet(snapshot, path, *arguments):
    """Rows of the tiles [128,128,3] of a sheet that `gp3d render` draws; cut at where tiles must lie."""
    assert main(["render", str(snapshot), *arguments, "--out", str(path), "--device", "cpu"]) == 0
    picture = np.asarray(Image.open(path))
    down, across = (picture.shape[0] - 2) / 148, (picture.shape[1] - 2) // 130
    assert down == int(down)
    return [
        [picture[20 + 148 * r : 148 + 148 * r, 2 + 130 * c : 130 + 130 * c] for c in range(across)]
        for r in range(int(down))
    ]


def test_sheet_has_a_row_for_each_class_and_a_column_for_each_seed(snapshot, tmp_path):
    both = sheet(snapshot, tmp_path / "both.png", "--seeds", "0-2")
    assert [len(row) for row in both] == [3, 3]
    assert len({tile.tobytes() for row in both for tile in row}) == 6
    for row, record in enumerate(read_snapshot_facts(snapshot).classes):
        name = record["name"]
        for seed in range(3):
            [[alone, *_]] = sheet(snapshot, tmp_path / "one.png", "--class", name, "--seeds", str(seed))
            assert np.array_equal(both[row][seed], alone)


def test_sheet_wraps_many_seeds_and_shows_views_and_depth_below_one_another(snapshot, tmp_path):
    rows = sheet(
        snapshot, tmp_path / "many.png", "--class", "mushroom", "--seeds", "0-8", "--resolution", "4"
    )
    assert [len(row) for row in rows] == [8, 8]
    [[ninth, *_]] = sheet(
        snapshot, tmp_path / "last.png", "--class", "mushroom", "--seeds", "8", "--resolution", "4"
    )
    assert np.array_equal(rows[1][0], ninth)
    assert (rows[1][1] == 255).all()
    few = ("--class", "mushroom", "--seeds", "1")
    turned = sheet(snapshot, tmp_path / "views.png", *few, "--views", "3", "--depth")
    [[alone, *_]] = sheet(snapshot, tmp_path / "alone.png", *few)
    assert len(turned) == 4
    assert len({row[0].tobytes() for row in turned}) == 4
    assert np.array_equal(turned[2][0], alone)


def test_run_folder_stands_for_its_newest_snapshot(snapshot, tmp_path):
    run = snapshot.parents[1]
    assert (
        main(["render", str(run), "--seeds", "0", "--out", str(tmp_path / "s.png"), "--device", "cpu"]) == 0
    )


@pytest.mark.parametrize(
    ("nimg", "said"), [(0, "0 of 8,000 images, 0.0%"), (799, "799 of 8,000 images, 10.0%"), (800, "")]
)
def test_a_model_that_is_hardly_trained_is_announced(tmp_path, capsys, nimg, said):
    config = micro_config("training.kimg=8")
    path = tmp_path / "snapshot.safetensors"
    save_snapshot(path, Generator(config, num_classes=0), config, [], nimg)
    (facts,) = chosen_models(path).models
    expected = [f"{path.name} is barely trained: {said} of what was planned"] if said else []
    assert capsys.readouterr() == ("", "".join(f"{line}\n" for line in expected))
    assert facts.nimg == nimg


def test_a_folder_of_runs_names_the_runs_in_it(snapshot, tmp_path, capsys):
    def told():
        assert main(["render", str(tmp_path), "--device", "cpu"]) == 2
        return (
            capsys.readouterr()
            .err.rstrip()
            .removeprefix(f"gp3d: {tmp_path} has no snapshots/snapshot-*.safetensors; ")
        )

    for empty in ("letters", "begun/snapshots", "deep/er/snapshots"):
        (tmp_path / empty).mkdir(parents=True)
    (tmp_path / "deep/er/snapshots/snapshot-000000.00.safetensors").touch()
    assert told() == "train first, or name a snapshot file"
    for number, name in enumerate("abcdef"):
        (tmp_path / name).symlink_to(snapshot.parents[1])
        if number == 0:
            assert told() == f"did you mean {tmp_path}/a?"
    assert told() == f"did you mean {' or '.join(f'{tmp_path}/{name}' for name in 'abcd')} or 2 more?"


def test_seed_means_the_same_noise_in_every_class_and_other_noise_elsewhere(snapshot):
    from gp3d_core.generation.sampling import open_snapshot
    from gp3d_core.networks.latents import style_codes

    model = open_snapshot(snapshot, "cpu")
    codes = [
        style_codes(model.generator, label, 2, seed, 1.0) for label, seed in ((0, 1), (0, 1), (0, 2), (1, 1))
    ]
    assert torch.equal(codes[0], codes[1])
    assert not torch.allclose(codes[0], codes[2])
    assert not torch.allclose(codes[0], codes[3])
    centre = [style_codes(model.generator, 0, 2, seed, 0.0) for seed in (1, 2)]
    assert torch.allclose(*centre, atol=1e-6)


def test_data_check_counts_or_names_the_bad_file(tmp_path, capsys):
    micro_data(tmp_path / "data")
    assert main(["data", "check", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["       4  coffee mug", "       4  mushroom"]
    broken = next((tmp_path / "data").rglob("*_depth.png"))
    broken.write_bytes(broken.read_bytes()[:60])
    assert main(["data", "check", str(tmp_path / "data")]) == 2
    assert broken.name in capsys.readouterr().err


def test_overfit_trains_on_so_many_images(tmp_path):
    micro_data(tmp_path / "data")
    settings = [word for item in (*MICRO, "training.kimg=0.008") for word in ("--set", item)]
    command = [
        "train",
        str(tmp_path / "data"),
        str(tmp_path / "run"),
        *settings,
        "--overfit",
        "2",
        "--device",
        "cpu",
    ]
    assert main(command) == 0
    assert main([*command[:-4], "--overfit", "99", "--device", "cpu"]) == 2


@pytest.mark.slow
def test_time_budget_counts_over_resumes(tmp_path):
    micro_data(tmp_path / "data")
    settings = [word for item in (*MICRO, "training.kimg=1000") for word in ("--set", item)]
    command = ["train", str(tmp_path / "data"), str(tmp_path / "run"), *settings, "--device", "cpu"]
    assert main([*command, "--max-minutes", "0.02"]) == 0
    first = json.loads((tmp_path / "run/status.json").read_text())
    assert main([*command, "--max-minutes", "0.02"]) == 0
    second = json.loads((tmp_path / "run/status.json").read_text())
    assert first["nimg"] > 0
    assert second["nimg"] == first["nimg"]


def test_seeds_read_as_people_write_them():
    assert parse_seeds("0-3, 9") == [0, 1, 2, 3, 9]


def test_seeds_are_read_in_their_order_however_they_are_written():
    for dice in map(random.Random, range(200)):
        expected, parts = [], []
        for _ in range(dice.randrange(1, 6)):
            first, count = dice.randrange(10 ** dice.randrange(1, 18)), dice.randrange(1, 5)
            expected += range(first, first + count)
            gap = dice.choice(["", " "])
            parts.append(f"{gap}{first}{gap}-{gap}{first + count - 1}" if count > 1 else f"{first}{gap}")
        assert parse_seeds(",".join(parts)) == list(dict.fromkeys(expected))


def test_a_seed_named_twice_counts_once():
    assert parse_seeds("7,0-2,1,7") == [7, 0, 1, 2]


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-2", "0-99999999", "1;2", "9" * 30])
def test_bad_seeds_are_refused(text):
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mesh", "{s}", "--class", "sofa"], "knows no 'sofa'; it knows"),
        (
            ["mesh", "{s}", "--class", "teapot"],
            r"does not know 'teapot' \(ImageNet 849\); nearest in kind: 'coffee mug'",
        ),
        (["mesh", "{s}", "--class", "coffee mug,sofa"], "knows no 'sofa'"),
        (["mesh", "{s}", "--seeds", "x"], "--seeds expects"),
        (["mesh", "{s}", "--level", "-3"], "--level: expects auto, a density above 0"),
        (["mesh", "{s}", "--level", "1e9", "--class", "mushroom", "--grid", "16"], "no surface at level"),
        (["mesh", "{s}", "--format", "fbx"], "--format fbx: expected obj, glb, ply, npz, stl, 3mf, usdz"),
        (["mesh", "{s}", "--grid", "1"], "--grid: expects a whole number from 8"),
        (["mesh", "{s}", "--faces", "2"], "--faces: expects"),
        (["mesh", "{s}", "--texture-size", "0"], "--texture-size: expects"),
        (["mesh", "{s}", "--truncation", "nan"], "--truncation: expects"),
        (["render", "{s}", "--resolution", "1", "--out", "{t}/x.png"], "--resolution: expects"),
        (["mesh", "{t}/none.safetensors"], "no snapshot at"),
        (["mesh", "{t}"], "has no snapshots"),
        (["mesh", "{s}", "--out", "{f}", "--class", "mushroom", "--grid", "16"], "expected a folder"),
        (["mesh", "{s}", "--out", "{t}/mug.glb", "--class", "mushroom"], "expected a folder"),
        (["render", "{s}", "--out", "{t}/sheet.gif"], "a sheet is a .png"),
        (["mesh", "--recipe", "{t}/file", "--class", "mushroom"], "does not go with --recipe"),
        (["render", "{s}", "--out", "{f}/x.png"], "expected a folder, found a file"),
        (["train", "{t}/none", "{t}/run"], "no data set at"),
        (["train", "{t}/data", "{t}/run", "--preset", "tyni"], "did you mean 'tiny'"),
        (["train", "{t}/data", "{t}/run", "--set", "trainin.batch=2"], "did you mean 'training.batch'"),
        (
            ["train", "{t}/data", "{t}/run"],
            "the configuration expects 64: use --set training.resolution=16",
        ),
        (
            ["train", "{t}/data", "{f}", "--set", "training.resolution=16", "--set", "patch.resolution=8"],
            "not a run folder",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(snapshot, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    micro_data(tmp_path / "data")
    file = tmp_path / "file"
    file.write_text("mine")
    places = {"s": str(snapshot), "t": str(tmp_path), "f": str(file)}
    before = sorted(tmp_path.rglob("*"))
    assert main([argument.format(**places) for argument in arguments]) == 2
    _, errors = lines(capsys)
    told = [line for line in errors if line.startswith("gp3d: ")]
    assert len(told) == 1, errors
    assert re.search(message.format(f=re.escape(str(file))), told[0]), told[0]
    assert "Traceback" not in "\n".join(errors)
    assert sorted(tmp_path.rglob("*")) == before


def test_cuda_where_there_is_none_names_the_remedy(snapshot, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["mesh", str(snapshot), "--device", "cuda"]) == 2
    assert "use --device cpu" in capsys.readouterr().err
