"""`python -m synthetic.check DATASET --models MODELS`: compares a dataset with its models: shape and colours.

Stages every model again, as the dataset says that it was rendered, and casts the same rays at it with another program,
Open3D's ray caster, which shares no code with the renderer. Colours are looked up in the model's textures and compared
with the pictures, whatever light falls on them. Prints a table and writes DATASET-check/report.json and errors.png
(left to right: colour, base colour of the model, albedo if there is one, our depth, theirs, difference) of the worst
views. `--fuse` also puts every model together again from the depth of all its views (made with --preset sphere) and
reports by class how far that is from the model.
Exit status: 0, 1 where a bound is broken, 2 for bad input.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from synthetic.atomic import write_whole
from synthetic.checks.comparison import chamfer_by_class, check_dataset, picture_of_errors
from synthetic.checks.verdict import BOUNDS, badness, broken_bounds, summarise, unchecked_colors
from synthetic.layouts.shapenet import LibraryError, load_library
from synthetic.workers.blender_process import LeaveWithoutDestructors

_ROWS = 8  # of the picture of errors


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET")
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, metavar="MODELS", help="the libraries it was made of"
    )
    parser.add_argument("--out", type=Path, help="folder of the report (default: DATASET-check)")
    parser.add_argument("--limit", type=int, help="only so many views")
    parser.add_argument("--fuse", action="store_true", help="also fuse the depth of all views of every model")
    arguments = parser.parse_args(argv)
    out = arguments.out or arguments.dataset.with_name(f"{arguments.dataset.name}-check")
    try:
        return run(arguments, out)
    except (LibraryError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def run(arguments: argparse.Namespace, out: Path) -> int:
    """Does what the command line asks, with the report in `out`; the exit status. Raises LibraryError, OSError."""
    models = {model.key: model for model in load_library(*arguments.models)}
    found = check_dataset(arguments.dataset, models, arguments.limit)
    unchecked = [f"{key}: {reason}" for key, reason in found.unchecked.items()]
    if not found.scores or not sum(map(len, found.errors)):
        raise LibraryError(
            f"{arguments.dataset}: none of its views could be checked; {'; '.join(unchecked[:3])}"
        )
    summary = summarise(found)
    out.mkdir(parents=True, exist_ok=True)
    worst = sorted(found.scores, key=badness, reverse=True)
    fused = chamfer_by_class(arguments.dataset, models) if arguments.fuse else {}
    broken, colors = broken_bounds(found, summary), unchecked_colors(found.scores)
    report = {
        "summary": summary,
        "bounds": BOUNDS,
        "broken": broken,
        "chamfer": {name: asdict(c) for name, c in fused.items()},
        "unchecked": unchecked,
        "unchecked_colors": colors,
        "moved": found.moved,
        "views": [asdict(s) for s in worst],
    }
    write_whole(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
    stream = io.BytesIO()
    Image.fromarray(picture_of_errors(arguments.dataset, worst[:_ROWS], models)).save(stream, format="PNG")
    write_whole(out / "errors.png", stream.getvalue())
    for key, value in summary.items():
        bound = f"   (bound {_in_words(BOUNDS[key])})" if key in BOUNDS else ""
        sys.stdout.write(f"{key:20} {value:.6g}{bound}\n")
    for name, distance in fused.items():
        sys.stdout.write(
            f"fused {name:24} to model {distance.fused_to_model:.5f}, "
            f"from model {distance.model_to_fused:.5f}\n"
        )
    listed = ", ".join(f"{count} {reason}" for reason, count in colors.items())
    sys.stdout.write(f"colours looked at, and not checked: {listed}\n")
    if found.moved:
        sys.stdout.write(
            f"{len(found.moved)} models stand otherwise than their library says, as the manifest has them\n"
        )
    for line in broken[:_ROWS]:
        sys.stdout.write(f"wrong: {line}\n")
    more = f" ({len(broken)} in all)" if len(broken) > _ROWS else ""
    sys.stdout.write(f"{len(unchecked)} models could not be checked; report in {out}{more}\n")
    return 1 if broken else 0


def _in_words(bound: float | tuple[float, float]) -> str:
    return f"{bound:g}" if isinstance(bound, float) else f"{bound[0]:g} to {bound[1]:g}"


if __name__ == "__main__":
    with LeaveWithoutDestructors():  # Open3D's have a lot to say after Ctrl-C
        sys.exit(main())
