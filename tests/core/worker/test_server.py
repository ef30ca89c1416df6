# ruff: noqa: F811
"""The worker as its clients see it: a real child process, spoken to over pipes, politely and otherwise."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.datasets.imagenet import find_class
from gp3d_core.generation import meshes
from gp3d_core.generation import sampling as generation
from gp3d_core.generation.objects import object_specs
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.visualization import rgb_to_uint8
from gp3d_core.worker.model_session import PlaneCache
from gp3d_core.worker.protocol import FORMATS, MAX_LINE, OPERATIONS
from tests.support.serving import (
    ENVIRONMENT,
    FINAL,
    ROOT,
    Client,  # noqa: F401
    shared,  # noqa: F401
    snapshot,  # noqa: F401
    start,  # noqa: F401
    until,
)

pytestmark = pytest.mark.slow


def test_hello_comes_at_once_then_progress_then_ready(shared, snapshot):
    first = shared.events[: shared.events.index(shared.wait("ready")) + 1]
    assert (first[0]["event"], first[0]["protocol"]) == ("hello", 1)
    assert first[0]["pid"] == shared.process.pid
    assert first[0]["at"] < 1.0
    assert first[1]["at"] < 1.0
    assert [e["stage"] for e in first if e["event"] == "progress"] == ["starting", "loading"]
    assert all(e["id"] is None for e in first[1:] if e["event"] != "status")
    ready = first[-1]
    assert ready["snapshot"]["sha256"] == hashlib.sha256(snapshot.read_bytes()).hexdigest()[:12]
    assert ready["snapshot"]["name"] == snapshot.name
    assert (ready["resolution"], ready["classes"], ready["threads"]) == (16, 2, 1)
    again = shared.ask("hello", protocol=1)
    assert again["ready"]["snapshot"] == ready["snapshot"]
    assert shared.ask("hello", protocol=2)["code"] == "E_VERSION"


def test_classes_are_found_by_all_names_that_are_listed(shared):
    listed = shared.ask("classes")["classes"]
    assert [(c["label"], c["name"], c["imagenet_index"]) for c in listed] == [
        (0, "coffee mug", 504),
        (1, "mushroom", 947),
    ]
    for entry in listed:
        assert all(find_class(name, known=listed).label == entry["label"] for name in entry["names"])


def test_previews_are_the_fields_pictures_one_by_one(shared, snapshot, tmp_path):
    name = shared.send("preview", **{"class": 947}, seeds=[5, 3], truncation=1, yaw=0.3, dir=str(tmp_path))
    result = shared.final(name)
    steps = shared.of(name, "preview")
    assert [(e["index"], e["seed"], e["cached"]) for e in steps] == [(0, 5, False), (1, 3, False)]
    assert result["pictures"] == [{"seed": e["seed"], "path": e["path"]} for e in steps]
    model = generation.open_snapshot(snapshot, "cpu")
    for event, spec in zip(steps, object_specs(model, ["mushroom"], [5, 3]), strict=True):
        with Image.open(event["path"]) as image:
            picture = np.asarray(image)
        expected = rgb_to_uint8(generation.view(model, generation.generate(model, spec, 1.0), 0.3).rgb)[0]
        np.testing.assert_array_equal(picture, expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(Path(e["path"]).name for e in steps)


def test_class_that_was_taken_for_a_word_is_said(shared, tmp_path):
    wanted = {"seeds": [1], "resolution": 16, "dir": str(tmp_path)}
    assert shared.ask("preview", **{"class": "cofee mug"}, **wanted)["class_note"] == "cofee mug → coffee mug"
    assert "class_note" not in shared.ask("preview", **{"class": "Coffee-Mug"}, **wanted)
    mesh = shared.ask("mesh", **{"class": "mug"}, seed=1, grid=16, dir=str(tmp_path))
    assert mesh["class_note"] == "mug → coffee mug"


@pytest.mark.parametrize("color", ["both", "vertex"])
def test_mesh_files_are_those_of_the_command_line(shared, snapshot, tmp_path, color):
    options = {"grid": 24, "faces": 300, "color": color, "texture_size": 64, "crop_depth": 0.3}
    result = shared.ask(
        "mesh",
        **{"class": "coffee mug"},
        seed=7,
        formats=list(FORMATS),
        dir=str(tmp_path / "a" / "b"),
        **options,
    )
    model = generation.open_snapshot(snapshot, "cpu")
    objects = object_specs(model, ["504"], [7])
    written = meshes.write_meshes(
        model, objects, tmp_path / "a" / "cli", formats=FORMATS, options=MeshOptions.of_request(options)
    )
    files = {path.suffix[1:]: str(tmp_path / "a" / "b" / path.name) for path in written}
    assert result["files"] == files
    names = sorted(path.name for path in (tmp_path / "a" / "cli").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / "b" / name).read_bytes() == (tmp_path / "a" / "cli" / name).read_bytes(), (
            name
        )
    with np.load(result["files"]["npz"], allow_pickle=False) as bundle:
        assert (len(bundle["vertices"]), len(bundle["faces"])) == (result["vertices"], result["faces"])
        assert json.loads(str(bundle["recipe"])) == result["recipe"]


def test_a_thumbnail_comes_with_the_mesh_and_is_named_in_its_recipe(shared, tmp_path):
    wanted = {"class": "mushroom", "seed": 3, "grid": 16, "color": "none", "dir": str(tmp_path)}
    result = shared.ask("mesh", **wanted, thumbnail=True, stem="cap")
    assert result["thumbnail"] == str(tmp_path / "cap.thumbnail.png")
    assert json.loads(Path(result["recipe_path"]).read_text())["thumbnail"] == "cap.thumbnail.png"
    with Image.open(result["thumbnail"]) as picture:
        assert picture.size == (256, 256)
    assert "thumbnail" not in shared.ask("mesh", **wanted)


def test_a_previewed_seed_is_meshed_from_the_cache(shared, tmp_path):
    spec = {"class": "mushroom", "truncation": 0.5, "dir": str(tmp_path)}
    shared.ask("preview", **spec, seeds=[11])
    mesh = {"grid": 16, "color": "none"}
    assert shared.ask("mesh", **spec, seed=11, **mesh)["cached"]
    assert not shared.ask("mesh", **spec, seed=12, **mesh)["cached"]
    assert shared.ask("mesh", **spec, seed=12, stem="other", **mesh)["cached"]
    assert not shared.ask("mesh", **{**spec, "class": "coffee mug"}, seed=12, **mesh)["cached"]
    assert not shared.ask("mesh", **{**spec, "truncation": 0.6}, seed=12, **mesh)["cached"]
    cache = shared.ask("status")["cache"]
    assert 0 < cache["bytes"] <= cache["limit"] == 256 * 2**20
    assert (tmp_path / "other.npz").is_file()


def test_the_cache_keeps_what_was_used_last_within_its_limit():
    def obj(label, values):
        spec = generation.ObjectSpec({}, label, 0)
        return generation.Generated(spec, 0.7, torch.zeros(0), torch.zeros(values))

    cache, dice, model = PlaneCache(1000), random.Random(1), []
    for _ in range(2000):
        label = dice.randrange(12)
        values = label * 30  # label 9 and more exceed the limit alone
        found = cache.get(generation.ObjectSpec({}, label, 0), 0.7)
        assert (found is not None) == (label in model), "not the least recently used has left"
        if found is None:
            cache.put(obj(label, values))
        if label in model:
            model.remove(label)
        if 4 * values <= 1000:
            model.append(label)
        while sum(4 * 30 * other for other in model) > 1000:
            model.pop(0)
        assert cache.bytes == sum(4 * 30 * other for other in model) <= 1000
    cache.clear()
    assert cache.status() == {"objects": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"class": "sofa"}, "E_CLASS", "this model knows no 'sofa'; it knows"),
        ({"class": "mug,mushroom"}, "E_CLASS", "one class is expected"),
        ({"class": "tabby"}, "E_CLASS", "does not know"),
        ({"class": None}, "E_CLASS", "none was named"),
        ({"level": 1e9}, "E_EMPTY_MESH", "the density lies between"),
        ({"dir": "FILE/below"}, "E_DISK", "FILE"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing_behind(shared, tmp_path, fields, code, said):
    (tmp_path / "FILE").touch()
    fields = {"class": "mushroom", "seed": 0, "grid": 12, "dir": "", **fields}
    fields["dir"] = str(tmp_path / fields["dir"])
    error = shared.ask("mesh", **fields)
    assert (error["event"], error["code"]) == ("error", code)
    assert said in error["message"]
    assert error["action"].endswith(".")
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_the_first_request_of_the_documentation_works_as_it_is(tmp_path):
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    lines = text.split("## A first request")[1].split("```bash\n")[1].split("```")[0]
    gp3d = tmp_path / "bin" / "gp3d"
    gp3d.parent.mkdir()
    gp3d.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gp3d_core.cli "$@"\n', encoding="utf-8")
    gp3d.chmod(0o755)
    path = f"{gp3d.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", lines],
        cwd=tmp_path,
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in (events[0], events[-1])] == ["hello", "result"]
    assert Path(events[-1]["files"]["glb"]) == tmp_path / "meshes/mug.glb"
    assert sorted(p.name for p in (tmp_path / "meshes").iterdir()) == ["mug.glb", "mug.recipe.json"]


# Hostile lines


def test_garbage_and_oversized_lines_are_answered_and_survived(start, tmp_path):
    client = start(tmp_path / "none.safetensors")
    client.wait("error")  # there is no model
    before = len(client.events)
    dice = random.Random(7)
    valid = [{"id": "f", "op": op} for op in ("hello", "classes", "preview", "mesh", "cancel", "status")]
    fields = [name for options in OPERATIONS.values() for name in options]
    values = [None, True, -1, 0, 1e300, "", "x", "/tmp", [], [0], {}, {"id": "f"}, "é\ud800"]
    lines = [b"x" * (MAX_LINE + 1), b'{"id": "' + b"y" * 200000 + b'"}', bytes(range(1, 10)) + b"\xff\x00{"]
    for number in range(400):
        message = {**dice.choice(valid), "id": dice.choice([f"f{number}", *values])}
        message |= {dice.choice(fields): dice.choice(values) for _ in range(dice.randrange(4))}
        line = bytearray(json.dumps(message).encode())
        for _ in range(dice.choice([0, 0, 0, 1, 3])):
            line[dice.randrange(len(line))] = dice.choice(b'{}[]",:0a\\\xc3\x00 ')
        lines.append(bytes(line).replace(b"\n", b" ").replace(b"\r", b" "))
    lines = [line for line in lines if line.strip()]
    client.raw(b"\n".join(lines) + b"\n\n \r\n")
    assert client.ask("status")["state"] == "empty"
    final = [event for event in client.events[before:] if event["event"] in FINAL]
    assert until(lambda: len([e for e in client.events[before:] if e["event"] in FINAL]) == len(lines) + 1, 5)
    assert [event["code"] for event in final[:3]] == ["E_TOO_LONG", "E_TOO_LONG", "E_PROTOCOL"]
    assert {event["code"] for event in final if event["event"] == "error"} <= {
        "E_TOO_LONG", "E_PROTOCOL", "E_NO_WEIGHTS", "E_VERSION", "E_BUSY",
    }  # fmt: skip
    client.raw(b'{"id": "tail", "op": "status"}')  # no end of line: never a request
    client.process.stdin.close()
    assert client.code() == 0
    assert client.events[-1]["event"] == "bye"
    assert not client.of("tail")


def test_stray_output_stays_out_of_the_protocol():
    program = """
import os, sys
from gp3d_core.worker import server as serve
requests, events = serve._take_streams()
print("stray", flush=True)
os.write(1, b"native")
os.write(events, b"event:" + os.read(requests, 99) + os.read(0, 99))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"request", capture_output=True, env=ENVIRONMENT, check=True
    )
    assert done.stdout == b"event:request"
    assert b"stray" in done.stderr
    assert b"native" in done.stderr
