"""Sheets of what snapshots make, drawn by Blender: every class with some seeds, or old, new and real side by side.

    python -m benchmarks.model_sheets docs/box.jpg model.safetensors
    python -m benchmarks.model_sheets docs/box-old-new.jpg old=model.safetensors new=second.safetensors --real MODELS
        --seeds 0-1 --classes "barrel,teapot"

A block a class, a column a seed, nothing picked: of real models the first ones by name. Meshes are those of `gp3d mesh`
with all options as they are, or coarse ones in a fifth of the time (--coarse, benchmarks/sheet_meshes.py). Meshes and
pictures are kept in --meshes, so the same command goes on where it stopped. A class that a snapshot does not know, or
that MODELS lacks, leaves its places empty. Needs Blender (`make setup-all`).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.comparison.subjects import parse_names
from gp3d_core.atomic import replacing
from gp3d_core.cli.arguments import Parser, number, parse_seeds
from gp3d_core.datasets.imagenet import unrated
from gp3d_core.errors import GP3DError
from gp3d_core.generation.objects import ObjectSpec
from gp3d_core.hashing import digest
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import find_snapshot
from synthetic.contact import Pixels, compose, render_meshes
from synthetic.dataset import Settings
from synthetic.layouts.shapenet import LibraryError, Model, ObjectClass, Placement, load_library
from synthetic.staging.treatment import Treatment
from synthetic.viewpoints import Viewpoint
from synthetic.workers.blender_process import LeaveWithoutDestructors, untested_blender

# From the side that comparisons see, a little from above; the object fills three quarters of their picture, here all
_VIEW = Viewpoint(yaw=0.6, pitch=1.22, radius=2.0, fov=30.54)
_QUALITY = 85
_NOTHING = "nothing"  # the key of an empty place


class SheetError(GP3DError):
    """A sheet that cannot be drawn; the message says why."""


@dataclass(frozen=True)
class Column:
    """Who fills some places of every block: its name, its classes, and by class the models in order of their place."""

    name: str
    records: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Sequence[Model]]


def column_of_snapshot(
    text: str, wanted: Sequence[str], seeds: Sequence[int], meshes: Path, coarse: bool = False
) -> Column:
    """The meshes of a snapshot, [NAME=]PATH: of its classes that are `wanted`, all for none; made if missing.

    Raises SheetError where they cannot be made, SnapshotError and RunError for what is no snapshot.
    """
    name, _, path = text.rpartition("=")
    snapshot = find_snapshot(Path(path))
    facts = read_snapshot_facts(snapshot)
    folder = meshes / f"{snapshot.stem}-{digest(snapshot)[:8]}"
    records = {str(r["name"]): r for r in facts.classes if not wanted or r["name"] in wanted}
    files = {
        called: [folder / f"{ObjectSpec(unrated(record), record['label'], seed).stem}.glb" for seed in seeds]
        for called, record in records.items()
    }
    missing = [called for called, paths in files.items() if not all(path.exists() for path in paths)]
    if missing:
        _make(snapshot, missing, seeds, folder, coarse)
    return Column(
        name or snapshot.stem,
        records,
        {called: [_mesh(path, called) for path in paths] for called, paths in files.items()},
    )


def _make(snapshot: Path, names: Sequence[str], seeds: Sequence[int], folder: Path, coarse: bool) -> None:
    """In a process of its own: torch and Blender do not share one."""
    chosen, wanted = ",".join(names), ["--seeds", ",".join(map(str, seeds))]
    if coarse:
        words = ["benchmarks.sheet_meshes", str(snapshot), str(folder), "--classes", chosen, *wanted]
    else:
        words = ["gp3d_core.cli", "mesh", str(snapshot), "--class", chosen, *wanted]
        words += ["--format", "glb", "--device", "cpu", "--out", str(folder)]
    code = subprocess.run([sys.executable, "-m", *words], check=False, stdout=subprocess.DEVNULL).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise SheetError(f"the meshes of {snapshot} ended with exit code {code}; see above")


def _mesh(path: Path, name: str) -> Model:
    placement = Placement(front="+z", normalise=True)
    shown = ObjectClass(name, name, None, None)
    return Model(f"{path.parent.name}/{path.name}", path, shown, path.parent, placement)


def column_of_library(library: Path, known: Mapping[str, Mapping[str, Any]], count: int) -> Column:
    """The first `count` models by name of each of the `known` classes, found by WordNet id or name.

    Raises LibraryError where there is no library.
    """
    found: dict[str, list[Model]] = {name: [] for name in known}
    names = {str(record["wnid"]): name for name, record in known.items() if record.get("wnid")}
    for model in load_library(library):
        shown = model.object_class
        name = names.get(shown.wnid, shown.name)
        if name in found and len(found[name]) < count:
            found[name].append(model)
    return Column("real", known, found)


def draw(
    columns: Sequence[Column], count: int, across: int, side: int, samples: int, kept: Path
) -> Image.Image:
    """The sheet: for each class a block of `count` pictures from every column, under its name and theirs.

    Pictures are kept in a folder of `kept`. Raises SheetError if no mesh could be drawn.
    """
    names = list(dict.fromkeys(name for column in columns for name in column.records))
    models = [m for column in columns for own in column.models.values() for m in own]
    folder = kept / f"pictures-{side}-{samples}"
    folder.mkdir(parents=True, exist_ok=True)

    def place(key: str) -> Path:
        return folder / f"{key.replace('/', '-')}.png"

    def keep(key: str, picture: Pixels) -> None:
        with replacing(place(key)) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")

    pictures = {m.key: np.asarray(Image.open(place(m.key))) for m in models if place(m.key).exists()}
    if missing := [model for model in models if model.key not in pictures]:
        settings, treatment = Settings(resolution=side, samples=samples), Treatment(missing_textures="color")
        new, failures = render_meshes(missing, _VIEW, settings, treatment, keep)
        pictures |= new
        for key, reason in failures.items():
            print(f"{key}: {reason}", file=sys.stderr)
    if not pictures:
        raise SheetError(f"none of the {len(models)} meshes could be drawn")
    return compose(*blocks(columns, names, pictures, count, side), across, side)


def blocks(
    columns: Sequence[Column], names: Sequence[str], pictures: Mapping[str, Pixels], count: int, side: int
) -> tuple[dict[str, list[Model]], dict[str, Pixels], int]:
    """What `compose` takes: models by title, their pictures with that of an empty place, and places across a block."""
    empty = Model(_NOTHING, Path(), ObjectClass(_NOTHING, _NOTHING, None, None))
    rows = {}
    for name in sorted(names, key=str.lower):
        places: list[Model] = []
        for column in columns:
            own = list(column.models.get(name, ()))[:count]
            places += own + [empty] * (count - len(own))
        title = name if len(columns) == 1 else f"{name}: {' | '.join(column.name for column in columns)}"
        rows[title] = places
    white = np.full((side, side, 3), 255, np.uint8)
    return rows, {**pictures, _NOTHING: white}, count * len(columns)


def save(sheet: Image.Image, path: Path) -> None:
    """Writes the sheet as the suffix of `path` says, .jpg or .png."""
    stream = io.BytesIO()
    if path.suffix.lower() == ".png":
        sheet.save(stream, format="PNG", optimize=True)
    else:
        sheet.save(stream, format="JPEG", quality=_QUALITY, optimize=True)
    with replacing(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def run(options: argparse.Namespace) -> int:
    """Everything; returns the exit code."""
    sys.stderr.write(untested_blender())
    columns = [
        column_of_snapshot(text, options.classes, options.seeds, options.meshes, options.coarse)
        for text in options.snapshots
    ]
    known = {name: record for column in columns for name, record in column.records.items()}
    if unknown := set(options.classes) - known.keys():
        raise SheetError(
            f"no snapshot knows the class {min(unknown)!r}; expected names as `gp3d classes` has them"
        )
    if options.real is not None:
        columns.append(column_of_library(options.real, known, len(options.seeds)))
    sheet = draw(columns, len(options.seeds), options.across, options.side, options.samples, options.meshes)
    save(sheet, options.out)
    print(options.out)
    return 0


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.model_sheets", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("out", type=_picture, metavar="OUT", help="the picture, .jpg or .png")
    add("snapshots", nargs="+", metavar="[NAME=]SNAPSHOT", help="files or run folders")
    add("--real", type=Path, metavar="MODELS", help="library of real models, drawn beside")
    add(
        "--classes",
        type=parse_names,
        default=[],
        metavar="LIST",
        help="names with commas (all that a snapshot knows)",
    )
    add("--seeds", type=parse_seeds, default=[0, 1, 2, 3], help="e.g. 0-3 (default); as many real models")
    add("--coarse", action="store_true", help="coarse meshes with vertex colours, quickly made")
    add("--across", type=number(int, 1, 100), default=3, help="classes beside each other (3)")
    add("--side", type=number(int, 16, 1024), default=128, help="pixels of a picture (128)")
    add("--samples", type=number(int, 1, 4096), default=32, help="light samples a pixel (32)")
    add(
        "--meshes",
        type=Path,
        default=Path("runs/model-sheets"),
        help="folder of meshes and pictures (runs/model-sheets)",
    )
    return parser.parse_args(arguments)


def _picture(text: str) -> Path:
    if Path(text).suffix.lower() not in (".jpg", ".png"):
        raise argparse.ArgumentTypeError(f"expected a name in .jpg or .png, found {text}")
    return Path(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws; an error is one line."""
    try:
        return run(read_options(arguments))
    except (GP3DError, LibraryError) as error:
        print(f"model_sheets: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, GP3DError) else 2


if __name__ == "__main__":
    with LeaveWithoutDestructors():
        sys.exit(main())
