"""The worker as its clients see it: a real child process, spoken to over pipes, politely and otherwise."""

import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core import generation, unwrapping
from gp3d_core.classes import find_class
from gp3d_core.desk import QUEUE, Desk, Job
from gp3d_core.pictures import rgb_to_uint8
from gp3d_core.protocol import (
    FORMATS,
    MAX_LINE,
    OPERATIONS,
    LineSplitter,
    Problem,
    read_request,
)
from gp3d_core.serve import Worker
from gp3d_core.signals import quiet
from gp3d_core.snapshot import save_snapshot
from gp3d_core.studio import PlaneCache, Studio, problem_of
from tests.core.micro import micro_state

ROOT = Path(__file__).resolve().parents[2]
FINAL = ("result", "error")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COMMAND = [sys.executable, "-m", "gp3d_core.cli", "serve"]
PATIENCE = 20.0
LONG = {"class": "coffee mug", "seeds": list(range(64)), "resolution": 1024}  # a preview of many seconds


class Client:
    """A worker with a thread that collects its events; every line must be a JSON object."""

    def __init__(self, *arguments):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        self.events, self._names, self._news = [], itertools.count(), threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            assert line.isascii()
            assert isinstance(event.pop("event"), str)
            event = {"event": json.loads(line)["event"], "at": time.monotonic() - self.began, **event}
            with self._news:
                self.events.append(event)
                self._news.notify_all()

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, op, _name=None, **fields):
        name = _name or f"{op}-{next(self._names)}"
        self.raw(json.dumps({"id": name, "op": op, **fields}).encode() + b"\n")
        return name

    def wait(self, event, since=0, **fields):
        """The first event of that kind with those fields."""

        def found():
            return [e for e in self.events[since:] if e["event"] == event and fields.items() <= e.items()]

        with self._news:
            assert self._news.wait_for(found, PATIENCE), (event, fields, self.events[-5:])
            return found()[0]

    def final(self, name):
        """The result or error of a request."""
        with self._news:
            assert self._news.wait_for(lambda: self.of(name, *FINAL), PATIENCE), (name, self.events[-5:])
        return self.of(name, *FINAL)[0]

    def ask(self, op, **fields):
        return self.final(self.send(op, **fields))

    def of(self, name, *kinds):
        return [e for e in self.events if e.get("id") == name and (not kinds or e["event"] in kinds)]

    def code(self):
        """The exit code, once everything that was said has been read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def end(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start():
    """Starts workers that end with the test."""
    clients = []

    def begin(*arguments):
        clients.append(Client(*arguments))
        return clients[-1]

    yield begin
    for client in clients:
        client.end()


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("serve")
    state = micro_state(folder / "data")
    path = folder / "run" / "snapshots" / "snapshot-000000.00.safetensors"
    path.parent.mkdir(parents=True)
    save_snapshot(path, state.ema, state.config, state.classes, 0)
    return path


@pytest.fixture(scope="module")
def shared(snapshot):
    """One warm worker for all tests that leave it as it was."""
    client = Client(snapshot.parents[1])
    client.wait("ready")
    yield client
    assert client.process.poll() is None, "a test has ended the worker"
    client.end()


@contextmanager
def desk_and_events():
    """A desk in this process, and a list that has its events once the block has ended."""
    reading, writing = os.pipe()
    events = []
    yield Desk(writing), events
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        events += map(json.loads, lines)


def gone(pid):
    """Whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# What a request must be


@pytest.mark.parametrize("seed", range(20))
def test_splitter_finds_the_same_lines_however_the_bytes_arrive(seed):
    dice = random.Random(seed)
    lines = [
        bytes(dice.choices(b"ab{\r\x00\xff", k=dice.choice([0, 1, 5, 30, 31, 90]))).rstrip(b"\r")
        for _ in range(40)
    ]
    stream = b"".join(line + dice.choice([b"\n", b"\r\n"]) for line in lines)
    splitter, found = LineSplitter(limit=31), []
    while stream:
        cut = dice.choice([1, 2, 7, 40, 500])
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    expected = [line if len(line) <= 30 else None for line in lines]
    unsure = [index for index, line in enumerate(lines) if len(line) == 31]  # with \r\n they are too long
    assert len(found) == len(lines)
    for index, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        assert got in ((None, lines[index]) if index in unsure else (wanted,))


def test_splitter_holds_no_more_than_one_line():
    splitter = LineSplitter(limit=1000)
    answers = [answer for _ in range(100) for answer in splitter.feed(b"x" * 999)]
    assert answers == [None]
    assert len(splitter._begun) <= 1000
    assert list(splitter.feed(b"\nnext\n")) == [b"next"]


def mesh_line(**changes):
    fields = {"id": "m", "op": "mesh", "class": "mushroom", "seed": 1, "dir": "/here", **changes}
    return json.dumps({key: value for key, value in fields.items() if value != "absent"}).encode()


def test_requests_get_the_documented_defaults():
    options = read_request(mesh_line()).options
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    documented = json.loads(re.search(r"^\{.*\"op\": \"mesh\".*\}$", text, re.MULTILINE)[0])
    for name in set(documented) - {"id", "op", "class", "seed", "dir", "stem"}:
        assert options[name] == documented[name], name
    assert set(options) == set(documented) - {"id", "op"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": "absent"}, "seed is missing"),
        ({"dir": "absent"}, "dir is missing"),
        ({"seed": -1}, "seed: expected a whole number from 0"),
        ({"seed": True}, "seed"),
        ({"seed": 1.0}, "seed"),
        ({"seed": 10**18}, "seed"),
        ({"truncation": 2.1}, "truncation: expected a number from 0 to 2, found 2.1"),
        ({"truncation": "1"}, "truncation"),
        ({"grid": 7}, "grid"),
        ({"grid": 513}, "grid"),
        ({"faces": 3}, "or 0"),
        ({"level": 0}, "level"),
        ({"level": "high"}, "level"),
        ({"color": "red"}, "texture, vertex, both, none"),
        ({"formats": []}, "formats"),
        ({"formats": ["stl"]}, "obj, glb"),
        ({"formats": ["npz"] * 5}, "formats"),
        ({"dir": "relative/folder"}, "absolute path"),
        ({"dir": "/nul\0"}, "absolute path"),
        ({"keep": -1}, "keep"),
        ({"crop_box": [0, 0, 0, 1, 1]}, "crop_box"),
        ({"crop_box": [0, 0, 0, 1, 1, -1]}, "crop_box"),
        ({"crop_depth": 1.5}, "crop_depth"),
        ({"stem": "../escape"}, "stem"),
        ({"stem": ".hidden"}, "stem"),
        ({"stem": "a/b"}, "stem"),
        ({"stem": "a\n"}, "stem"),
        ({"class": 1.5}, "class"),
        ({"class": ""}, "class"),
        ({"colour": "red"}, 'unknown field "colour"'),
        ({"op": "make"}, "expected an op"),
        ({"op": ["mesh"]}, "expected an op"),
    ],
)
def test_requests_outside_the_rules_are_refused_by_name(changes, said):
    with pytest.raises(Problem, match=re.escape(said)) as problem:
        read_request(mesh_line(**changes))
    assert (problem.value.code, problem.value.request) == ("E_PROTOCOL", "m")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"3",
        b"null",
        b"{",
        b'{"id": 3, "op": "status"}',
        b'{"id": "", "op": "status"}',
        b'{"op": "status"}',
        b"\xff\xfe",
        b"[" * 60000,
        b'{"id": "1", "op": "mesh", "truncation": NaN}',
        b'{"id": "1", "seed": ' + b"9" * 5000 + b"}",
        json.dumps({"id": "x" * 129, "op": "status"}).encode(),
    ],
)
def test_lines_that_are_no_request_raise_a_problem_without_an_id(line):
    with pytest.raises(Problem) as problem:
        read_request(line)
    assert (problem.value.code, problem.value.request) == ("E_PROTOCOL", None)


def test_docs_name_every_code_operation_and_option():
    text = (ROOT / "docs/serve.md").read_text(encoding="utf-8")
    sources = [ROOT / "gp3d_core" / f"{name}.py" for name in ("protocol", "serve", "desk", "studio")]
    raised = set(re.findall(r'"(E_[A-Z_]+)"', "".join(path.read_text() for path in sources)))
    assert raised == set(re.findall(r"^\| `(E_[A-Z_]+)` \|", text, re.MULTILINE))
    assert list(OPERATIONS) == json.loads(re.search(r'"ops": (\[.*?\])', text)[1])
    for op, fields in OPERATIONS.items():
        section = text.split(f"### {op}\n")[1].split("\n### ")[0]
        assert all(f'"{name}"' in section or f"`{name}`" in section for name in fields), op
    assert FORMATS == generation.FORMATS


# What the worker says and makes


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
    for event, wish in zip(steps, generation.wishes(model, ["mushroom"], [5, 3]), strict=True):
        with Image.open(event["path"]) as image:
            picture = np.asarray(image)
        expected = rgb_to_uint8(generation.view(model, generation.generate(model, wish, 1.0), 0.3).rgb)[0]
        np.testing.assert_array_equal(picture, expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(Path(e["path"]).name for e in steps)


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
    wishes = generation.wishes(model, ["504"], [7])
    written = generation.write_meshes(model, wishes, tmp_path / "a" / "cli", formats=FORMATS, **options)
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


def test_a_previewed_seed_is_meshed_from_the_cache(shared, tmp_path):
    wish = {"class": "mushroom", "truncation": 0.5, "dir": str(tmp_path)}
    shared.ask("preview", **wish, seeds=[11])
    mesh = {"grid": 16, "color": "none"}
    assert shared.ask("mesh", **wish, seed=11, **mesh)["cached"]
    assert not shared.ask("mesh", **wish, seed=12, **mesh)["cached"]
    assert shared.ask("mesh", **wish, seed=12, stem="other", **mesh)["cached"]
    assert not shared.ask("mesh", **{**wish, "class": "coffee mug"}, seed=12, **mesh)["cached"]
    assert not shared.ask("mesh", **{**wish, "truncation": 0.6}, seed=12, **mesh)["cached"]
    cache = shared.ask("status")["cache"]
    assert 0 < cache["bytes"] <= cache["limit"] == 256 * 2**20
    assert (tmp_path / "other.npz").is_file()


def test_the_cache_keeps_what_was_used_last_within_its_limit():
    def thing(label, values):
        wish = generation.Wish({}, label, 0)
        return generation.Generated(wish, 0.7, torch.zeros(0), torch.zeros(values))

    cache, dice, model = PlaneCache(1000), random.Random(1), []
    for _ in range(2000):
        label = dice.randrange(12)
        values = label * 30  # label 9 and more exceed the limit alone
        found = cache.get(generation.Wish({}, label, 0), 0.7)
        assert (found is not None) == (label in model), "not the least recently used has left"
        if found is None:
            cache.put(thing(label, values))
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
        ({"class": "cofee mug"}, "E_CLASS", "did you mean 'coffee mug'"),
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


# Jobs


def runs_in(events):
    """The ids of the jobs that were started, in order; no two of them at a time, and no other is heard of."""
    running, started = None, []
    for event in events:
        if event["event"] == "started":
            assert running is None
            running = event["id"]
            started.append(running)
        elif event["event"] in ("progress", "preview"):
            assert event["id"] == running
        elif event["event"] in FINAL and event["id"] == running:
            running = None
    return started


def test_jobs_run_one_at_a_time_in_order_and_end_once(shared, tmp_path):
    dice, names = random.Random(3), []
    since = len(shared.events)
    for _ in range(60):
        wish = {"class": "mushroom", "dir": str(tmp_path)}
        match dice.randrange(7):
            case 0 | 1 | 2:
                names.append(shared.send("preview", **wish, seeds=[0, 1], resolution=16))
            case 3:
                names.append(shared.send("mesh", **wish, seed=0, grid=10, color="none"))
            case 4:
                names.append(shared.send("cancel", target=dice.choice(names or ["none"])))
            case 5:
                names.append(shared.send("status"))
            case 6:
                names.append(shared.send("mesh", **wish, seed="bad"))
    for name in names:
        shared.final(name)
    events = shared.events[since:]
    started = runs_in(events)
    accepted = [e["id"] for e in events if e["event"] == "accepted"]
    assert len(started) > 15
    assert started == [name for name in accepted if name in set(started)]
    for name in names:
        kinds = [e["event"] for e in shared.of(name)]
        assert sum(kind in FINAL for kind in kinds) == 1
        assert kinds[-1] in FINAL
        if kinds[0] == "accepted":
            assert "started" in kinds or shared.final(name)["code"] in ("E_CANCELLED", "E_BUSY")


def test_a_job_that_runs_beats_and_can_be_cancelled(shared, tmp_path):
    since = len(shared.events)
    name = shared.send("preview", **LONG, dir=str(tmp_path))
    beat = shared.wait("status", since, state="busy")
    assert (beat["job"]["id"], beat["job"]["op"]) == (name, "preview")
    began = time.monotonic()
    assert shared.ask("cancel", target=name)["state"] == "running"
    assert shared.final(name)["code"] == "E_CANCELLED"
    assert time.monotonic() - began < 1.5
    assert len(shared.of(name, "preview")) == len(list(tmp_path.iterdir())) < 64
    assert shared.ask("cancel", target=name)["state"] == "finished"
    assert shared.ask("cancel", target="never heard of")["state"] == "unknown"
    assert shared.ask("status")["state"] == "idle"


@pytest.mark.parametrize("stage", ["density", "surface", "atlas", "texels", "color", "write"])
def test_a_mesh_cancelled_in_any_stage_writes_nothing(shared, tmp_path, stage):
    since = len(shared.events)
    name = shared.send(
        "mesh", **{"class": "mushroom"}, seed=1, grid=64, faces=2000, texture_size=512, dir=str(tmp_path)
    )
    shared.wait("progress", since, id=name, stage=stage)
    state = shared.ask("cancel", target=name)["state"]
    end = shared.final(name)
    if state == "running":
        assert end["code"] == "E_CANCELLED"
        assert until(lambda: not list(tmp_path.iterdir()), 1.0)
    else:
        assert (state, end["event"]) == ("finished", "result")


def test_a_cancel_wins_until_the_result_is_said(snapshot, tmp_path):
    published = []
    with desk_and_events() as (desk, events):
        desk.accept(Job(read_request(mesh_line()), "m"))
        job = desk.take(0)
        desk.cancel("m", published.append)
        with pytest.raises(Problem, match="cancelled") as problem:
            desk.finish(job, {}, lambda: published.append("files"))
        desk.fail(job, problem.value)
        desk.cancel("m", published.append)
    assert [(e["event"], e.get("code")) for e in events][-1] == ("error", "E_CANCELLED")
    assert published == ["running", "finished"]

    def refuse(*_):
        raise problem.value

    studio = Studio(snapshot, "cpu", 0, lambda: None)
    thing, _ = studio.thing(studio.wish("mushroom", 0), 0.7)
    options = {**read_request(mesh_line(grid=12, color="none")).options, "dir": tmp_path}
    with pytest.raises(Problem):
        studio.mesh(thing, options, quiet, refuse)
    assert not list(tmp_path.iterdir())


def test_waiting_jobs_can_be_cancelled_and_the_queue_is_bounded(shared, tmp_path):
    running = shared.send("preview", **LONG, dir=str(tmp_path))
    shared.wait("started", id=running)  # until then it takes a place in the queue itself
    wish = {"class": "mushroom", "seeds": [0], "dir": str(tmp_path)}
    waiting = [shared.send("preview", **wish) for _ in range(QUEUE)]
    assert shared.ask("preview", **wish)["code"] == "E_BUSY"
    twice = len(shared.events)
    shared.raw(json.dumps({"id": running, "op": "status"}).encode() + b"\n")
    assert shared.wait("error", twice, id=None)["code"] == "E_PROTOCOL"
    assert not shared.of(running, *FINAL), "a second request took the id of the first one"
    assert shared.ask("status")["queued"] == waiting
    for name in waiting:
        cancel = shared.send("cancel", target=name)
        assert shared.final(cancel)["state"] == "queued"
        assert shared.of(name, *FINAL)[0]["code"] == "E_CANCELLED"
        assert shared.events.index(shared.of(name, *FINAL)[0]) < shared.events.index(shared.final(cancel))
        assert not shared.of(name, "started")
    assert shared.ask("cancel", target=running)["state"] == "running"
    shared.final(running)


def test_a_child_that_makes_an_atlas_ends_when_its_job_is_cancelled(monkeypatch):
    children = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            children.append(self)

    def cancel_later(*_step):
        if len(calls) == 2:
            raise Problem("E_CANCELLED", "", "")
        calls.append(time.monotonic())

    calls = []
    monkeypatch.setattr(unwrapping.subprocess, "Popen", Recorded)
    dice = np.random.default_rng(0)
    faces = dice.integers(0, 2000, (20000, 3)).astype(np.int32)
    with pytest.raises(Problem):
        unwrapping.unwrap(
            dice.random((2000, 3)).astype(np.float32), faces, size=512, seconds=60, progress=cancel_later
        )
    assert time.monotonic() - calls[-1] < 1.0
    assert [child.returncode for child in children] == [-signal.SIGKILL]


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
from gp3d_core import serve
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


# Models, memory, and the end


def test_a_worker_without_a_model_waits_for_one_and_shuts_down_in_order(start, snapshot, tmp_path):
    client = start(tmp_path / "missing.safetensors")
    assert client.wait("error", id=None)["code"] == "E_NO_WEIGHTS"
    assert client.ask("classes")["code"] == "E_NO_WEIGHTS"
    assert client.ask("preview", **LONG, dir=str(tmp_path))["code"] == "E_NO_WEIGHTS"
    (tmp_path / "half.safetensors").write_bytes(snapshot.read_bytes()[:5000])
    assert client.ask("load", snapshot=str(tmp_path / "half.safetensors"))["code"] == "E_BAD_WEIGHTS"
    assert client.ask("load", snapshot=str(tmp_path))["code"] == "E_NO_WEIGHTS"
    if not torch.cuda.is_available():
        assert client.ask("load", snapshot=str(snapshot), device="cuda")["code"] == "E_DEVICE"
    assert client.ask("status")["state"] == "empty"
    load = client.send("load", snapshot=str(snapshot))
    running = client.send("preview", **LONG, dir=str(tmp_path / "out"))
    assert client.final(load)["snapshot"]["name"] == snapshot.name
    assert client.wait("ready", id=load)
    waiting = client.send("mesh", **{"class": "mushroom"}, seed=0, dir=str(tmp_path / "out"))
    client.wait("preview", id=running)
    end = client.send("shutdown")
    assert client.code() == 0
    ends = [e for e in client.events if e["event"] in (*FINAL, "bye")][-4:]
    assert [(e["event"], e.get("id")) for e in ends] == [
        ("error", waiting), ("error", running), ("result", end), ("bye", None),
    ]  # fmt: skip
    assert {ends[0]["code"], ends[1]["code"]} == {"E_CANCELLED"}
    assert ends[-1]["reason"] == "shutdown"


def test_out_of_memory_is_said_and_memory_is_given_back():
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
    )):  # fmt: skip
        assert problem_of(error).code == "E_OOM"
    assert problem_of(RuntimeError("mat1 and mat2 shapes")).code == "E_INTERNAL"

    def fail(*_):
        raise MemoryError

    forgotten = []
    with desk_and_events() as (desk, events):
        worker = Worker(desk, "cpu", 0)
        worker._studio = SimpleNamespace(wish=fail, forget=lambda: forgotten.append(True))
        desk.accept(Job(read_request(mesh_line()), "m"))
        worker.run(desk.take(0))
    last = events[-1]
    assert (last["id"], last["code"]) == ("m", "E_OOM")
    assert forgotten == [True]


def test_a_worker_that_nobody_hears_ends():
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, env=ENVIRONMENT) as worker:
        assert b"hello" in worker.stdout.readline()
        worker.stdout.close()
        worker.stdin.write(b'{"id": "1", "op": "status"}\n')
        worker.stdin.flush()
        assert worker.wait(5) == 0
        with suppress(BrokenPipeError):
            worker.stdin.close()


def test_idle_workers_end_and_busy_ones_do_not(start, snapshot):
    client = start(snapshot, "--idle-seconds", "0.3")  # importing torch alone takes longer
    assert client.code() == 0
    assert [e["event"] for e in client.events][-2:] == ["ready", "bye"]
    ready, bye = client.events[-2:]
    assert bye["reason"] == "idle"
    assert 0.25 < bye["at"] - ready["at"] < 2.0


def test_requests_keep_an_idle_worker_alive(start, tmp_path):
    client = start(tmp_path / "none.safetensors", "--idle-seconds", "0.5")
    client.wait("error")
    for _ in range(4):
        time.sleep(0.25)
        client.ask("status")
    last = time.monotonic() - client.began
    assert client.code() == 0
    assert client.events[-1]["reason"] == "idle"
    assert 0.4 < client.events[-1]["at"] - last < 2.0


def test_closing_stdin_ends_a_worker_in_the_middle_of_a_job(start, snapshot, tmp_path):
    client = start(snapshot)
    name = client.send(
        "mesh", **{"class": "mushroom"}, seed=0, grid=200, texture_size=2048, dir=str(tmp_path)
    )
    client.wait("progress", id=name, stage="density")
    began = time.monotonic()
    client.process.stdin.close()
    assert client.code() == 0
    assert time.monotonic() - began < 3.5
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".gp3d-")]


def test_a_job_that_does_not_let_go_cannot_keep_the_worker():
    program = """
import pathlib, time
from gp3d_core import serve
def run(worker, job):
    worker._desk.outbox.send({"event": "stuck"})
    time.sleep(600)
serve.Worker.run = run
serve.serve(pathlib.Path("model"), device="cpu", cache_bytes=0, idle_seconds=0)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, env=ENVIRONMENT
    ) as worker:
        while b"stuck" not in worker.stdout.readline():
            pass
        began = time.monotonic()
        worker.stdin.close()
        assert worker.wait(10) == 0
        assert 2.0 < time.monotonic() - began < 5.0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_worker_does_not_outlive_a_killed_parent(snapshot, tmp_path):
    request = json.dumps({"id": "1", "op": "preview", **LONG, "dir": str(tmp_path)}).encode() + b"\n"
    program = f"""
import json, subprocess, sys, time
worker = subprocess.Popen({[*COMMAND, str(snapshot)]!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdin.write({request!r})
worker.stdin.flush()
while json.loads(worker.stdout.readline())["event"] != "preview":
    pass
print(worker.pid, flush=True)
time.sleep(600)
"""
    shim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        worker = int(shim.stdout.readline())
        assert not gone(worker)
    finally:
        shim.kill()
        shim.wait()
        shim.stdout.close()
    assert until(lambda: gone(worker), 3.5)
