"""`python -m synthetic.check DATASET --models MODELS`: compares depth, masks and normals of a dataset with its models.

Casts the same rays at the same models with another program, Open3D's ray caster, which shares no code with the
renderer: it gets the pixel rays from cameras.json and the surfaces from the model files by manifest.json. Prints a
table and writes DATASET-check/report.json and errors.png (left to right: colour, our depth, theirs, difference) of the
worst views. `--fuse` also puts every model together again from the depth of all its views (made with --preset sphere)
and reports by class how far that is from the model.
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
from synthetic.checks.comparison import BOUNDS, chamfer_by_class, check_dataset, picture_of_errors, summarise
from synthetic.checks.surface import SurfaceError
from synthetic.library.shapenet import LibraryError, load_library

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
        "--models", type=Path, required=True, metavar="MODELS", help="the library it was made of"
    )
    parser.add_argument("--out", type=Path, help="folder of the report (default: DATASET-check)")
    parser.add_argument("--limit", type=int, help="only so many views")
    parser.add_argument("--fuse", action="store_true", help="also fuse the depth of all views of every model")
    arguments = parser.parse_args(argv)
    out = arguments.out or arguments.dataset.with_name(f"{arguments.dataset.name}-check")
    try:
        models = {model.key: model for model in load_library(arguments.models)}
        scores, errors, unchecked = check_dataset(arguments.dataset, models, arguments.limit)
        if not errors.size:
            raise LibraryError(
                f"{arguments.dataset}: none of its views could be checked; {'; '.join(unchecked[:3])}"
            )
        summary = summarise(scores, errors)
        out.mkdir(parents=True, exist_ok=True)
        worst = sorted(scores, key=lambda score: score.iou - score.median * 1e3)
        fused = chamfer_by_class(arguments.dataset, models) if arguments.fuse else {}
        report = {
            "summary": summary,
            "bounds": BOUNDS,
            "chamfer": {name: asdict(c) for name, c in fused.items()},
            "unchecked": unchecked,
            "views": [asdict(s) for s in worst],
        }
        write_whole(out / "report.json", (json.dumps(report, indent=1) + "\n").encode())
        stream = io.BytesIO()
        Image.fromarray(picture_of_errors(arguments.dataset, worst[:_ROWS], models)).save(
            stream, format="PNG"
        )
        write_whole(out / "errors.png", stream.getvalue())
    except (LibraryError, SurfaceError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for key, value in summary.items():
        bound = f"   (bound {BOUNDS[key]:g})" if key in BOUNDS else ""
        sys.stdout.write(f"{key:20} {value:.6g}{bound}\n")
    for name, distance in fused.items():
        sys.stdout.write(
            f"fused {name:24} to model {distance.fused_to_model:.5f}, "
            f"from model {distance.model_to_fused:.5f}\n"
        )
    sys.stdout.write(f"{len(unchecked)} models could not be checked; report in {out}\n")
    exact = summary["median"] <= BOUNDS["median"] and summary["p999"] <= BOUNDS["p999"]
    return 0 if exact and summary["iou"] >= BOUNDS["iou"] else 1


if __name__ == "__main__":
    sys.exit(main())
