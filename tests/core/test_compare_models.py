"""Snapshots beside each other: what is measured against closed forms, who is compared with whom, what is kept."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from benchmarks import compare_models, model_sheets, sheet_meshes
from benchmarks.comparison import shapes, sheet
from benchmarks.comparison.comparison import Comparison
from benchmarks.comparison.pictures import Seen, frechet, relative
from benchmarks.comparison.recognition import shrunk
from benchmarks.comparison.references import part_of_libraries, read_libraries
from benchmarks.comparison.subjects import ComparisonError, is_animal, kept
from benchmarks.comparison.table import Row, mean_of, write_table
from benchmarks.programs import call
from benchmarks.table7 import toy_weights
from gp3d_core.config.presets import resolve
from gp3d_core.distributed import World
from gp3d_core.evaluation.shapes.library import read_library
from gp3d_core.grounding.ground_truth import load_truth
from gp3d_core.grounding.step import codes_of_models
from gp3d_core.grounding.train import open_task
from gp3d_core.meshing.files.reading import load_mesh
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.pretrained import pretrained_path
from gp3d_core.snapshots.run_folder import RunFolder
from synthetic.layouts.shapenet import Model, ObjectClass, split_of
from tests.support.balls import write_balls
from tests.support.micro import MICRO, finish

RADIUS = 0.2


def cylinder() -> Mesh:
    made = trimesh.creation.cylinder(radius=RADIUS, height=2.0, sections=96)
    return Mesh(np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int32))


def beside(shift: float, count: int = 4000) -> np.ndarray:
    """Points on the side of the same cylinder, moved by `shift` across its axis, far from its ends."""
    random = np.random.default_rng(0)
    angle = (np.arange(count) + 0.5) / count * 2 * math.pi
    along = random.uniform(-0.5, 0.5, count)
    return np.stack([RADIUS * np.cos(angle) + shift, RADIUS * np.sin(angle), along], axis=1)


def share_of_shifted(shift: float, near: float) -> float:
    """The share of the side of a cylinder moved by `shift` that is within `near` of where it was, in closed form."""
    cosines = [
        ((RADIUS + side * near) ** 2 - RADIUS**2 - shift**2) / (2 * RADIUS * shift) for side in (-1, 1)
    ]
    low, high = (math.acos(min(max(c, -1.0), 1.0)) for c in cosines)
    return (low - high) / math.pi


@pytest.mark.parametrize("shift", [0.004, 0.011, 0.02, 0.05, 0.1])
def test_share_near_of_a_shifted_cylinder(shift):
    expected = share_of_shifted(shift, shapes.NEAR)
    assert shapes.share_near(cylinder(), beside(shift)) == pytest.approx(expected, abs=3e-3)
    if shift < shapes.NEAR:
        assert expected == 1.0


def test_nothing_lies_near_where_there_is_no_surface():
    assert shapes.share_near(None, beside(0.0)) == 0.0


def test_gradients_are_relative_to_real_ones_class_by_class_and_together():
    made = {"plain": [0.1, 0.3], "striped": [1.0], "thin": [], "other": [9.0]}
    real = {"plain": [0.1], "striped": [4.0, 6.0], "thin": [1.0], "other": [1.0]}
    total, each = relative(made, real, ["plain", "striped", "thin"])
    assert each == pytest.approx({"plain": 2.0, "striped": 0.2})
    assert total == pytest.approx((0.2 + 1.0) / (0.1 + 5.0))


def test_frechet_distance_is_of_the_classes_asked_for():
    draws = np.random.default_rng(0)
    first, second = (draws.normal(size=(50, 3)).tolist() for _ in range(2))
    one = {"a": Seen(first, [], []), "b": Seen(second, [], [])}
    elsewhere = (np.array(second) + np.array([3.0, 0.0, 4.0])).tolist()
    moved = {"a": Seen(first, [], []), "b": Seen(elsewhere, [], [])}
    assert frechet(one, one, ["a", "b"]) == pytest.approx(0.0, abs=1e-9)
    assert frechet(one, moved, ["a"]) == pytest.approx(0.0, abs=1e-9)
    assert frechet(one, moved, ["b"]) == pytest.approx(25.0)


def test_pictures_shrink_by_means():
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    picture[:, 0, :, ::2] = 200  # columns of pixels in turn
    picture[:, 1, :4] = 100
    small = shrunk(picture, 4)
    assert small.shape == (1, 3, 4, 4)
    assert set(small[0, 0].flatten().tolist()) == {100}
    assert small[0, 1, :, 0].tolist() == [100, 100, 0, 0]


@pytest.mark.parametrize(
    ("record", "animal"),
    [
        ({"name": "king penguin", "wnid": "n02056570"}, True),
        ({"name": "goldfish", "wnid": "n01443537"}, True),
        ({"name": "hotdog", "wnid": "n07697537"}, False),
        ({"name": "teddy", "wnid": "n04399382"}, False),
        ({"name": "horse"}, True),
        ({"name": "lamp"}, False),
        ({"name": "something unheard of"}, False),
    ],
)
def test_animals_are_what_wordnet_calls_so(record, animal):
    assert is_animal(record) is animal


@pytest.mark.parametrize(
    ("name", "thin"),
    [("table lamp", True), ("folding chair", True), ("bucket", True), ("tablet", False), ("vase", False)],
)
def test_which_classes_have_thin_parts(name, thin):
    assert shapes.is_thin(name) is thin


def comparison_of(tmp_path: Path, **classes: list[str]) -> Comparison:
    subjects = [
        SimpleNamespace(name=name, records={c: {"name": c} for c in own}, folder=tmp_path / name)
        for name, own in classes.items()
    ]
    return Comparison(subjects, dict.fromkeys(["horse", "mug", "sheep"]), argparse.Namespace(out=tmp_path))


def test_classes_that_all_know_come_first_and_then_each_one_s_own(tmp_path):
    comparison = comparison_of(tmp_path, old=["mug", "vase"], new=["horse", "mug", "sheep", "vase"])
    assert comparison.scopes() == {
        "shared (1)": {"old": ["mug"], "new": ["mug"]},
        "its own (1 / 3)": {"old": ["mug"], "new": ["horse", "mug", "sheep"]},
    }
    assert comparison.scopes(is_animal) == {
        "shared animals (0)": {"old": [], "new": []},
        "its own animals (0 / 2)": {"old": [], "new": ["horse", "sheep"]},
    }
    alike = comparison_of(tmp_path, old=["mug", "horse"], new=["horse", "mug"])
    assert list(alike.scopes()) == ["shared (2)"]
    with pytest.raises(ComparisonError, match="no snapshot is called 'newest'"):
        comparison.subject("newest")


def test_what_was_found_is_kept_until_settings_differ(tmp_path):
    asked = []

    def measure():
        asked.append(len(asked))
        return {"value": asked[-1]}

    path = tmp_path / "new" / "found.json"
    assert kept(path, {"n": 1, "of": ("a", "b")}, measure) == {"value": 0}
    assert kept(path, {"n": 1, "of": ("a", "b")}, measure) == {"value": 0}
    assert kept(path, {"n": 2, "of": ("a", "b")}, measure) == {"value": 1}
    assert asked == [0, 1]


def test_the_table_has_a_column_for_each_snapshot_and_one_for_real_models(tmp_path):
    rows = [
        Row(
            measure="FPD",
            scope="shared (2)",
            better="lower",
            values={"old": 5.5, "new": None},
            floors={"old": 1, "new": 1},
        ),
        Row(measure="file, MB", scope="all", better="lower", values={"old": 7.9, "new": math.nan}),
    ]
    path = write_table(rows, ["old", "new"], "Head.", tmp_path)
    assert path.read_text() == (
        "Head.\n\n| measure | classes | better | old | new | real models |\n| --- | --- | --- | --- | --- | --- |\n"
        "| FPD | shared (2) | lower | 5.5 | – | 1 |\n| file, MB | all | lower | 7.9 | – | – |\n"
    )
    lines = (tmp_path / "comparison.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["values"] == {"old": 5.5, "new": None}


def test_means_are_of_the_classes_that_were_measured():
    assert mean_of({"a": 1.0, "b": 0.5, "c": 0.0}, ["a", "b", "d"]) == 0.75
    assert mean_of({"a": 1.0}, ["d"]) is None


def write_library(root: Path, *keys: str) -> Path:
    for key in keys or ("12345678/a", "12345678/b"):
        (root / key / "models").mkdir(parents=True)
        (root / key / "models" / "model_normalized.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    facts = {"name": "mug", "wnid": "n12345678", "imagenet_index": None, "synset": "12345678"}
    synset = (keys or ("12345678/a",))[0].partition("/")[0]
    facts |= {"synset": synset, "wnid": f"n{synset}"}
    (root / "classes.json").write_text(json.dumps({synset: facts}))
    (root / "taxonomy.json").write_text(json.dumps([{"synsetId": synset, "name": "mug"}]))
    return root


def test_part_of_a_library_is_a_library_of_these_models(tmp_path):
    library = write_library(tmp_path / "library")
    models = read_library(library)
    part = part_of_libraries([library], models[1:], tmp_path / "part")
    assert [model.key for model in read_library(part)] == ["12345678/b"]
    assert read_library(part)[0].names == models[1].names
    part_of_libraries([library], models, part)
    assert len(read_library(part)) == 2


def test_parts_of_several_libraries_are_one_library(tmp_path):
    libraries = [write_library(tmp_path / "one"), write_library(tmp_path / "two", "87654321/a")]
    models = read_libraries(libraries)
    assert [model.key for model in models] == ["12345678/a", "12345678/b", "87654321/a"]
    part = part_of_libraries(libraries, models[1:], tmp_path / "part")
    assert {model.key: model.names for model in read_library(part)} == {
        "12345678/b": ("n12345678", "mug"),
        "87654321/a": ("n87654321", "mug"),
    }
    assert [entry["synsetId"] for entry in json.loads((part / "taxonomy.json").read_text())] == [
        "12345678",
        "87654321",
    ]
    with pytest.raises(ComparisonError, match="12345678/a is in two of the libraries"):
        read_libraries([libraries[0], write_library(tmp_path / "again", "12345678/a")])


def test_models_kept_for_tests_may_be_the_only_ones(tmp_path):
    keys = [f"12345678/{number:03d}" for number in range(60)]
    library = write_library(tmp_path / "library", *keys)
    expected = [key for key in keys if split_of(key) == "test"]
    assert 0 < len(expected) < 30
    assert [model.key for model in read_libraries([library], "test")] == expected


def test_libraries_of_another_layout_are_refused(tmp_path):
    (tmp_path / "mug").mkdir()
    (tmp_path / "mug" / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(ComparisonError, match=r"a\.obj: expected the layout of ShapeNetCore\.v2"):
        read_libraries([tmp_path])


@pytest.fixture(scope="module")
def learnt_run(tmp_path_factory):
    """A tiny run of grounding with its data, in which every model has points on its surface; its state and truth."""
    folder = tmp_path_factory.mktemp("learnt")
    data = write_balls(folder / "data", points=512)
    more = ("training.kimg=0.03", "training.snapshot_kimg=0.03", "grounding.prior_steps=2")
    mine = [
        setting for setting in MICRO if not setting.startswith(("discriminator", "depth", "loss", "render"))
    ]
    config = resolve(
        "box-64", [*mine, "grounding.points=64", "grounding.rays=16", "grounding.held_out=1", *more]
    )
    truth = load_truth(data, 16)
    run = RunFolder(folder / "run")
    run.claim(config, truth.fingerprint)
    state = finish(open_task(config, truth, run, World()), run)
    return SimpleNamespace(run=folder / "run", data=data, state=state, truth=truth)


def test_known_models_are_what_the_run_has_learnt_of_them(learnt_run):
    learnt = shapes.read_run(learnt_run.run, learnt_run.data)
    state, truth = learnt_run.state, learnt_run.truth
    models = torch.arange(len(truth))
    expected = state.ema.planes(codes_of_models(state, truth, models))
    assert sorted(learnt.latents) == truth.names
    for k, name in enumerate(truth.names):
        torch.testing.assert_close(learnt.planes(name)[0], expected[k], rtol=1e-4, atol=1e-5)
        assert learnt.classes[learnt.labels[name]] == truth.classes[int(truth.labels[k])]["name"]


def test_known_surfaces_are_those_of_thin_classes(learnt_run, tmp_path):
    learnt = shapes.read_run(learnt_run.run, learnt_run.data)
    assert shapes.known_surfaces(learnt, learnt_run.data, [], 2, tmp_path) == {}
    thin = dataclasses.replace(learnt, classes=["vase", "table lamp"])
    with pytest.raises(ComparisonError, match=r"no points on the surface of ball/ball01; .*--run-models"):
        shapes.known_surfaces(thin, learnt_run.data, [], 2, tmp_path)
    for name in ("ball01", "ball03", "ball05"):
        file = learnt_run.data / "points" / "ball" / f"{name}.npz"
        np.savez(file, **dict(np.load(file)), surface_positions=np.full((4, 3), 0.25, np.float16))
    found = shapes.known_surfaces(thin, learnt_run.data, [], 2, tmp_path)
    assert {name: list(own) for name, own in found.items()} == {"table lamp": ["ball/ball01", "ball/ball03"]}
    assert found["table lamp"]["ball/ball01"].tolist() == [[0.25] * 3] * 4


def test_a_run_of_other_data_is_refused(learnt_run, tmp_path):
    other = write_balls(tmp_path / "other", models=4)
    with pytest.raises(ComparisonError, match=r"expected latents of the 4 models of .*, found 6"):
        shapes.read_run(learnt_run.run, other)
    with pytest.raises(ComparisonError, match="has no checkpoints"):
        shapes.read_run(tmp_path, other)


def compare(tmp_path: Path, *more: str) -> int:
    names = [f"{name}={pretrained_path()}" for name in ("old", "new")]
    shared = ["--references", str(tmp_path / "library"), "--out", str(tmp_path / "out"), "--parts", "files"]
    return compare_models.main([*names, *shared, *more])


def test_bad_input_is_said_in_a_line(tmp_path, capsys):
    write_library(tmp_path / "library")
    assert compare(tmp_path, "--classes", "unicorn") == 2
    assert "no snapshot knows the class 'unicorn'" in capsys.readouterr().err
    assert compare(tmp_path, "--parts", "pictures") == 2
    assert "need --weights FILE" in capsys.readouterr().err
    assert compare(tmp_path, "--parts", "shape") == 2
    assert "found 'shape'" in capsys.readouterr().err
    twice = [str(pretrained_path())] * 2 + ["--references", "x", "--out", str(tmp_path), "--parts", "files"]
    assert compare_models.main(twice) == 2
    assert "two snapshots are called model" in capsys.readouterr().err


def test_empty_places_of_a_sheet_stay_white():
    shown = ObjectClass("mug", "mug", None, None)
    mugs = [Model(f"old/mug-{k}.glb", Path(), shown) for k in range(3)]
    old = model_sheets.Column("old", {"mug": {}, "vase": {}}, {"mug": mugs})
    real = model_sheets.Column("real", {"mug": {}}, {"mug": mugs[:1]})
    black = np.zeros((4, 4, 3), np.uint8)
    pictures = {model.key: black for model in mugs}
    rows, drawn, across = model_sheets.blocks([old, real], ["vase", "mug"], pictures, 2, 4)
    assert across == 4
    assert list(rows) == ["mug: old | real", "vase: old | real"]
    dark = [[bool((drawn[model.key] == 0).all()) for model in row] for row in rows.values()]
    assert dark == [[True, True, True, False], [False] * 4]
    assert (drawn[rows["mug: old | real"][3].key] == 255).all()
    assert model_sheets.main(["sheet.gif", "model.safetensors"]) == 2


def test_real_models_of_a_sheet_are_the_first_by_name(tmp_path):
    library = write_library(tmp_path / "library")
    known = {"coffee mug": {"name": "coffee mug", "wnid": "n12345678"}, "vase": {"name": "vase"}}
    column = model_sheets.column_of_library(library, known, 1)
    assert [model.key for model in column.models["coffee mug"]] == ["12345678/a"]
    assert column.models["vase"] == []


def test_the_sheet_of_a_comparison_has_the_middle_of_each_render_in_the_order_of_its_columns():
    def plain(*shades: int) -> torch.Tensor:
        edges = torch.zeros(len(shades), 3, 32, 32, dtype=torch.uint8)
        edges[:, :, 4:28, 4:28] = torch.tensor(shades, dtype=torch.uint8).view(-1, 1, 1, 1)
        return edges

    drawn = sheet.draw({"old": {"mug": plain(50, 100)}, "real": {"mug": plain(150)}})
    places = np.asarray(drawn)[-sheet._SIDE :].reshape(sheet._SIDE, 4, sheet._SIDE, 3).swapaxes(0, 1)
    assert [set(np.unique(place)) for place in places] == [{50}, {100}, {150}, {255}]


@pytest.mark.slow
def test_coarse_meshes_of_a_sheet_are_coloured_and_what_is_there_is_kept(tmp_path):
    arguments = [str(pretrained_path()), str(tmp_path), "--classes", "banana", "--seeds", "3,5"]
    assert sheet_meshes.main(arguments) == 0
    first, second = sorted(tmp_path.iterdir())
    assert [first.name, second.name] == ["banana-0003.glb", "banana-0005.glb"]
    mesh = load_mesh(first)
    assert 1_000 < len(mesh.faces) <= sheet_meshes.COARSE.faces
    red, green, blue = mesh.vertex_colors.mean(0)
    assert red > green > 1.5 * blue
    written, content = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    assert sheet_meshes.main(arguments) == 0
    assert first.stat().st_mtime_ns == written
    assert second.read_bytes() == content


@pytest.mark.blender
@pytest.mark.slow
def test_a_model_beside_its_copy_gets_the_same_and_what_is_kept_is_used_again(tmp_path, capsys):
    library, out = tmp_path / "library", tmp_path / "out"
    call("synthetic.shapes", library, "--classes", "bucket,snail", "--per-class", 4, "--seed", 1)
    copy = shutil.copy2(pretrained_path(), tmp_path / "copy.safetensors")
    names = [f"old={pretrained_path()}", f"new={copy}", "--references", str(library), "--out", str(out)]
    sizes = ["--per-class", "2", "--views", "1", "--samples", "2", "--classes", "bucket,snail"]
    weights, pointnet = toy_weights(tmp_path)
    networks = ["--weights", str(weights), "--pointnet", str(pointnet)]
    arguments = [*names, *sizes, *networks, "--parts", "pictures,shapes,thin,files"]
    assert compare_models.main(arguments) == 0
    rows = [json.loads(line) for line in (out / "comparison.jsonl").read_text().splitlines()]
    assert {row["measure"].split(",")[0] for row in rows} >= {"FPD", "classes", "gradient inside the object"}
    assert all(row["values"]["old"] == row["values"]["new"] for row in rows)
    assert all(math.isfinite(row["values"]["old"]) for row in rows)
    assert {row["scope"] for row in rows} == {"shared (2)", "shared, thin (1)", "all"}
    assert Image.open(out / "pictures.jpg").width > 0
    meshes = {path: path.stat().st_mtime_ns for path in out.rglob("*.glb")}
    assert len(meshes) == 8
    assert compare_models.main(arguments) == 0
    again = [json.loads(line) for line in (out / "comparison.jsonl").read_text().splitlines()]
    assert again == rows
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.glb")} == meshes
    assert compare_models.main([*arguments, "--seed", "1"]) == 2
    assert "was begun with seed 0, asked for is 1" in capsys.readouterr().err
