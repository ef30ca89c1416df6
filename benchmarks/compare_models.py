"""Snapshots beside each other: one table of measures, with the same real models, cameras and light for all.

    python -m benchmarks.compare_models old=model.safetensors new=second.safetensors --references MODELS --out DIR
        --weights squeezenet1_0.safetensors --pointnet pointnet.t7

MODELS are libraries that none of the snapshots has learnt from, in the layout of ShapeNetCore.v2 (`synthetic.shapes
--seed 1`, `synthetic.library`). What is made on the way, meshes, renders, surfaces and results, is kept in DIR: the
same command goes on where it stopped, and another snapshot is measured beside those that were. docs/evaluation.md
says what each measure is. Needs Blender (`make setup-all`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.comparison.comparison import RESOLUTION, Comparison
from benchmarks.comparison.parts import MEASURES
from benchmarks.comparison.references import choose_references, read_libraries
from benchmarks.comparison.subjects import ComparisonError, open_subjects, parse_names
from benchmarks.comparison.table import write_table
from gp3d_core.atomic import write_json
from gp3d_core.cli.arguments import Parser, number
from gp3d_core.errors import GP3DError
from gp3d_core.generation.objects import DEFAULT_TRUNCATION


def compare(options: argparse.Namespace) -> int:
    """Everything; returns the exit code."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    subjects = open_subjects(options.snapshots, options.out)
    models = read_libraries(options.references, options.split)
    references = choose_references(subjects, models, options.per_class, options.seed, options.classes)
    comparison = Comparison(subjects, references, options)
    _claim(options)
    for part in options.parts:
        MEASURES[part](comparison)
        path = write_table(comparison.rows, [s.name for s in subjects], _head(comparison), options.out)
    print(path)
    return 0


def _claim(options: argparse.Namespace) -> None:
    """Raises ComparisonError where the folder is that of other references: what is kept there would be mixed up."""
    own = {
        "references": ", ".join(str(library.resolve()) for library in options.references),
        "split": options.split,
        "per_class": options.per_class,
        "views": options.views,
        "seed": options.seed,
        "truncation": options.truncation,
    }
    path = options.out / "settings.json"
    if path.exists() and (found := json.loads(path.read_text(encoding="utf-8"))) != own:
        odd = next(key for key in own if found.get(key) != own[key])
        raise ComparisonError(
            f"{options.out}: was begun with {odd} {found.get(odd)}, asked for is {own[odd]}; choose another folder"
        )
    write_json(path, own)


def _head(comparison: Comparison) -> str:
    options = comparison.options
    names = ", ".join(
        f"{s.name} = {s.snapshot.path.name} ({s.snapshot.digest[:8]})" for s in comparison.subjects
    )
    libraries = ", ".join(library.name for library in options.references)
    return (
        f"{names}; real models of {libraries} ({options.split}), at most {options.per_class} a class and as many "
        f"others for the last column; truncation {options.truncation:g}, seed {options.seed}, views of a mesh: "
        f"{options.views} at {RESOLUTION} px. Meshes are those of `gp3d mesh`, lit by Blender like the real ones: "
        "colours that carry light already are lit again."
    )


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.compare_models", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("snapshots", nargs="+", metavar="[NAME=]SNAPSHOT", help="files or run folders; today's first")
    add(
        "--references", type=Path, nargs="+", required=True, metavar="MODELS", help="libraries of real models"
    )
    add("--split", choices=("all", "test"), default="all", help="all of them, or those kept for tests (all)")
    add("--out", type=Path, required=True, help="folder of the table and of all that is kept")
    add("--parts", type=_parts, default=list(MEASURES), help=f"with commas, of {','.join(MEASURES)} (all)")
    add("--classes", type=parse_names, default=[], metavar="LIST", help="only these classes, by name (all)")
    add("--weights", type=Path, metavar="FILE", help="of torchvision's squeezenet1_0: pictures, own-views")
    add("--pointnet", type=Path, metavar="FILE", help="weights of the point network of FPD")
    add("--per-class", type=number(int, 2, 1e4), default=4, help="real models a class, and objects (4)")
    add("--views", type=number(int, 1, 3), default=1, help="renders of each mesh, 120 degrees apart (1)")
    add("--own-views", type=number(int, 1, 1e4), default=1, help="own views a class (1)")
    add(
        "--recognition-views",
        type=Path,
        metavar="DATASET",
        help="renders that the classifier learns (of MODELS)",
    )
    add("--recognised", type=number(int, 1, 1e4), default=8, help="own views a class that are recognised (8)")
    add(
        "--samples",
        type=number(int, 1, 1e4),
        default=32,
        help="objects among which the nearest is found (32)",
    )
    add(
        "--run",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "RUN", "DATASET"),
        help="the run of `gp3d ground` that the snapshot NAME is of, and its data set: thin parts of known models",
    )
    add(
        "--run-models",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODELS",
        help="libraries of its models, for points even over their surfaces (those of DATASET)",
    )
    add("--known", type=number(int, 1, 1e6), default=8, help="known models a class of --run (8)")
    add("--repeats", type=number(int, 1, 100), default=3, help="cold starts of each (3)")
    add("--texture", type=number(int, 64, 4096), default=512, help="pixels of their texture (512)")
    add("--seed", type=number(int, 0, 1e9), default=0)
    add("--truncation", type=number(float, 0, 2), default=DEFAULT_TRUNCATION, help="default 0.7")
    options = parser.parse_args(arguments)
    if options.weights is None and {"pictures", "own-views"} & set(options.parts):
        parser.error("pictures and own-views need --weights FILE of torchvision's squeezenet1_0")
    return options


def _parts(text: str) -> list[str]:
    chosen = parse_names(text)
    if unknown := [name for name in chosen if name not in MEASURES]:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(MEASURES)}, found {unknown[0]!r}")
    if not chosen:
        raise argparse.ArgumentTypeError(f"expected some of {','.join(MEASURES)}")
    return [name for name in MEASURES if name in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares; an error is one line."""
    try:
        return compare(read_options(arguments))
    except GP3DError as error:
        print(f"compare_models: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
