"""`gp3d demo`: an asset of the pretrained model, then the whole main job at a small size; each stage is a command.

OUT/asset     a textured object in seconds, and views of it
OUT/models    procedural objects in ShapeNet layout      OUT/grounding   the run that learns from known shapes
OUT/dataset   their renders, depth and points            OUT/train       the adversarial run that begins there
OUT/meshes    a textured mesh of each class              OUT/turn.gif    the demo's own objects, turned
OUT/preview.png   the pretrained model, the renders learnt from, and what the demo's own model makes
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.errors import GP3DError
from gp3d_core.pretrained import has_pretrained
from gp3d_core.signals import Stopped, passing_on, stop_signals
from gp3d_core.visualization import save_picture, sheet

if TYPE_CHECKING:
    from gp3d_core.snapshots.snapshot import Snapshot

CLASSES = ("coffee mug", "king penguin", "mushroom", "table lamp")
PRETRAINED = (
    "coffee mug",
    "king penguin",
    "mushroom",
    "table lamp",
    "teapot",
    "school bus",
    "throne",
    "vase",
)
MODELS_PER_CLASS = 48
VIEWS = 4
RESOLUTION = 64
PRESET = "demo-64"
_GENTLE_RATE = 0.0001  # the adversarial game corrects what is there: at 0.0005 handles and colours were lost
_HEAD_START = 0.5  # share of the images that the discriminator sees before the generator moves
_GROUNDING_TIME = 0.75  # share of the minutes, where they are limited
_TILE = 128
_COLUMNS = 8
_FRONT, _BACK = 0.5, 0.5 + math.pi
_FRAMES = 24
_REPEATS = 3  # a film has 30 pictures a second, and a turn should last longer than one


class StageError(GP3DError):
    """A stage of the demo that failed; the message names it and its command."""


@dataclass(frozen=True)
class Budget:
    """How much is learnt: `objects` seen while grounding, `images` in the adversarial game, at most `minutes`."""

    objects: int
    images: int
    minutes: float


def run_demo(out: Path, budget: Budget) -> int:
    """Runs all stages in the folder `out`, going on where an earlier run stopped; returns the exit code.

    With the same budget, and no limit of minutes, two runs learn the same. Raises StageError when a stage fails.
    """
    names = ("asset", "models", "dataset", "grounding", "train", "meshes")
    asset, models, dataset, grounding, run, meshes = (out / name for name in names)
    out.mkdir(parents=True, exist_ok=True)
    times: dict[str, float] = {}
    if has_pretrained():
        with _stage("asset", times):
            _gp3d("mesh", "--class", CLASSES[0], "--seeds", 0, "--out", asset, "--compare")
        print(f"a {CLASSES[0]} after {times['asset']:.0f} s: {asset}", file=sys.stderr)
    else:
        print("-- asset: left out, the pretrained model is missing", file=sys.stderr)
    with _stage("data", times):
        _make_data(models, dataset)
    with _stage("grounding", times):
        _ground(dataset, grounding, budget)
    with _stage("training", times):
        _train(dataset, run, grounding, budget)
    with _stage("meshes", times):
        _gp3d("mesh", run, "--seeds", 0, "--out", meshes, "--grid", 96, "--faces", 20000, "--device", "cpu")
    with _stage("preview", times):
        _write_preview(out, dataset, grounding, run, meshes)
    print(f"\nDone: {', '.join(f'{name} {seconds:.0f} s' for name, seconds in times.items())}.")
    print(_what_was_learnt(grounding, run))
    for path, what in (
        *([(asset, f"a {CLASSES[0]} of the pretrained model")] if "asset" in times else []),
        (models, "objects in ShapeNet layout"),
        (dataset, "renders with depth, masks and cameras; points"),
        (grounding, "run that learnt from known shapes"),
        (run, "adversarial run that began there: snapshots, samples, curves"),
        (meshes, "textured meshes (.obj + .mtl + .png)"),
        (out / "turn.gif", "the demo's own objects, turned"),
        (out / "preview.png", "look here first"),
    ):
        print(f"  {path}  {what}")
    return 0


def _make_data(models: Path, dataset: Path) -> None:
    """Objects, what is solid of them, and their renders from all sides."""
    classes = ",".join(CLASSES)
    _call("synthetic.shapes", models, "--classes", classes, "--per-class", MODELS_PER_CLASS, "--seed", 0)
    _call("synthetic.points", models, dataset, "--points", 8192, "--seed", 0)
    cameras = ("--preset", "turntable", "--turn", VIEWS, "--yaw", 0, 0.8, "--pitch", 1.22, 0.25)
    size = ("--views", VIEWS, "--resolution", RESOLUTION, "--seed", 0)
    _call("synthetic.render", models, dataset, *cameras, *size)


def _ground(dataset: Path, grounding: Path, budget: Budget) -> None:
    """Learns from the known shapes."""
    settings = ("--preset", PRESET, "--set", f"training.kimg={budget.objects / 1000}", "--device", "cpu")
    _gp3d("ground", dataset, grounding, *settings, *_limit(budget.minutes * _GROUNDING_TIME))


def _train(dataset: Path, run: Path, grounding: Path, budget: Budget) -> None:
    """Goes on from there with the adversarial game."""
    kimg = budget.images / 1000
    values = {
        "training.kimg": kimg,
        "training.head_start_kimg": kimg * _HEAD_START,
        "training.generator_lr": _GENTLE_RATE,
    }
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    begin = ("--preset", PRESET, "--init", grounding, "--device", "cpu")
    _gp3d("train", dataset, run, *begin, *settings, *_limit(budget.minutes * (1 - _GROUNDING_TIME)))


def _limit(minutes: float) -> tuple[object, ...]:
    return () if math.isinf(minutes) else ("--max-minutes", minutes)


@contextmanager
def _stage(name: str, times: dict[str, float]) -> Iterator[None]:
    """Announces a stage and takes its time."""
    print(f"-- {name}", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    times[name] = time.monotonic() - start


def _gp3d(*arguments: object) -> None:
    _call("gp3d_core.cli", *arguments)


def _call(module: str, *arguments: object) -> None:
    """Runs `python -m module arguments…`; raises StageError when it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    # a log has no use for bars that are drawn over and over
    quiet = {} if sys.stderr.isatty() else {"TQDM_DISABLE": "1"}
    with subprocess.Popen(command, env={**os.environ, **quiet}) as process, passing_on(process):
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the stage got it too: let it save, then leave
            process.wait()
            raise
    for number in stop_signals():
        if code in (-number, 128 + number):
            raise Stopped(number)
    if code:
        raise StageError(
            f"`{' '.join(['python', *command[1:]])}` ended with exit code {code}; see its message above"
        )


def _what_was_learnt(grounding: Path, run: Path) -> str:
    """How much was learnt, and what that is enough for."""
    objects, images = _seen(grounding), _seen(run)
    return (
        f"The demo's model saw {objects} objects ({expected_of(objects)}), then {images} images of the adversarial "
        "game (3DGP's authors show 25 million). docs/demo.md says what more would bring."
    )


def _seen(run: Path) -> int:
    """Objects or images that the newest snapshot of a run has seen."""
    from gp3d_core.snapshots.metadata import read_snapshot_facts
    from gp3d_core.snapshots.run_folder import newest_snapshot

    return read_snapshot_facts(newest_snapshot(run)).nimg


def expected_of(objects: int) -> str:
    """What a grounding of so many objects is enough for, as docs/demo.md measured it."""
    levels = [
        (8000, "outlines and main colours"),
        (4000, "rough outlines and colours"),
        (2000, "blobs of the right proportions"),
        (0, "next to nothing"),
    ]
    return next(what for least, what in levels if objects >= least)


def _write_preview(out: Path, dataset: Path, grounding: Path, run: Path, meshes: Path) -> None:
    """Draws OUT/preview.png and OUT/turn.gif."""
    from gp3d_core.generation.objects import object_specs
    from gp3d_core.generation.sampling import open_snapshot

    rows: list[tuple[str, Sequence[NDArray[Any]]]] = []
    if has_pretrained():
        model = open_snapshot(device="cpu")
        known = [str(record["name"]) for record in model.classes]
        shown = [name for name in PRETRAINED if name in known] or known[:_COLUMNS]
        for side, yaw in (("in front", _FRONT), ("behind", _BACK)):
            what = f"The pretrained model that comes along, from {side}: {', '.join(shown)}"
            rows.append((what, _views(model, shown, 1, yaw)))
    names = [entry["name"] for entry in json.loads((dataset / "dataset.json").read_text())["classes"]]
    listed = ", ".join(names)
    rows.append((f"What this demo learns from: renders of {listed}", _renders(dataset, len(names))))
    each = _COLUMNS // len(names)
    first, last = (open_snapshot(folder, "cpu") for folder in (grounding, run))
    new = f"New objects, seeds 0 to {each - 1} of {listed}"
    rows.append((f"{new}, after {first.nimg} known objects", _views(first, names, each, _FRONT)))
    after = f"The same after {last.nimg} images of the adversarial game"
    rows.append((f"{after}, from in front", _views(last, names, each, _FRONT)))
    rows.append((f"{after}, from behind", _views(last, names, each, _BACK)))
    files = [meshes / f"{spec.stem}.obj" for name in names for spec in object_specs(last, [name], [0])]
    rows.append(
        ("Meshes of seed 0 as Blender imports them, each from in front and behind", _imported(out, files))
    )
    save_picture(sheet(rows, tile=_TILE), out / "preview.png")
    _write_film(out, last, names)


def _views(model: Snapshot, names: Sequence[str], each: int, yaw: float) -> list[NDArray[Any]]:
    """Pictures of seeds 0 to `each` - 1 of the classes `names`, from `yaw`."""
    from gp3d_core.generation.objects import object_specs
    from gp3d_core.generation.sampling import generate, view
    from gp3d_core.visualization import rgb_to_uint8

    specs = [spec for name in names for spec in object_specs(model, [name], range(each))]
    return [rgb_to_uint8(view(model, generate(model, spec), yaw, _TILE).rgb)[0] for spec in specs]


def _renders(dataset: Path, classes: int) -> list[NDArray[Any]]:
    """Renders of all classes in turn, as many as fit a row, grouped by class, of models far apart in the list."""
    each = _COLUMNS // classes
    labels = json.loads((dataset / "dataset.json").read_text())["labels"]
    paths = [[path for path, label in labels if label == k] for k in range(classes)]
    chosen = [same[i * len(same) // each] for same in paths for i in range(each)]
    return [np.asarray(Image.open(dataset / path).convert("RGB")) for path in chosen]


def _imported(out: Path, meshes: Sequence[Path]) -> list[NDArray[Any]]:
    """Each mesh as Blender shows it, from in front and from behind."""
    picture = out / "meshes.png"
    looks = ("--resolution", _TILE, "--samples", 8, "--yaws", round(_FRONT, 3), round(_BACK, 3))
    _call("synthetic.preview", *meshes, picture, *looks)
    grid = np.asarray(Image.open(picture).convert("RGB"))
    return [tile for row in np.split(grid, len(meshes)) for tile in np.split(row, 2, axis=1)]


def _write_film(out: Path, model: Snapshot, names: Sequence[str]) -> None:
    """Draws OUT/turn.gif: seed 0 of the classes `names`, side by side, turned once around."""
    from gp3d_core.generation.objects import object_specs
    from gp3d_core.generation.sampling import generate, view
    from gp3d_core.generation.video import save_film
    from gp3d_core.visualization import rgb_to_uint8

    objects = [generate(model, spec) for spec in object_specs(model, list(names), [0])]

    def frame(yaw: float) -> NDArray[Any]:
        row = np.hstack([rgb_to_uint8(view(model, obj, yaw).rgb)[0] for obj in objects])
        return np.asarray(Image.fromarray(row).resize((2 * row.shape[1], 2 * row.shape[0])))

    frames = [frame(2 * math.pi * k / _FRAMES) for k in range(_FRAMES)]
    save_film((same for same in frames for _ in range(_REPEATS)), out / "turn.gif")
