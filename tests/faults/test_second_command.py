"""A second command on a folder in use ends in one line, touches nothing, and the first ends as if it had been alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gp3d_core.cli.main import main
from gp3d_core.networks.squeezenet import SqueezeNet
from synthetic import points, render
from synthetic.library import __main__ as library
from synthetic.shapes import __main__ as shapes
from tests.support.tasks import KINDS, Small
from tests.support.tiny_dataset import write_dataset
from tests.support.two_processes import content, run_alone, stopped_at

pytestmark = pytest.mark.slow
OF_THE_CLOCK = ("stats.jsonl", "status.json", "tensorboard", "checkpoints")  # of a run: they hold seconds


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """OpenMP's threads do not survive a fork."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Work:
    """A command, what else may be tried on its folder, and the file before whose naming it is stopped."""

    main: Callable[[list[str]], int]
    words: list[str]
    others: list[list[str]]
    pause: str  # a pattern
    folder: Path
    left_out: tuple[str, ...] = ()


def training(place: Path, kind: str) -> Work:
    small = Small(kind, place / "input").write()
    run = place / "run"
    short = ("kimg=0.012", "status_kimg=0.012")
    words = small.command(run, *short)
    others = [small.command(run, *short, "seed=5"), small.command(run, "kimg=0.016")]
    return Work(main, words, [words, *others], "checkpoint-0000000008.safetensors", run, OF_THE_CLOCK)


def packing(place: Path) -> Work:
    write_dataset(place / "input")
    words = ["data", "pack", str(place / "input"), str(place / "set"), "--resolution", "8", "--workers", "1"]
    words += ["--layout", "classes"]
    return Work(main, words, [words, [*words, "--fit", "letterbox"]], "ball03_000.png", place / "set")


def packing_zip(place: Path) -> Work:
    work, name = packing(place), str(place / "set.zip")
    words = [*work.words[:3], name, *work.words[4:]]
    return Work(main, words, [words, [*words, "--fit", "letterbox"]], "ball03_000.png", place)


def maps(place: Path, verb: str, source: str, pause: str) -> Work:
    for name in ("set", "maps"):
        write_dataset(place / name)
    for folder, ending in (("set", "_depth.png"), ("maps", "[0-9].png" if verb == "depth" else "_depth.png")):
        for path in (place / folder).rglob(f"*{ending}"):
            path.unlink()
    words = ["data", verb, str(place / "set"), source, str(place / "maps"), "--batch", "2"]
    return Work(main, words, [words, [*words, "--overwrite"]], pause, place / "set")


def features(place: Path) -> Work:
    write_dataset(place / "set")
    torch.manual_seed(0)
    save_file(SqueezeNet().state_dict(), place / "weights.safetensors")
    words = ["data", "features", str(place / "set"), "--teacher", "torchvision:squeezenet1_0", "--batch", "2"]
    words += ["--weights", str(place / "weights.safetensors")]
    return Work(
        main, words, [words, [*words, "--flips"]], ".set_torchvision-squeezenet1_0.f32.progress.json", place
    )


def making_shapes(place: Path) -> Work:
    out = str(place / "models")
    words = [out, "--classes", "barrel", "--per-class", "3"]
    return Work(shapes.main, words, [words, [out, "--classes", "vase"]], "models/*/*", place / "models")


def library_of(place: Path) -> Path:
    out = place / "input"
    assert (
        run_alone(partial(shapes.main, [str(out), "--classes", "barrel", "--per-class", "2"]), place / "log")
        == 0
    )
    return out


def varying(place: Path) -> Work:
    words = ["vary", str(library_of(place)), str(place / "models"), "--per-class", "6", "--variants", "4"]
    others = [words, [*words, "--seed", "4"], [*words, "--retry"]]
    return Work(library.main, words, others, "models/*/*", place / "models")


def making_points(place: Path) -> Work:
    words = [str(library_of(place)), str(place / "set"), "--points", "64", "--workers", "1"]
    return Work(points.main, words, [words, [*words, "--seed", "3"]], "models.jsonl", place / "set")


def rendering(place: Path) -> Work:
    words = [
        str(library_of(place)),
        str(place / "set"),
        "--views",
        "1",
        "--resolution",
        "8",
        "--samples",
        "1",
    ]
    words += ["--workers", "1"]
    others = [words, [*words, "--seed", "3"], [*words, "--shard", "1/2"]]
    return Work(render.main, words, others, "dataset.json", place / "set")


WORKS: dict[str, Callable[[Path], Work]] = {
    **{kind: partial(training, kind=kind) for kind in KINDS},
    "pack": packing,
    "pack to a zip": packing_zip,
    "depth": partial(maps, verb="depth", source="--from", pause="ball03_000_depth.png"),
    "mask": partial(maps, verb="mask", source="--masks", pause="ball03_000_mask.npz"),
    "features": features,
    "shapes": making_shapes,
    "library": varying,
    "points": making_points,
    "render": rendering,
}


@pytest.mark.parametrize("name", WORKS)
def test_a_second_command_is_refused_and_harms_nothing(name: str, tmp_path: Path) -> None:
    place = tmp_path / "place"  # the same for both: some files hold names
    place.mkdir()
    work = WORKS[name](place)
    log, second = tmp_path / "log", tmp_path / "second"
    before = tmp_path / "before"
    shutil.copytree(place, before)
    assert run_alone(partial(work.main, work.words), log) == 0, log.read_text()
    alone = {file: data for file, (data, _) in content(work.folder, work.left_out).items()}
    assert alone
    shutil.rmtree(place)
    shutil.copytree(before, place)
    with stopped_at(work.pause, partial(work.main, work.words), log) as go_on:
        held = content(place)
        for words in work.others:
            assert run_alone(partial(work.main, words), second) == 2
            said = second.read_text().splitlines()
            assert len(said) == 1
            assert "another process" in said[0]
            assert content(place) == held
        assert go_on() == 0, log.read_text()
    assert {file: data for file, (data, _) in content(work.folder, work.left_out).items()} == alone
