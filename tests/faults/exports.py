"""Commands in small that make files of what is there, by name: they need no folder for themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file

from gp3d_core.cli.main import main
from gp3d_core.networks.squeezenet import SqueezeNet
from synthetic import export
from tests.faults.works import Work
from tests.support.micro import micro_snapshot
from tests.support.tasks import Small
from tests.support.tiny_dataset import write_dataset
from tests.support.truth_dataset import write_truth
from tests.support.two_processes import run_alone
from tests.synthetic.exchange.boxes_data import write_boxes, write_library

SEEDS = ("--class", "coffee mug,mushroom", "--seeds", "0-1", "--device", "cpu")
_LEFT = (
    ".tmp",
)  # half-written files of killed ones go ten minutes later: no lock says that nobody writes them
_OF_THE_CLOCK = (
    *_LEFT,
    "metrics.jsonl",
    "evaluation.json",
    "report",
    "index.html",
)  # they hold seconds or dates


def _snapshot(place: Path) -> str:
    return str(micro_snapshot(place / "model", 4))


def shipping(place: Path) -> Work:
    words = ["ship", _snapshot(place), str(place / "out" / "model.safetensors"), "--license", "CC0"]
    return Work(main, words, [], "model.safetensors", place / "out", _LEFT)


def shipping_scenes(place: Path) -> Work:
    small = Small("prior", place / "input").write()
    words = ["vq3d", "ship", str(small.folder / "tokenizer.safetensors"), str(place / "out.safetensors")]
    return Work(main, words, [], "out.safetensors", place, _LEFT)


def meshing(place: Path) -> Work:
    words = ["mesh", _snapshot(place), "--out", str(place / "out"), "--grid", "12", "--texture-size", "32"]
    return Work(main, [*words, *SEEDS], [], "*.obj", place / "out", _LEFT)


def drawing(place: Path) -> Work:
    words = [
        "render",
        _snapshot(place),
        "--out",
        str(place / "out"),
        "--kind",
        "stills",
        "--resolution",
        "16",
    ]
    return Work(main, [*words, *SEEDS], [], "*.png", place / "out", _LEFT)


def showing(place: Path) -> Work:
    made = ["mesh", _snapshot(place), "--out", str(place / "in"), "--grid", "12", "--color", "vertex"]
    assert run_alone(partial(main, [*made, "--format", "glb", *SEEDS]), place / "log") == 0
    words = ["gallery", str(place / "in"), "--out", str(place / "page.html")]
    return Work(main, words, [], "page.html", place, _LEFT)


def lifting(place: Path) -> Work:
    write_dataset(place / "set", images=2, resolution=32)
    for name in ("a", "b"):
        picture = next((place / "set").rglob("*_000.png"))
        Image.open(picture).save(place / f"{name}.png")
        Image.open(picture.with_name(f"{picture.stem}_depth.png")).save(place / f"{name}_depth.png")
    words = ["lift", str(place / "a.png"), "--depth", str(place / "a_depth.png"), "--kind", "metric"]
    return Work(main, [*words, "--fov", "50", "--out", str(place / "out.glb")], [], "out.glb", place, _LEFT)


def evaluating(place: Path) -> Work:
    write_dataset(place / "set")
    torch.manual_seed(3)
    save_file(SqueezeNet().state_dict(), place / "weights.safetensors")
    words = [
        "evaluate",
        _snapshot(place),
        str(place / "set"),
        "--out",
        str(place / "out"),
        "--metrics",
        "nfs",
    ]
    words += ["--features", "torchvision:squeezenet1_0", "--weights", str(place / "weights.safetensors")]
    words += ["--samples", "8", "--shapes", "2", "--device", "cpu", "--cache", str(place / "cache")]
    return Work(main, words, [], "*.json", place, _OF_THE_CLOCK)


def reporting(place: Path) -> Work:
    """The report card, whose folder is one evaluation's at a time."""
    write_truth(place / "set", resolution=16)
    words = ["evaluate", _snapshot(place), str(place / "set"), "--report", "--shapes", "2", "--device", "cpu"]
    words += ["--out", str(place / "out")]
    return Work(
        main, words, [words, [*words, "--seed", "3"]], "cards/index.html", place / "out", _OF_THE_CLOCK
    )


def exporting(place: Path, to: str, *more: str) -> Work:
    write_boxes(place / "set", write_library(place / "models"), place / "scratch")
    words = [str(place / "set"), str(place / "out"), "--to", to, *more]
    return Work(export.main, words, [], "*", place / "out", _LEFT)


def restoring(place: Path) -> Work:
    work = exporting(place, "nerf")
    assert run_alone(partial(export.main, work.words), place / "log") == 0
    words = [str(place / "out"), str(place / "back"), "--to", "gp3d"]
    return Work(export.main, words, [], "*", place / "back", _LEFT)


EXPORTS: dict[str, Callable[[Path], Work]] = {
    "ship": shipping,
    "ship scenes": shipping_scenes,
    "mesh": meshing,
    "stills": drawing,
    "gallery page": showing,
    "lift": lifting,
    "evaluate": evaluating,
    "report card": reporting,
    "export to NeRF": partial(exporting, to="nerf"),
    "export to BOP": partial(exporting, to="bop"),
    "export to tars": partial(exporting, to="webdataset"),
    "export back": restoring,
}
