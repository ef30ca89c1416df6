# ruff: noqa: F811
"""`gp3d evaluate` on spheres and the smallest generator: numbers, repetition, resume, processes, refusals, report."""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from gp3d_core.cli.main import main
from gp3d_core.distributed import World
from gp3d_core.evaluation import run
from gp3d_core.evaluation import world_split as portions
from gp3d_core.evaluation.flatness import measure_flatness
from gp3d_core.evaluation.images import image_scores
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.run import parse_metrics
from gp3d_core.evaluation.samples import EvaluationError, to_uint8
from gp3d_core.evaluation.world_split import PORTION, Portions
from gp3d_core.metrics.features import FeatureNetwork
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.metrics.score import Score
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot
from tests.support.evaluating import (
    by_hand,
    command,
    data,  # noqa: F401
    nine_numbers,
    place,  # noqa: F401
    sampler_of,
    scores_in,
    snapshot,  # noqa: F401
)
from tests.support.tiny_dataset import CLASSES, write_dataset


@pytest.mark.slow
def test_every_score_says_what_it_rests_on(place, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(command(place, out, "kid,is,pr", "--samples", "20")) == 0
    scores = scores_in(out)
    names = ["is", "kid", "pr/precision", "pr/recall"]
    assert sorted(scores) == [f"squeezenet-{name}" for name in names]
    for record in scores.values():
        assert record["n"] == 20
        facts = record["facts"]
        assert facts["network"].startswith("torchvision:squeezenet1_0")
        assert facts["cameras"].startswith("prior: yaw normal 0 ± 0.3927")
        assert facts["cameras"].endswith("then the camera generator (angles)")
        assert (facts["truncation"], facts["seed"], facts["reference"]) == (1.0, 0, "data")
    assert scores["squeezenet-kid"]["facts"]["reference_n"] == 8
    assert str(out / "report.html") in capsys.readouterr().out


@pytest.mark.slow
def test_the_same_command_repeats_its_numbers_and_another_seed_has_others(place, tmp_path) -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert main(command(place, tmp_path / name, "kid,is", "--samples", "16", "--seed", seed)) == 0
    first, second, third = (scores_in(tmp_path / name) for name in "abc")
    assert first == second
    assert all(first[name]["value"] != pytest.approx(third[name]["value"], rel=1e-6) for name in first)
    main(command(place, tmp_path / "a", "kid,is", "--samples", "16"))
    assert scores_in(tmp_path / "a") == first


@pytest.mark.slow
def test_fid2k_is_the_distance_of_2048_generated_images_to_all_real_ones(snapshot, data, tmp_path) -> None:
    sampler = sampler_of(snapshot, data)
    scores = image_scores(sampler, data, by_hand(), tmp_path / "out", tmp_path / "cache")
    scores.prepare(["fid2k"], 50, World())
    [score] = scores.measure("fid2k", 50)
    real = torch.stack([torch.tensor(data.load(i)[0]).permute(2, 0, 1) for i in range(len(data))])
    fake = torch.cat([to_uint8(sampler.block(number).rgb) for number in range(128)])
    expected = frechet_distance(fit_gaussian([nine_numbers(real)[0]]), fit_gaussian([nine_numbers(fake)[0]]))
    assert score.value == pytest.approx(expected, rel=1e-9)
    assert (score.metric, score.n, score.facts["reference_n"]) == ("means-fid2k", 2048, 8)
    assert "fewer images than the 9 features" in score.facts["caution"]


def test_portions_go_on_where_they_stopped(tmp_path) -> None:
    calls = []

    def produce(start, stop):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append((start, stop))
        return {"x": torch.arange(start, stop).float()[:, None]}

    portions = Portions(tmp_path / "rows", produce)
    with pytest.raises(KeyboardInterrupt):
        portions.complete(3 * PORTION + 10, "rows", World())
    assert sorted(path.name for path in portions.folder.iterdir()) == [
        "rows-00000000.safetensors",
        f"rows-{PORTION:08d}.safetensors",
    ]
    damaged = portions.folder / f"rows-{PORTION:08d}.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    calls.clear()
    rest = Portions(portions.folder, lambda *span: calls.append(span) or {"x": torch.arange(*span)[:, None]})
    rest.complete(3 * PORTION + 10, "rows", World())
    assert calls == [(k * PORTION, min((k + 1) * PORTION, 3 * PORTION + 10)) for k in (1, 2, 3)]
    assert torch.equal(torch.cat(list(rest.read("x", 700)))[:, 0].long(), torch.arange(700))
    chosen = torch.tensor([0, 5, PORTION, 3 * PORTION + 9])
    assert torch.equal(rest.rows("x", chosen)[:, 0].long(), chosen)


@pytest.mark.slow
def test_more_samples_use_those_that_are_there(snapshot, data, tmp_path) -> None:
    few = image_scores(sampler_of(snapshot, data), data, by_hand(), tmp_path / "few", tmp_path / "cache")
    few.prepare(["kid"], 20, World())
    few.prepare(["kid"], 300, World())
    many = image_scores(sampler_of(snapshot, data), data, by_hand(), tmp_path / "many", tmp_path / "cache")
    many.prepare(["kid"], 300, World())
    assert few.measure("kid", 300) == many.measure("kid", 300)


def test_real_features_are_looked_at_once_for_all_evaluations(snapshot, data, tmp_path) -> None:
    seen = []

    def look(images):
        seen[-1] += len(images)
        return nine_numbers(images)

    for name in ("a", "b"):
        seen.append(0)
        network = FeatureNetwork("means-", {}, "0" * 64, look)
        scores = image_scores(sampler_of(snapshot, data), data, network, tmp_path / name, tmp_path / "cache")
        scores.prepare(["kid"], 16, World())
    assert seen == [8 + 16, 16]


def three_numbers(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = images.float().mean(dim=(2, 3))
    return means, means


ONE_OF_TWO = f"""
import functools
import sys
import torch
from pathlib import Path
from gp3d_core.evaluation import world_split as portions
from gp3d_core.evaluation import run
from gp3d_core.metrics.features import FeatureNetwork
{inspect.getsource(three_numbers)}
portions.PORTION = 16
run.measure_flatness = functools.partial(run.measure_flatness, n=4)
run.open_network = lambda *_: FeatureNetwork("means-", {{}}, "0" * 64, three_numbers)
place, out = map(Path, sys.argv[1:])


request = run.EvaluationOptions(metrics=("kid", "is", "nfs"), samples=40, cache=out.with_suffix(".cache"))
run.evaluate(place / "snapshot.safetensors", place / "data", out, request)
"""


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(place, tmp_path, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    two = [  # as torchrun starts them
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_TWO, str(place), str(tmp_path / "two")],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "PYTHONPATH": os.getcwd()},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    monkeypatch.setattr(portions, "PORTION", 16)
    monkeypatch.setattr(run, "measure_flatness", functools.partial(measure_flatness, n=4))
    monkeypatch.setattr(run, "open_network", lambda *_: FeatureNetwork("means-", {}, "0" * 64, three_numbers))
    request = run.EvaluationOptions(metrics=("kid", "is", "nfs"), samples=40, cache=tmp_path / "one.cache")
    run.evaluate(place / "snapshot.safetensors", place / "data", tmp_path / "one", request)
    errors = [process.communicate(timeout=200)[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], errors
    said = "gp3d: only the first of 2 processes measures nfs"
    assert [log.splitlines().count(said) for log in errors] == [1, 0]
    assert scores_in(tmp_path / "one") == scores_in(tmp_path / "two")
    rows = [sorted(path.name for path in (tmp_path / n).glob("features/*/rows*")) for n in ("one", "two")]
    assert len(rows[0]) == 3
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_the_report_is_one_page_that_needs_no_other_file(place, tmp_path) -> None:
    out = tmp_path / "out"
    main(command(place, out, "is", "--samples", "16"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "squeezenet-is" in page
    assert page.count('src="data:image/png;base64,') == page.count("<img") >= 1
    assert not any(part in page for part in ('src="http', "<link", "<script"))


def test_what_a_report_quotes_cannot_be_markup(tmp_path) -> None:
    from gp3d_core.evaluation.report.page import write_report

    folder = EvaluationFolder(tmp_path / "out")
    folder.claim({"snapshot": "<b>name</b>", "dataset": "d"})
    folder.keep("x", {}, [Score(metric="<i>x</i>", value=math.nan, n=1, facts={"<u>": "<s>"})])
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    assert not any(tag in page for tag in ("<b>", "<i>", "<u>", "<s>"))
    assert json.loads((folder.path / "metrics.jsonl").read_text())["value"] is None


def test_the_picture_shows_real_and_generated_things_of_the_same_classes(snapshot, data) -> None:
    from gp3d_core.evaluation.report.sheets import draw_samples

    sampler = sampler_of(snapshot, data)
    pixels = np.asarray(draw_samples(sampler, data)).astype(int)
    labels = sampler.latents("images", 0, 16).c.argmax(dim=1).tolist()
    height = pixels.shape[0] // 8
    for k, label in enumerate(labels):
        row, column = 4 * (k // 8) * height + 20 + 64, 2 + (k % 8) * 130 + 64
        red, _, blue = pixels[row, column]  # the middle of a sphere, red for mugs and blue for mushrooms
        assert (red < blue) == bool(label), k


@pytest.mark.slow
def test_real_images_need_no_depth(place, snapshot, data, tmp_path) -> None:
    from gp3d_core.evaluation.report.sheets import draw_samples

    bare = write_dataset(tmp_path / "data", images=8)
    for path in bare.rglob("*_depth.png"):
        path.unlink()
    arguments = [
        str(bare) if a == str(place / "data") else a for a in command(place, tmp_path / "out", "kid")
    ]
    assert main([*arguments, "--samples", "2"]) == 0
    with_depth = draw_samples(sampler_of(snapshot, data), data)
    bare_height = Image.open(tmp_path / "out" / "samples.png").height
    assert 8 * (bare_height - 2) == 6 * (with_depth.height - 2)  # two of eight rows less


def refusal(capsys, arguments: list[str]) -> str:
    assert main(arguments) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_wrong_commands_are_refused_in_one_line_before_anything_is_written(place, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    write_dataset(tmp_path / "large", images=4, resolution=32)
    strange = write_dataset(tmp_path / "strange", images=4)
    header = json.loads((strange / "dataset.json").read_text())
    header["classes"][0]["name"] = "zebra"
    (strange / "dataset.json").write_text(json.dumps(header))
    (tmp_path / "noise").write_bytes(b"noise")
    on_large, on_strange = (
        [str(tmp_path / name) if a == str(place / "data") else a for a in command(place, out, "kid")]
        for name in ("large", "strange")
    )
    cases = [
        (command(place, out, "fid2,kid"), "--metrics fid2: did you mean fid2k[?] Known are fid2k, fid50k"),
        (command(place, out, "fid50k"), "fid50k needs at least 1000 real images, .*data has 8: fid2k"),
        (command(place, out, "is", "--samples", "9"), "is needs --samples of at least 10, asked for are 9"),
        (on_large, "large has 32 px images, .*snapshot.safetensors makes 16 px"),
        (on_strange, "has the class 'zebra', which .*snapshot.safetensors was not trained on"),
        (
            command(place, out, "kid", "--weights", str(tmp_path / "none.pth")),
            "--weights: nothing is at .*none.pth",
        ),
        (command(place, out, "kid", "--features", "dino"), "--features dino: expected one of"),
        (command(place, out, "nfs", "--features", "dino"), "--features dino: expected one of"),
        (command(place, tmp_path, "kid"), "--out .* exists and is no evaluation"),
        (command(place, tmp_path / "noise", "kid"), "noise: expected a folder, found a file"),
        (command(place, out, "shapes"), "shapes compares with models: .*--truth MODELS"),
        (command(place, out, "fpd", "--truth", str(tmp_path)), "--pointnet FILE"),
        (["evaluate", "--out", str(out)], "expected SNAPSHOT and DATASET, or --meshes DIR"),
        (["evaluate", "--meshes", str(tmp_path), "--out", str(out)], "--meshes needs --truth MODELS"),
    ]
    for arguments, message in cases:
        assert re.search(message, refusal(capsys, arguments)), message
        assert not out.exists()


@pytest.mark.slow
def test_the_folder_of_another_evaluation_is_refused_and_stays(place, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(command(place, out, "is", "--samples", "16")) == 0
    before = scores_in(out)
    capsys.readouterr()
    assert "with seed = 0, asked for is 1; choose another folder" in refusal(
        capsys, command(place, out, "is", "--seed", "1")
    )
    other = tmp_path / "other.safetensors"
    loaded = load_snapshot(place / "snapshot.safetensors")
    save_snapshot(other, loaded.generator, loaded.config, CLASSES, nimg=25)
    arguments = command(place, out, "is")
    arguments[1] = str(other)
    assert "holds an evaluation with nimg = 24, asked for is 25" in refusal(capsys, arguments)
    assert scores_in(out) == before


def test_metrics_are_read_once_each_and_need_a_name() -> None:
    assert parse_metrics(" kid, nfs,kid ") == ("kid", "nfs")
    with pytest.raises(EvaluationError, match="names with commas"):
        parse_metrics(" , ")
