"""The pretrained model: made by `ship`, used where no snapshot is named, and found again by recipes anywhere."""

import json
import math
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gp3d_core import pretrained as box
from gp3d_core.cli import demo, doctor
from gp3d_core.cli.main import main
from gp3d_core.generation import sampling as generation
from gp3d_core.generation.objects import object_specs
from gp3d_core.hashing import digest
from gp3d_core.licences.terms import terms_of
from gp3d_core.snapshots import metadata as header
from gp3d_core.snapshots.card import page_of
from gp3d_core.snapshots.export import badge_of, ship
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from gp3d_core.visualization import rgb_to_uint8
from gp3d_core.vq3d.files.prior_file import load_prior
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.reconstruction import scenes_of_codes
from gp3d_core.worker.job_queue import Job, JobQueue
from gp3d_core.worker.protocol import Request, read_request
from gp3d_core.worker.server import Worker
from tests.support.micro import micro_snapshot

WORDS = re.compile(r"using the pretrained model: 2 classes; see gp3d classes")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A full-precision micro snapshot."""
    return micro_snapshot(tmp_path_factory.mktemp("whole"), 1000)


def scores(folder, snapshot, **per_class):
    """A metrics.jsonl as `gp3d evaluate` leaves it; each metric as {class: (value, real)}."""
    folder.mkdir(exist_ok=True)
    lines = []
    for metric, classes in per_class.items():
        facts = {
            "per_class": {name: value for name, (value, _) in classes.items()},
            "floor_per_class": {name: real for name, (_, real) in classes.items()},
        }
        name = metric if metric == "recognition" else f"geometry/{metric}"
        lines.append(json.dumps({"metric": name, "value": 0.5, "n": 8, "facts": facts}))
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "evaluation.json").write_text(json.dumps({"snapshot_sha256": digest(snapshot)}))
    return folder / "metrics.jsonl"


@pytest.fixture
def shipped(whole, tmp_path):
    """The snapshot as it would be put into the box."""
    measures = scores(
        tmp_path / "scores",
        whole,
        recognition={"coffee mug": (0.9, 1.0), "mushroom": (0.3, 1.0)},
        silhouette_iou={"coffee mug": (0.75, 0.8), "mushroom": (None, 0.8)},
    )
    ship(whole, tmp_path / "shipped.safetensors", [measures])
    return tmp_path / "shipped.safetensors"


@pytest.fixture
def boxed(shipped, tmp_path, monkeypatch):
    """A machine with that model in its box."""
    path = tmp_path / "installed" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(shipped.read_bytes())
    monkeypatch.setattr(box, "FOLDER", path.resolve().parent)
    return path


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(box, "FOLDER", tmp_path / "nothing")


# Shipping


@pytest.mark.slow
def test_half_the_bytes_give_the_same_pictures(whole, shipped):
    full, half = load_snapshot(whole), load_snapshot(shipped)
    assert {p.dtype for p in half.generator.parameters()} == {torch.float32}
    assert any(
        not torch.equal(a, b)
        for a, b in zip(full.generator.parameters(), half.generator.parameters(), strict=True)
    ), "nothing was rounded"
    for spec in object_specs(full, None, [0, 1]):
        pair = [
            rgb_to_uint8(generation.view(model, generation.generate(model, spec, 1.0), 0.3, 32).rgb)
            for model in (full, half)
        ]
        assert abs(pair[0].astype(int) - pair[1]).max() <= 2
        assert pair[0].std() > 1


def test_shipping_keeps_everything_but_bytes(whole, shipped):
    before, after = header.read_snapshot_facts(whole), header.read_snapshot_facts(shipped)
    assert (after.config, after.nimg) == (before.config, before.nimg)
    assert shipped.stat().st_size < 0.62 * whole.stat().st_size
    mug, mushroom = after.classes
    assert mug == before.classes[0] | {
        "badge": "good",
        "measures": {
            "recognition": {"value": 0.9, "real": 1.0},
            "geometry/silhouette_iou": {"value": 0.75, "real": 0.8},
        },
    }
    assert mushroom["badge"] == "rough"
    assert mushroom["measures"] == {"recognition": {"value": 0.3, "real": 1.0}}


def test_shipping_again_without_measures_keeps_the_badges(shipped, tmp_path):
    ship(shipped, tmp_path / "again.safetensors")
    again = header.read_snapshot_facts(tmp_path / "again.safetensors").classes
    assert again == header.read_snapshot_facts(shipped).classes


@pytest.mark.parametrize(
    ("recognition", "overlap", "error", "badge"),
    [
        (0.80, 0.721, 0.149, "good"),
        (0.79, 0.721, 0.149, "fair"),
        (0.80, 0.719, 0.149, "fair"),
        (0.80, 0.721, 0.151, "fair"),
        (0.50, 0.601, 0.249, "fair"),
        (0.49, 0.80, 0.10, "rough"),
        (1.00, 0.599, 0.10, "rough"),
        (1.00, 0.80, 0.251, "rough"),
        (0.80, None, None, "good"),
        (None, 0.80, 0.10, None),
    ],
)
def test_badges_follow_the_rule(recognition, overlap, error, badge):
    rows = {
        "recognition": (recognition, 1.0),
        "geometry/silhouette_iou": (overlap, 0.8),
        "geometry/depth_error": (error, 0.1),
    }
    measures = {
        name: {"value": value, "real": real} for name, (value, real) in rows.items() if value is not None
    }
    assert badge_of(measures) == badge


def test_the_later_measure_counts(whole, tmp_path):
    files = [
        scores(tmp_path / str(k), whole, recognition={"coffee mug": (value, None)})
        for k, value in enumerate((0.2, 0.9))
    ]
    (mug, mushroom) = ship(whole, tmp_path / "out.safetensors", files)
    assert (mug["badge"], mug["measures"]) == ("good", {"recognition": {"value": 0.9}})
    assert "badge" not in mushroom


def other_snapshot(folder, whole):
    path = scores(folder / "s", whole, recognition={"coffee mug": (1, 1)})
    (folder / "s/evaluation.json").write_text('{"snapshot_sha256": "0123"}')
    return path


def alone(text):
    def write(folder, _whole):
        (folder / "metrics.jsonl").write_text(text)
        return folder / "metrics.jsonl"

    return write


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (other_snapshot, "measures another snapshot, SHA-256 0123"),
        (lambda f, w: scores(f / "s", w, recognition={"zebra": (1, 1)}), "of other classes, such as 'zebra'"),
        (alone('{"metric": "fid2k", "value": 3, "n": 1, "facts": {}}\n'), "no line measures single classes"),
        (alone("hello\n"), "line 1: expected a score"),
        (alone('{"metric": "fid2k"}\n'), "line 1: expected a score"),
        (lambda f, _: f / "none.jsonl", "no measures at"),
    ],
)
def test_measures_that_do_not_belong_are_one_clear_line(whole, tmp_path, capsys, make, said):
    out = tmp_path / "out.safetensors"
    assert main(["ship", str(whole), str(out), "--measures", str(make(tmp_path, whole))]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(said, line), line
    assert not out.exists()


def test_weights_beyond_half_precision_are_refused(whole, tmp_path, capsys):
    model = load_snapshot(whole)
    with torch.no_grad():
        next(model.generator.parameters()).view(-1)[0] = 1e6
    path = tmp_path / "large.safetensors"
    save_snapshot(path, model.generator, model.config, model.classes, 0)
    assert main(["ship", str(path), str(tmp_path / "out.safetensors")]) == 2
    assert "numbers that half precision cannot" in capsys.readouterr().err
    assert main(["ship", str(path), str(tmp_path / "out.bin")]) == 2


# Using it


@pytest.mark.slow
def test_commands_without_a_snapshot_use_the_box_and_say_so_once(boxed, tmp_path, capsys):
    small = ["--grid", "16", "--color", "none", "--device", "cpu"]
    assert main(["mesh", "--class", "mushroom", *small, "--out", str(tmp_path / "m")]) == 0
    assert len(WORDS.findall(capsys.readouterr().err)) == 1
    assert main(["render", "--class", "mushroom", "--out", str(tmp_path / "r.png"), "--device", "cpu"]) == 0
    assert len(WORDS.findall(capsys.readouterr().err)) == 1
    assert main(["mesh", *small]) == 2
    assert "expected --class NAME" in capsys.readouterr().err
    assert main(["mesh", str(boxed), "--class", "mushroom", *small, "--out", str(tmp_path / "n")]) == 0
    assert not WORDS.findall(capsys.readouterr().err)


@pytest.mark.slow
def test_a_recipe_of_the_box_is_followed_on_another_machine(boxed, tmp_path, capsys, monkeypatch):
    first, again = tmp_path / "first", tmp_path / "elsewhere" / "again"
    spec = ["--class", "coffee mug", "--seeds", "3", "--grid", "20", "--faces", "200", "--texture-size", "64"]
    assert main(["mesh", *spec, "--format", "obj,glb", "--out", str(first), "--device", "cpu"]) == 0
    recipe = json.loads((first / "coffee_mug-0003.recipe.json").read_text())
    assert (recipe["snapshot"], recipe["snapshot_sha256"]) == ("box", digest(boxed))
    assert "snapshot_path" not in recipe
    assert not {"badge", "measures"} & set(recipe["class"])
    everything = b"".join(path.read_bytes() for path in first.iterdir())
    assert str(tmp_path).encode() not in everything

    moved = tmp_path / "another machine" / "model.safetensors"
    moved.parent.mkdir()
    boxed.rename(moved)
    monkeypatch.setattr(box, "FOLDER", moved.resolve().parent)
    command = ["mesh", "--recipe", str(first / "coffee_mug-0003.recipe.json"), "--device", "cpu"]
    assert main([*command, "--format", "obj,glb", "--out", str(again)]) == 0
    for name in ("coffee_mug-0003.obj", "coffee_mug-0003.glb", "coffee_mug-0003.png"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name

    moved.write_bytes(moved.read_bytes() + b" ")
    capsys.readouterr()
    assert main(command) == 2
    assert re.search(r"is not the recipe's snapshot: .*; it was the one of gp3d 0\.", capsys.readouterr().err)


def test_a_missing_box_is_one_clear_line(empty, tmp_path, capsys):
    for command in (
        ["mesh", "--class", "mushroom"],
        ["render", "--out", str(tmp_path / "x.png")],
        ["classes"],
    ):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "the pretrained model is not at" in line
        assert "install gp3d again, or name a snapshot" in line


def test_classes_are_listed_with_badges(boxed, whole, capsys):
    assert main(["classes"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["947", "n07734744", "rough", "mushroom", "food"],
        ["504", "n03063599", "good", "coffee", "mug", "containers"],
    ]
    assert main(["classes", "--json"]) == 0
    mug, _ = json.loads(capsys.readouterr().out)
    assert (mug["imagenet_index"], mug["wnid"], mug["badge"]) == (504, "n03063599", "good")
    assert mug["measures"]["recognition"] == {"value": 0.9, "real": 1.0}
    assert main(["classes", str(whole.parents[1])]) == 0  # a run's newest, not measured
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["–", "–"]


def events_of_a_first_load(options):
    """What a worker says that is told to load at its start."""
    reading, writing = os.pipe()
    queue = JobQueue(writing)
    queue.accept(Job(Request("", "load", options), None))
    worker = Worker(queue, "cpu", 2**20)
    worker.run(queue.take(0))
    worker.answer(b'{"id": "1", "op": "classes"}')
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        return [json.loads(line) for line in lines]


def test_worker_without_a_snapshot_loads_the_box(boxed):
    events = events_of_a_first_load({"snapshot": None, "device": None})
    (ready,) = [event for event in events if event["event"] == "ready"]
    assert (ready["snapshot"]["name"], ready["snapshot"]["sha256"]) == ("box", digest(boxed)[:12])
    assert [entry["badge"] for entry in events[-1]["classes"]] == ["good", "rough"]
    assert read_request(b'{"id": "2", "op": "load", "snapshot": null}').options["snapshot"] is None


def test_worker_without_a_box_says_so_and_waits(empty):
    (error, asked) = [e for e in events_of_a_first_load({"snapshot": None, "device": None}) if "code" in e]
    assert (error["id"], error["code"], asked["code"]) == (None, "E_NO_WEIGHTS", "E_NO_WEIGHTS")
    assert "the pretrained model is not at" in error["message"]


def test_serve_announces_the_box_on_stderr(boxed, capsys, monkeypatch):
    called = []
    monkeypatch.setattr("gp3d_core.worker.server.serve", lambda snapshot, **_: called.append(snapshot) or 0)
    assert main(["serve"]) == 0
    said = capsys.readouterr()
    assert (called, said.out, len(WORDS.findall(said.err))) == ([None], "", 1)


def test_doctor_tells_of_the_box(boxed, monkeypatch):
    check = doctor.check_box()
    assert check.status == "ok"
    assert re.fullmatch(
        rf"the pretrained model: 2 classes, 0\.\d MB, SHA-256 {digest(boxed)[:12]}", check.found
    )
    boxed.write_bytes(boxed.read_bytes()[:500])
    assert doctor.check_box().status == "note"
    boxed.unlink()
    assert doctor.check_box() == doctor.Check(
        "box",
        "note",
        "the pretrained model is missing",
        "install gp3d again; until then, name a model of your own in every command",
    )


@pytest.mark.parametrize("there", [True, False])
def test_demo_begins_with_an_asset(there, request, tmp_path, monkeypatch, capsys):
    request.getfixturevalue("boxed" if there else "empty")
    calls = []
    monkeypatch.setattr(demo, "_call", lambda *words: calls.append([str(word) for word in words]))
    monkeypatch.setattr(demo, "_write_preview", lambda *_: None)
    monkeypatch.setattr(demo, "_what_was_learnt", lambda *_: "")
    assert demo.run_demo(tmp_path / "demo", demo.Budget(8, 8, math.inf)) == 0
    kinds = [call[1] if call[0] == "gp3d_core.cli" else call[0] for call in calls]
    data = ["synthetic.shapes", "synthetic.points", "synthetic.render"]
    assert kinds == [*["mesh"] * there, *data, "ground", "train", "mesh"]
    said = capsys.readouterr()
    if there:
        assert calls[0][2:4] == ["--class", demo.CLASSES[0]]  # no snapshot between them
        assert f"{tmp_path / 'demo' / 'asset'}  a coffee mug" in said.out
    assert ("left out, the pretrained model is missing" in said.err) == (not there)


def classes_of(path):
    return header.read_snapshot_facts(path).classes


@pytest.mark.parametrize("model", box.shipped_models(also_named=True), ids=lambda model: model.name)
def test_what_is_in_the_box_keeps_its_promises(model):
    facts = header.read_snapshot_facts(model.path)
    assert model.path.stat().st_size <= 30e6
    assert len(facts.classes) >= 40 or model.name == "zoo"
    assert {r["badge"] for r in facts.classes if "measures" in r} <= {"good", "fair", "rough"}
    assert model.name == "zoo" or SimpleNamespace(**facts.classes[0]).wnid
    from safetensors import safe_open

    with safe_open(model.path, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118
    asked = {terms_of(part.licence).kind for part in facts.licences.parts}
    assert not asked & {"unknown", "restricted", "other"}, (
        "models on such terms are not for a pretrained model"
    )
    if model.own:
        assert asked <= {"free", "notice"}
        assert facts.license
    else:
        page = model.path.with_name(f"{model.name}.LICENSE.md").read_text(encoding="utf-8")
        assert page_of(model.path) in page, f"gp3d card {model.name} writes it; licence texts may follow"
        assert facts.license
        assert "share-alike" not in asked or "CC-BY-SA" in facts.license


@pytest.mark.slow
def test_scenes_of_the_box_show_their_class_in_its_colour_before_a_far_wall():
    prior = load_prior(Path("box"))
    files = [box.vq3d_tokenizer(), box.vq3d_prior()]
    assert sum(file.stat().st_size for file in files) <= 30e6
    assert prior.tokenizer.path == files[0]
    names = {record["name"] for one in box.shipped_models(also_named=True) for record in classes_of(one.path)}
    assert {record["name"] for record in prior.classes} <= names
    shares = {
        "strawberry": (1.0, -0.7, -0.3),
        "Granny Smith": (-0.4, 1.0, -0.6),
        "school bus": (0.6, 0.2, -0.8),
    }
    for name, weights in shares.items():
        scenes = scenes_of_codes(
            prior.tokenizer, prior.sample(name, [0, 1, 2, 3], Sampling(temperature=0.7)), [name] * 4
        )
        views = [scene.view() for scene in scenes]
        rgb = torch.cat([view.rgb for view in views])
        tint = torch.einsum("bchw,c->bhw", rgb, torch.tensor(weights))
        middle, border = tint[:, 24:40, 24:40].mean(), tint[:, :8].mean()
        assert middle > border + 0.1, name
        near = torch.cat([view.disparity for view in views])
        assert (near[:, 28:44, 26:38].mean(dim=(1, 2)) > 1.5 * near[:, :8].mean(dim=(1, 2))).all()
