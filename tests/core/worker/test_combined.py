# ruff: noqa: F811
"""Blends, mixes and variations that a client asks a worker for: what it says of them, their pictures and meshes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gp3d_core import pretrained as box
from gp3d_core.cli.main import main
from gp3d_core.datasets.imagenet import choose_classes
from gp3d_core.generation import sampling
from gp3d_core.generation.combinations import blend, mix, variation
from gp3d_core.generation.objects import ObjectSpec, object_specs
from gp3d_core.pretrained import shipped_models
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.visualization import rgb_to_uint8
from gp3d_core.worker.job_queue import Job
from gp3d_core.worker.model_set import ModelSet
from gp3d_core.worker.object_requests import said
from gp3d_core.worker.protocol import Problem, read_request
from gp3d_core.worker.server import Worker
from tests.support.serving import desk_and_events, shared, snapshot  # noqa: F401
from tests.support.shipped import write_models

MUG, CAP = {"class": "coffee mug", "seed": 3}, {"class": "mushroom", "seed": 8}


@pytest.mark.slow
def test_previews_show_what_was_combined_and_say_how(shared, snapshot, tmp_path):
    wanted = [
        MUG,
        {"blend": [MUG, CAP], "at": 0.25},
        {"mix": [MUG, CAP]},
        {"vary": CAP, "number": 2, "strength": 0.5},
    ]
    name = shared.send("preview", objects=wanted, yaws=[0.0, 0.5], resolution=16, dir=str(tmp_path))
    assert shared.final(name)["event"] == "result"
    events = shared.of(name, "preview")
    model = sampling.open_snapshot(snapshot, "cpu")
    (mug,), (cap,) = object_specs(model, ["coffee mug"], [3]), object_specs(model, ["mushroom"], [8])
    specs = [mug, blend(mug, cap, 0.25), mix(mug, cap), variation(cap, 2)]
    assert len(events) == 8
    for number, event in enumerate(events):
        spec, yaw = specs[number // 2], [0.0, 0.5][number % 2]
        made = sampling.generate(model, spec)
        assert (event["index"], event["yaw"], event["object"]) == (number, yaw, said(made.spec))
        assert event["cached"] == bool(number % 2)
        with Image.open(event["path"]) as image:
            seen = rgb_to_uint8(sampling.view(model, made, yaw, 16).rgb)[0]
            np.testing.assert_array_equal(np.asarray(image), seen)
    again = shared.send("preview", objects=[events[2]["object"]], resolution=16, dir=str(tmp_path / "again"))
    assert shared.final(again)["event"] == "result"
    (event,) = shared.of(again, "preview")
    assert event["cached"]
    assert event["object"] == events[2]["object"]
    assert Path(event["path"]).read_bytes() == Path(events[2]["path"]).read_bytes()


@pytest.mark.slow
def test_a_combined_mesh_is_that_of_the_command_line(shared, snapshot, tmp_path):
    options = {"grid": 16, "faces": 200, "color": "vertex", "formats": ["npz", "ply"]}
    result = shared.ask(
        "mesh", object={"blend": [MUG, CAP], "at": 0.3}, dir=str(tmp_path / "worker"), **options
    )
    command = [
        "mesh",
        str(snapshot),
        "--class",
        "coffee mug",
        "--seeds",
        "3",
        "--blend",
        "mushroom:8",
        "--at",
        "0.3",
    ]
    flags = ["--grid", "16", "--faces", "200", "--color", "vertex", "--format", "npz,ply", "--device", "cpu"]
    assert main([*command, *flags, "--out", str(tmp_path / "command")]) == 0
    for path in map(Path, result["files"].values()):
        assert path.read_bytes() == (tmp_path / "command" / path.name).read_bytes()
    assert json.loads(Path(result["recipe_path"]).read_text())["version"] == 2
    assert (result["recipe"]["version"], result["recipe"]["seed"]) == (2, 3)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"seeds": [1], "objects": [MUG]}, "objects: expected no class and no seeds beside it"),
        ({"class": "mug", "objects": [MUG]}, "objects: expected no class and no seeds beside it"),
        ({}, "the field seeds is missing"),
        ({"objects": []}, "objects: expected a list of 1 to 64 entries"),
        ({"objects": [{"seed": -1}]}, "objects: expected a seed, a whole number of at least 0"),
        ({"objects": [{"blend": [MUG], "at": 0.5}]}, "objects: expected two objects to blend"),
        ({"objects": [{"blend": [MUG, CAP], "at": 2}]}, "objects: expected a number from 0 to 1 as at"),
        (
            {"objects": [{"mix": [MUG, {"mix": [MUG, CAP]}]}]},
            "objects: expected an object with class, seed and",
        ),
        (
            {"objects": [{"vary": MUG, "number": 1.5}]},
            "objects: expected a whole number of at least 0 as number",
        ),
        (
            {"objects": [{"parents": [{**MUG, "early": 1, "late": 0.5}]}]},
            "objects: expected parents whose early",
        ),
        ({"objects": [{"parents": [{**MUG, "early": 1}]}]}, "objects: expected shares from 0 to 1"),
        (
            {"objects": [{**MUG, "color": "red"}]},
            "objects: expected an object with class, seed and nothing else",
        ),
        ({"seeds": [1], "yaws": [4.0]}, "yaws: expected a number from -3.14"),
    ],
)
def test_requests_are_doubted(fields, answer):
    with pytest.raises(Problem) as caught:
        read_request(json.dumps({"id": "1", "op": "preview", "dir": "/here", **fields}).encode())
    assert caught.value.code == "E_PROTOCOL"
    assert str(caught.value).startswith(answer)


def test_objects_of_two_models_are_refused_and_of_one_are_made_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(box, "FOLDER", tmp_path.resolve() / "installed")
    write_models(box.FOLDER)
    horse = {"class": "horse", "seed": 2}
    with desk_and_events() as (queue, events):
        worker = Worker(queue, "cpu", 2**20, ModelSet(None, "cpu", 2**20, lambda: None))
        for number, pair in enumerate(([MUG, horse], [CAP, horse], [{"class": "unicorn", "seed": 1}, CAP])):
            fields = {"objects": [{"mix": pair}], "resolution": 16, "dir": str(tmp_path / "p")}
            line = json.dumps({"id": str(number), "op": "preview", **fields}).encode()
            queue.accept(Job(read_request(line), str(number)))
            worker.run(queue.take(0))
    refused, made, unknown = (event for event in events if event["event"] in ("result", "error"))
    assert (refused["code"], unknown["code"]) == ("E_COMBINE", "E_CLASS")
    assert refused["message"] == (
        "no model knows coffee mug and horse together; objects are combined within one model"
    )
    assert made["snapshot"]["name"] == "zoo"


@pytest.mark.skipif(not shipped_models(), reason="no pretrained model is here")
def test_what_is_said_of_a_class_means_it_in_every_model_that_comes_along():
    for one in shipped_models(also_named=True):
        classes = read_snapshot_facts(one.path).classes
        short = [said(ObjectSpec(record, record["label"], 1))["class"] for record in classes]
        found = [choice.entry.label for choice in choose_classes(short, classes)]
        assert found == [record["label"] for record in classes]
