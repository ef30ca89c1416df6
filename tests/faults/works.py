"""The long commands in small, by name: data to work on, words, and what is their result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from gp3d_core.cli.main import main
from gp3d_core.networks.squeezenet import SqueezeNet
from synthetic import points, render
from synthetic.library import __main__ as library
from synthetic.shapes import __main__ as shapes
from tests.support.tasks import KINDS, Small
from tests.support.tiny_dataset import write_dataset
from tests.support.two_processes import run_alone

OF_THE_CLOCK = ("stats.jsonl", "status.json", "tensorboard", "checkpoints")  # of a run: they hold seconds


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


def selecting(place: Path) -> Work:
    write_dataset(place / "set")
    np.save(place / "given.npy", np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    taken = ["data", "features", str(place / "set"), "--teacher", str(place / "given.npy")]
    assert run_alone(partial(main, taken), place / "log") == 0
    words = ["data", "select", str(place / "set"), str(place / "part"), "--keep", "5", "--files", "copy"]
    return Work(main, words, [words, [*words[:-1], "link"]], "n07734744/*.png", place, ("_selection.png",))


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
    "select": selecting,
    "shapes": making_shapes,
    "library": varying,
    "points": making_points,
    "render": rendering,
}
