"""Snapshots and meshes against a library of models: reading, matching, scores with floors, recognition, copies."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import save_file

from gp3d_core.cli.main import main
from gp3d_core.evaluation import recognition
from gp3d_core.evaluation.recognition import (
    load_recogniser,
    measure_recognition,
    save_recogniser,
    train_recogniser,
)
from gp3d_core.evaluation.report.tables import class_table
from gp3d_core.evaluation.shapes import diversity, objects
from gp3d_core.evaluation.shapes.diversity import mean_pairwise, measure_diversity, nearest_models
from gp3d_core.evaluation.shapes.health import mesh_health
from gp3d_core.evaluation.shapes.library import LibraryError, model_clouds, models_of, read_library
from gp3d_core.evaluation.shapes.meshes import measure_meshes
from gp3d_core.evaluation.shapes.objects import Surfaces, object_clouds, objects_of
from gp3d_core.evaluation.shapes.scores import compare_shapes, measure_shapes, references
from gp3d_core.evaluation.true_views import read_views
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.meshing.mesh import Mesh, MeshError
from gp3d_core.metrics.classifier import vary
from gp3d_core.metrics.pointclouds import chamfer_matrix
from gp3d_core.metrics.pointnet import PointNet
from gp3d_core.metrics.score import Score
from gp3d_core.networks.foreign_weights import WeightsError
from gp3d_core.snapshots.export import badge_of
from gp3d_core.snapshots.snapshot import load_snapshot
from tests.core.cli.test_cli import snapshot  # noqa: F401  (a fixture)
from tests.support.tiny_dataset import CLASSES
from tests.support.truth_dataset import radii, write_models, write_truth

HEALTH = [f"mesh/{name}" for name in ("watertight", "one_piece", "components", "normal_consistency")]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return write_truth(tmp_path_factory.mktemp("views"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "pointnet.safetensors"
    save_file(dict(PointNet(40).state_dict()), path)
    return path


@pytest.fixture
def model(snapshot):  # noqa: F811
    return load_snapshot(snapshot)


def write_ellipsoid(path, axes):
    ball = trimesh.creation.icosphere(subdivisions=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(ball.vertices * axes, ball.faces).export(path)


def test_a_shapenet_library_is_read_turned_and_named(library, tmp_path):
    models = read_library(library)
    assert len(models) == 12
    assert [m.key for m in models] == sorted(m.key for m in models)
    for label, record in enumerate(CLASSES):
        own = models_of(models, record)
        assert len(own) == 6
        np.testing.assert_allclose(own[2].mesh().vertices.max(axis=0), radii(label, 2), atol=1e-3)
    corner = tmp_path / "02747177" / "a" / "models" / "model_normalized.obj"
    corner.parent.mkdir(parents=True)
    corner.write_text("v 1 0 0\nv 0 2 0\nv 0 0 3\nf 1 2 3\n")
    (tmp_path / "taxonomy.json").write_text('[{"synsetId": "02747177", "name": "trash bin"}]')
    [model] = read_library(tmp_path)
    assert model.names == ("n02747177", "trash bin")
    assert model.mesh().vertices.tolist() == [[-1, 0, 0], [0, 2, 0], [0, 0, -3]]
    assert models_of([model], {"name": "bin", "synset": "02747177"}) == [model]
    assert models_of([model], {"name": "bin", "synset": None}) == []


def test_a_plain_library_takes_one_file_a_stem(tmp_path):
    for name in ("mug/a.obj", "mug/a.ply", "mug/b.glb", "coffee_pot/c.ply"):
        write_ellipsoid(tmp_path / name, np.ones(3))
    models = read_library(tmp_path)
    assert [m.key for m in models] == ["coffee_pot/c.ply", "mug/a.obj", "mug/b.glb"]
    assert models[0].names == ("coffee_pot", "coffee pot")


@pytest.mark.parametrize(
    ("break_it", "message"), [("missing", "no such folder"), ("empty", "no models"), ("json", "JSON")]
)
def test_no_library_is_one_line(tmp_path, break_it, message):
    root = tmp_path / "models"
    if break_it != "missing":
        root.mkdir()
    if break_it == "json":
        (root / "classes.json").write_text("{")
    with pytest.raises(LibraryError, match=message):
        read_library(root)


def test_halves_are_disjoint_and_equal(library):
    models = read_library(library)
    chosen, without = references(CLASSES, models, n=100, seed=3)
    assert without == []
    for reference in chosen.values():
        assert len(reference.models) == len(reference.others) == 3
        assert not {m.key for m in reference.models} & {m.key for m in reference.others}
    assert (
        references(CLASSES, models, n=4, seed=3)[0][0].models
        == references(CLASSES, models, n=4, seed=3)[0][0].models
    )
    stranger = {"label": 2, "name": "tent", "wnid": "n04411264"}
    assert references([*CLASSES, stranger], models, n=100, seed=0)[1] == ["tent"]
    with pytest.raises(LibraryError, match="tent"):
        references([stranger], models, n=100, seed=0)


@pytest.mark.slow
def test_shapes_of_a_snapshot(model, library, weights, tmp_path, monkeypatch):
    scores = measure_shapes(model, library, pointnet=weights, n=8, seed=0, out=tmp_path, grid=24, level=AUTO)
    assert [s.metric for s in scores] == ["fpd", "coverage", "mmd", "1-nna", *HEALTH]
    by_name = {s.metric: s for s in scores}
    assert by_name["mesh/watertight"].value == by_name["mesh/watertight"].facts["floor"] == 1.0
    assert by_name["mesh/components"].facts["per_class"].keys() == {r["name"] for r in CLASSES}
    assert all(s.n == 6 or s.n == 8 for s in scores)
    facts = scores[0].facts
    assert facts["level"] == "auto"
    assert facts["median_level"] > 0
    assert facts["empty"] == 0
    assert scores[0].value > facts["floor"] >= 0

    def never(*_):
        raise AssertionError("everything was there already")

    monkeypatch.setattr(objects, "field_surface", never)
    again = measure_shapes(model, library, pointnet=weights, n=8, seed=0, out=tmp_path, grid=24, level=AUTO)
    assert again == scores


def test_objects_without_a_surface_are_counted_and_count(model, tmp_path):
    object_specs = objects_of(CLASSES[0], 2, seed=1)
    assert [w.seed for w in object_specs] == [10_000, 10_001]
    clouds = object_clouds(model, object_specs, Surfaces(grid=16, level=Level(1e6)), tmp_path)
    assert not clouds.solid.any()
    assert clouds.points.abs().sum() == 0
    assert clouds.levels.tolist() == [1e6, 1e6]
    assert [(h.watertight, h.components) for h in clouds.health] == [(False, 0), (False, 0)]


def test_equal_sets_reach_the_floor_and_points_do_not():
    draws = torch.Generator().manual_seed(0)
    sets = [torch.randn(10, 32, 3, generator=draws) for _ in range(3)]
    coverage, mmd, nna = compare_shapes({"a": tuple(sets)}, None, {})
    assert coverage.facts["floor"] == pytest.approx(coverage.value, abs=0.4)
    assert mmd.value == pytest.approx(mmd.facts["floor"], rel=0.1)
    collapsed = compare_shapes({"a": (torch.zeros(10, 32, 3), *sets[1:])}, None, {})
    assert collapsed[0].value == 0.1
    assert collapsed[1].value > 2 * mmd.value
    assert collapsed[2].value >= nna.value


def test_health_of_known_meshes():
    box = trimesh.creation.box()
    two = trimesh.util.concatenate([box, box.copy().apply_translation([5, 0, 0])])
    open_box = Mesh(box.vertices.astype(np.float32), box.faces[:-1].astype(np.int32))

    def health(shape):
        return mesh_health(Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32)))

    assert (health(box).watertight, health(box).components) == (True, 1)
    assert health(box).smoothness == pytest.approx(6 / 18)  # 6 flat diagonals of 18 edges, 12 right angles
    assert health(two).components == 2
    assert not mesh_health(open_box).watertight
    flipped = box.faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not mesh_health(Mesh(box.vertices.astype(np.float32), flipped.astype(np.int32))).watertight


@pytest.mark.slow
def test_meshes_like_the_library_score_like_it_and_others_do_not(library, weights, tmp_path):
    for label, record in enumerate(CLASSES):
        for k in range(3):
            write_ellipsoid(tmp_path / "good" / record["name"] / f"{k}.ply", radii(label, 2 * k))
            write_ellipsoid(
                tmp_path / "bad" / record["name"] / f"{k}.ply", np.array([0.5, 0.02, 0.1 + 0.1 * k])
            )
    out = tmp_path / "out"
    out.mkdir()
    found = {}
    for kind in ("good", "bad"):
        scores = measure_meshes(tmp_path / kind, library, pointnet=weights, n=8, seed=0, out=out)
        found[kind] = {s.metric: s for s in scores}
        assert len((out / "meshes.jsonl").read_text().splitlines()) == 6
        assert Image.open(out / "meshes.png").height == 2 + 2 * len(CLASSES) * (128 + 2 + 18)
    good, bad = found["good"], found["bad"]
    assert good["mmd"].value < 2 * good["mmd"].facts["floor"] < bad["mmd"].value
    assert bad["1-nna"].value == 1.0 > good["1-nna"].value
    assert good["fpd"].value < bad["fpd"].value
    assert good["mesh/watertight"].value == good["mesh/one_piece"].value == 1.0
    assert good["mesh/normal_consistency"].value == pytest.approx(
        good["mesh/normal_consistency"].facts["floor"], abs=0.02
    )


def test_bad_meshes_are_one_line_that_names_the_file(library, tmp_path):
    folder = tmp_path / "meshes" / "coffee mug"
    for k in range(2):
        write_ellipsoid(folder / f"{k}.ply", np.ones(3))
    (folder / "1.ply").write_text("not a mesh")
    with pytest.raises(MeshError, match=r"1\.ply"):
        measure_meshes(tmp_path / "meshes", library, pointnet=None, n=8, seed=0, out=tmp_path)
    (tmp_path / "meshes" / "coffee mug").rename(tmp_path / "meshes" / "tent")
    with pytest.raises(LibraryError, match="tent has 2 meshes and the library 0"):
        measure_meshes(tmp_path / "meshes", library, pointnet=None, n=8, seed=0, out=tmp_path)
    with pytest.raises(LibraryError, match="no such folder"):
        measure_meshes(tmp_path / "nowhere", library, pointnet=None, n=8, seed=0, out=tmp_path)


def test_a_classifier_learns_colours_and_is_kept(truth, tmp_path):
    views = read_views(truth)
    recogniser = train_recogniser(views, seed=0, steps=25)
    assert min(recogniser.held_out.values()) == 1.0  # red and blue
    assert recogniser.facts["views"] == 24
    assert recogniser.facts["held_out_views"] == 6
    save_recogniser(recogniser, tmp_path / "c.safetensors")
    again = load_recogniser(tmp_path / "c.safetensors")
    assert (again.classes, again.held_out, again.facts) == (
        recogniser.classes,
        recogniser.held_out,
        recogniser.facts,
    )
    images = torch.rand(3, 3, 24, 24)
    torch.testing.assert_close(again.network(images), recogniser.network(images))
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="expected a gp3d-classifier"):
        load_recogniser(tmp_path / "other.safetensors")


def test_training_is_repeatable(truth):
    views = read_views(truth)
    first, second = (train_recogniser(views, seed=1, steps=3).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_varied_pictures_keep_their_size_and_range():
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    draws = torch.Generator().manual_seed(0)
    varied = vary(images, draws)
    assert varied.shape == images.shape
    assert varied.min() >= -1
    assert varied.max() <= 1
    assert not torch.equal(varied, vary(images, draws))


def test_recognition_of_a_snapshot(model, truth, tmp_path, monkeypatch):
    monkeypatch.setattr(recognition, "STEPS", 25)
    [score] = measure_recognition(model, truth, n=4, seed=0, cache=tmp_path)
    assert score.n == 4
    assert 0 <= score.value <= 1
    assert score.facts["floor"] == 1.0
    assert set(score.facts["per_class"]) == {record["name"] for record in CLASSES}
    monkeypatch.setattr(recognition, "train_recogniser", None)  # it is kept
    assert measure_recognition(model, truth, n=4, seed=0, cache=tmp_path) == [score]
    monkeypatch.setattr(recognition, "STEPS", 26)  # it is another one
    with pytest.raises(TypeError):
        measure_recognition(model, truth, n=4, seed=0, cache=tmp_path)


def test_a_classifier_of_another_split_is_another_one(truth, tmp_path, monkeypatch):
    monkeypatch.setattr(recognition, "STEPS", 1)
    views = read_views(truth)
    device = torch.device("cpu")
    recognition.recogniser_for(views, tmp_path, device)
    other = frozenset(f"{key.rsplit('/', 1)[0]}/model00" for key in views.models)
    recognition.recogniser_for(replace(views, held_out=other), tmp_path, device)
    assert len(list(tmp_path.iterdir())) == 2


def test_spread_and_nearest_models(library):
    assert mean_pairwise(torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])) == 2.0
    models = models_of(read_library(library), CLASSES[0])
    copies = torch.stack([models[k].cloud() for k in (4, 1)])
    distances = chamfer_matrix(copies, torch.stack([m.cloud() for m in models]))
    found = nearest_models(objects_of(CLASSES[0], 2, 0), models, distances)
    assert [each.model for each in found] == [models[4], models[1]]
    assert [each.distance for each in found] == [0.0, 0.0]


@pytest.mark.slow
def test_diversity_of_a_snapshot(model, library, truth, tmp_path):
    scores = measure_diversity(model, library, dataset=truth, n=4, seed=0, out=tmp_path, grid=16)
    assert [s.metric for s in scores] == ["diversity", "nearest_training"]
    lines = [json.loads(line) for line in (tmp_path / "nearest.jsonl").read_text().splitlines()]
    assert len(lines) == scores[0].n == 4
    assert (tmp_path / "nearest.png").exists()
    assert all(score.facts["floor"] > 0 for score in scores)


@pytest.mark.slow
def test_diversity_looks_at_so_many_models_and_no_more(model, library, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        diversity, "model_clouds", lambda models: read.append(len(models)) or model_clouds(models)
    )
    for most, count, said in ((5, 5, "at most 5"), (None, 6, "all"), (2, 4, "at most 4")):
        read.clear()
        scores = measure_diversity(
            model, library, dataset=None, n=4, seed=0, out=tmp_path, grid=16, most=most
        )
        assert read == [count, count], "of each class; never less than twice the samples"
        assert scores[1].facts["models_of_a_class"] == said


def test_scores_by_class_are_one_table():
    facts = {"per_class": {"mug": 0.25, "a<b": None}, "floor": 0.1, "floor_per_class": {"mug": 0.5}}
    scores = [
        Score(metric="geometry/flat", value=0.25, n=2, facts=facts),
        Score(metric="mmd", value=0.125, n=2, facts={"per_class": {"mug": 0.125}}),
        Score(metric="nfs", value=3.0, n=2, facts={}),
    ]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", class_table(scores))
    head, mean = ["", "geometry/flat", "mmd"], ["mean", "0.25 (0.1)", "0.125"]
    assert cells == [*head, *mean, "mug", "0.25 (0.5)", "0.125", "a&lt;b", "–", "–"]
    assert class_table(scores[2:]) == ""


@pytest.mark.slow
def test_the_command_measures_classes_and_ship_gives_them_badges(
    snapshot,  # noqa: F811
    library,
    truth,
    weights,
    tmp_path,
    monkeypatch,
    capsys,
):
    monkeypatch.setattr(recognition, "STEPS", 25)
    views = write_truth(tmp_path / "views", resolution=16)
    out = tmp_path / "scores"
    words = ["evaluate", str(snapshot), str(views), "--out", str(out), "--truth", str(library)]
    words += ["--shapes", "4", "--grid", "16", "--cache", str(tmp_path / "cache"), "--device", "cpu"]
    words += ["--truncation", "0.7"]
    surfaces = ["--level", "auto", "--references", "4", "--metrics", "shapes,diversity,geometry,recognition"]
    assert main([*words, *surfaces]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found = {line["metric"]: line for line in lines}
    names = {record["name"] for record in CLASSES}
    measured = (
        "recognition",
        "diversity",
        "nearest_training",
        "coverage",
        "geometry/silhouette_iou",
        *HEALTH,
    )
    for metric in measured:
        assert set(found[metric]["facts"]["per_class"]) == names, metric
        assert set(found[metric]["facts"]["floor_per_class"]) == names, metric
    assert found["recognition"]["facts"]["floor"] == 1.0
    assert found["recognition"]["facts"]["truncation"] == 0.7
    assert [found[m]["facts"]["grid"] for m in ("coverage", "diversity")] == [16, 16]
    assert found["diversity"]["facts"]["models_of_a_class"] == "at most 4"
    assert "nearest" in (out / "report.html").read_text(encoding="utf-8")
    shipped = tmp_path / "shipped.safetensors"
    assert main(["ship", str(snapshot), str(shipped), "--measures", str(out / "metrics.jsonl")]) == 0
    for record in load_snapshot(shipped).classes:
        own = record["measures"]
        value = found["recognition"]["facts"]["per_class"][record["name"]]
        assert own["recognition"] == {"value": round(value, 4), "real": 1.0}
        assert record["badge"] == badge_of(own)
    capsys.readouterr()
    for option, message in (
        (["--level", "0"], "--level: expects auto, a density above 0"),
        (["--grid", "4"], "--grid"),
    ):
        assert main([*words, *option]) == 2
        assert message in capsys.readouterr().err
    strange = json.loads((views / "manifest.json").read_text())
    for facts in strange["models"].values():
        facts["split"] = "train"
    (views / "manifest.json").write_text(json.dumps(strange))
    assert main([*words[:4], str(tmp_path / "none"), "--metrics", "recognition", "--device", "cpu"]) == 2
    assert "0 held-out views of 15; recognition needs" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
