"""A worker with several models: which one makes a class, which are loaded, and what a client hears of them."""

import json

import numpy as np
import pytest
from PIL import Image

from gp3d_core import pretrained as box
from gp3d_core.generation import sampling
from gp3d_core.generation.objects import object_specs
from gp3d_core.hashing import digest
from gp3d_core.visualization import rgb_to_uint8
from gp3d_core.worker import model_session
from gp3d_core.worker.job_queue import Job
from gp3d_core.worker.model_set import ModelSet
from gp3d_core.worker.protocol import Problem, read_request
from gp3d_core.worker.server import Worker
from tests.support.serving import desk_and_events
from tests.support.shipped import MUG, ZOO_LICENSE, write_model, write_models

QUICK = {"grid": 16, "color": "none"}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A machine with three pretrained models, by their names."""
    folder = (tmp_path / "installed").resolve()
    monkeypatch.setattr(box, "FOLDER", folder)
    return write_models(folder)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are loaded, in order."""
    names = []

    def load(path, *more):
        names.append(box.name_of(path))
        return load_snapshot(path, *more)

    load_snapshot = model_session.load_snapshot
    monkeypatch.setattr(model_session, "load_snapshot", load)
    return names


def model_set(path=None, cache_bytes=2**20):
    return ModelSet(path, "cpu", cache_bytes, lambda: None)


def events_of(*requests, models=None):
    """What a worker says to these requests, one after the other."""
    with desk_and_events() as (queue, events):
        worker = Worker(queue, "cpu", 2**20, models)
        for number, (op, fields) in enumerate(requests):
            line = json.dumps({"id": str(number), "op": op, **fields}).encode()
            if op == "classes":
                worker.answer(line)
            else:
                queue.accept(Job(read_request(line), str(number)))
                worker.run(queue.take(0))
    return events


def ends(events):
    return [event for event in events if event["event"] in ("result", "error")]


def test_only_the_first_is_loaded_and_all_are_listed(models, opened):
    ready, listed = ends(events_of(("load", {"snapshot": None}), ("classes", {})))
    assert opened == ["box"]
    assert (ready["snapshot"]["name"], ready["classes"]) == ("box", 4)
    assert [(one["name"], one["classes"], one["license"]) for one in ready["models"]] == [
        ("box", 2, "Apache-2.0"),
        ("zoo", 3, ZOO_LICENSE),
    ]
    assert [bool(one["credits"]) for one in ready["models"]] == [False, True]
    assert "Wildfire Games (CC-BY-SA-3.0)" in ready["models"][1]["credits"]
    found = [(one["name"], one["model"], one["badge"], one["label"]) for one in listed["classes"]]
    assert found == [
        ("coffee mug", "box", "good", 0),
        ("mushroom", "box", "rough", 1),
        ("tabby", "zoo", "fair", 0),
        ("horse", "zoo", "good", 2),
    ]


@pytest.mark.slow
def test_a_class_is_made_by_the_model_that_has_it(models, opened, tmp_path):
    spec = {"seeds": [4], "resolution": 16, "dir": str(tmp_path / "p")}
    mesh = {"seed": 4, **QUICK, "dir": str(tmp_path / "m")}
    horse, mushroom, zoo, made, older, lacking = ends(
        events_of(
            ("preview", {"class": "horse", **spec}),
            ("preview", {"class": "mushroom", **spec}),
            ("preview", {"class": "mushroom", "model": "zoo", **spec, "dir": str(tmp_path / "q")}),
            ("mesh", {"class": "n02374451", **mesh}),
            ("mesh", {"class": "teapot", "model": "box-1", **mesh}),
            ("mesh", {"class": "teapot", **mesh}),
            models=model_set(),
        )
    )
    named = [one["snapshot"]["name"] for one in (horse, mushroom, zoo, made, older)]
    assert named == ["zoo", "box", "zoo", "zoo", "box-1"]
    assert opened == ["box", "zoo", "box-1"]
    assert (lacking["event"], lacking["code"]) == ("error", "E_CLASS")
    assert made["cached"]  # from the preview
    assert (made["recipe"]["snapshot"], made["recipe"]["license"]) == ("zoo", ZOO_LICENSE)
    assert made["recipe"]["snapshot_sha256"] == digest(models["zoo"])
    for answer, model, name in (
        (mushroom, "box", "mushroom"),
        (zoo, "zoo", "mushroom"),
        (horse, "zoo", "horse"),
    ):
        snapshot = sampling.open_snapshot(models[model], "cpu")
        (wanted,) = object_specs(snapshot, [name], [4])
        with Image.open(answer["pictures"][0]["path"]) as image:
            seen = sampling.view(snapshot, sampling.generate(snapshot, wanted), resolution=16).rgb
            np.testing.assert_array_equal(np.asarray(image), rgb_to_uint8(seen)[0])


def test_two_models_stay_loaded_and_objects_of_all_share_one_cache(models, opened):
    several = model_set()
    for query, model in (("horse", None), ("mug", None), ("mug", "box-1"), ("mug", None), ("horse", None)):
        session, (spec,), _ = several.specs(query, [1], model)
        session.generated(spec, 0.7)
    assert opened == ["box", "zoo", "box-1", "zoo"]
    assert several.cache.status()["objects"] == 3  # the mugs of two models are two objects
    session, (spec,), _ = several.specs("mug", [1], "box-1")
    assert session.generated(spec, 0.7)[1]
    assert opened[4:] == ["box-1"]
    several.forget()
    assert several.cache.status() == {"objects": 0, "bytes": 0}


def test_an_objects_model_is_found_by_its_hash(models, tmp_path):
    hashes = {name: digest(path) for name, path in models.items()}
    own = write_model(tmp_path / "own.safetensors", [MUG, MUG | {"label": 1, "name": "cup", "wnid": None}], 8)
    for several in (model_set(), model_set(own)):
        for name, sha256 in hashes.items():
            for mark in (sha256, sha256[:12]):
                assert (
                    several.specs("coffee mug" if name != "zoo" else "horse", [0], mark)[0].identity()["name"]
                    == name
                )
    several = model_set(own)
    assert several.specs("cup", [0], digest(own))[0].identity()["name"] == "own.safetensors"
    assert several.specs("cup", [0])[0].identity()["name"] == "own.safetensors"
    gone = "87ab32c58256bb6fb706c60b81e4a38088dd4debcfdfd3810d236606090cc56d"
    with pytest.raises(
        Problem, match=r"the model box-1 \(SHA-256 87ab32c58256…, 48 classes, which gp3d 0\.1\.0"
    ) as problem:
        several.specs("mug", [0], gone)
    assert problem.value.code == "E_NO_WEIGHTS"
    with pytest.raises(Problem, match="the model ark is not here; here are box, zoo, box-1"):
        model_set().specs("mug", [0], "ark")


def test_a_model_that_is_named_alone_is_served(models, opened):
    ready, listed = ends(events_of(("load", {"snapshot": "zoo"}), ("classes", {})))
    assert opened == ["zoo"]
    assert (ready["snapshot"]["name"], ready["classes"], len(ready["models"])) == ("zoo", 3, 1)
    assert [one["name"] for one in listed["classes"]] == ["tabby", "mushroom", "horse"]
    (slip,) = ends(events_of(("load", {"snapshot": "zooo"})))
    assert (slip["code"], slip["message"]) == (
        "E_NO_WEIGHTS",
        "no snapshot at zooo, and no model of that name; did you mean the model zoo?",
    )
    models["zoo"].write_bytes(b"no model")
    assert ends(events_of(("load", {"snapshot": "zoo"})))[0]["code"] == "E_BAD_WEIGHTS"


def test_a_worker_with_one_model_answers_as_before(models):
    """A client of version 1 that knows nothing of several models reads all that it read."""
    models["zoo"].unlink()
    ready, listed = ends(events_of(("load", {"snapshot": None}), ("classes", {})))
    needed = {
        "device",
        "device_name",
        "threads",
        "snapshot",
        "resolution",
        "classes",
        "box",
        "formats",
        "colors",
    }
    assert needed <= set(ready)
    assert (ready["snapshot"]["name"], ready["classes"]) == ("box", 2)
    assert [(one["label"], one["name"], one["badge"]) for one in listed["classes"]] == [
        (0, "coffee mug", "good"),
        (1, "mushroom", "rough"),
    ]
