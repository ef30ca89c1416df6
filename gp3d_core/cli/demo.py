"""`gp3d demo`: an asset of the model in the box, then the whole main job at a small size; each stage is a command.

OUT/asset     a textured object in seconds, and views of it
OUT/models    procedural objects in ShapeNet layout      OUT/train     the run folder
OUT/dataset   their renders with exact depth             OUT/meshes    textured meshes of two classes
OUT/preview.png   real renders, generated views with depth, and the meshes as Blender shows them
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from gp3d_core.errors import GP3DError
from gp3d_core.pretrained import has_pretrained
from gp3d_core.visualization import caption, save_picture, sheet, stack

ASSET = "coffee mug"
CLASSES = ("barrel", "coffee mug", "mushroom", "table lamp")
MESHED = ("barrel", "coffee mug")
MODELS_PER_CLASS = 48
VIEWS = 2
RESOLUTION = 64
_TILE = 128
_COLUMNS = 8
_TURN = [round(2 * math.pi * k / _COLUMNS, 3) for k in range(_COLUMNS)]


class StageError(GP3DError):
    """A stage of the demo that failed; the message names it and its command."""


def run_demo(out: Path, *, minutes: float) -> int:
    """Runs all stages in the folder `out`, going on where an earlier run stopped; returns the exit code.

    `minutes` bounds the training, over all runs. Raises StageError when a stage fails.
    """
    names = ("asset", "models", "dataset", "train", "meshes")
    asset, models, dataset, run, meshes = (out / name for name in names)
    out.mkdir(parents=True, exist_ok=True)
    times: dict[str, float] = {}
    if has_pretrained():
        with _stage("asset", times):
            _call("gp3d_core.cli", "mesh", "--class", ASSET, "--seeds", 0, "--out", asset, "--compare")
        print(f"a {ASSET} after {times['asset']:.0f} s: {asset}", file=sys.stderr)
    else:
        print("-- asset: left out, the model in the box is missing", file=sys.stderr)
    with _stage("shapes", times):
        classes = ",".join(CLASSES)
        _call("synthetic.shapes", models, "--classes", classes, "--per-class", MODELS_PER_CLASS, "--seed", 0)
    with _stage("renders", times):
        _call("synthetic.render", models, dataset, "--resolution", RESOLUTION, "--views", VIEWS, "--seed", 0)
    with _stage("training", times):
        _call(
            "gp3d_core.cli",
            "train",
            dataset,
            run,
            "--preset",
            "tiny",
            "--max-minutes",
            minutes,
            "--device",
            "cpu",
        )
    with _stage("meshes", times):
        wanted = [word for name in MESHED for word in ("--class", name)]
        _call(
            "gp3d_core.cli",
            "mesh",
            run,
            *wanted,
            "--seeds",
            "0-1",
            "--out",
            meshes,
            "--grid",
            96,
            "--faces",
            20000,
        )
    with _stage("preview", times):
        _write_preview(out, run, dataset, meshes)
    print(
        f"\nThe main job is done: {', '.join(f'{name} {seconds:.0f} s' for name, seconds in times.items())}."
    )
    for path, what in (
        *([(asset, f"a {ASSET} of the model in the box")] if "asset" in times else []),
        (models, "objects in ShapeNet layout"),
        (dataset, "renders with depth, masks and cameras"),
        (run, "training run with snapshots, samples and curves"),
        (meshes, "textured meshes (.obj + .mtl + .png)"),
        (out / "preview.png", "look here first"),
    ):
        print(f"  {path}  {what}")
    return 0


@contextmanager
def _stage(name: str, times: dict[str, float]) -> Iterator[None]:
    """Announces a stage and takes its time."""
    print(f"-- {name}", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    times[name] = time.monotonic() - start


def _call(module: str, *arguments: object) -> None:
    """Runs `python -m module arguments…`; raises StageError when it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the stage got it too: let it save, then leave
            process.wait()
            raise
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise StageError(
            f"`{' '.join(['python', *command[1:]])}` ended with exit code {code}; see its message above"
        )


def _write_preview(out: Path, run: Path, dataset: Path, meshes: Path) -> None:
    """Draws OUT/preview.png: real renders, generated views with depth, and the meshes as Blender imports them."""
    header = json.loads((dataset / "dataset.json").read_text())
    names = [entry["name"] for entry in header["classes"]]
    real = [_read(dataset / path) for path in _spread(header["labels"], len(names))]
    generated, imported = out / "generated.png", out / "meshes.png"
    wanted = [word for name in names for word in ("--class", name)]
    seeds = f"0-{_COLUMNS // len(names) - 1}"
    _call("gp3d_core.cli", "render", run, *wanted, "--seeds", seeds, "--out", generated, "--device", "cpu")
    objects = sorted(meshes.glob("*.obj"))
    _call("synthetic.preview", *objects, imported, "--resolution", _TILE, "--yaws", *_TURN)
    top = sheet([(f"real renders: {', '.join(names)}", real)], tile=_TILE)
    parts = [
        top,
        Image.open(generated),
        caption(
            f"meshes as Blender imports them, turned by 45 degrees each: {', '.join(path.stem for path in objects)}",
            top.width,
        ),
        Image.open(imported),
    ]
    save_picture(stack(parts), out / "preview.png")


def _spread(labels: list[tuple[str, int]], classes: int) -> list[str]:
    """Images of all classes in turn, as many as fit a row, grouped by class."""
    each = _COLUMNS // classes
    paths = [[path for path, label in labels if label == k] for k in range(classes)]
    return [same[i * len(same) // each] for same in paths for i in range(each)]


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))
