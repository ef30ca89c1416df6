"""The command `gp3d evaluate`: scores of a snapshot, or of anyone's meshes, with a report."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from gp3d_core.atomic import check_writable
from gp3d_core.cli.arguments import (
    UsageError,
    any_path,
    dataset_path,
    existing,
    model_path,
    new_path,
    number,
    reader,
)
from gp3d_core.cli.generate import add_truncation, level
from gp3d_core.meshing.option_values import Number
from gp3d_core.meshing.options import MeshOptions, specs
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import find_snapshot

_TRUNCATION = 1.0
_MOST_DISTANCES = 10
_FEATURES = "inception"
_SAMPLES = 50_000
_REFERENCES = 100
_REPORTED = 64  # objects of a report card, one of each class at least


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d evaluate`."""
    add = parser.add_argument
    add(
        "snapshot",
        type=model_path,
        nargs="?",
        help="snapshot file, run folder (its newest), or the name of a pretrained model",
    )
    add("dataset", type=dataset_path, nargs="?", help="folder or zip of real images of the same size")
    add(
        "--metrics",
        help="with commas: fid2k, fid50k, kid, is, pr, nfs, fpd, shapes, diversity, geometry, card, recognition "
        "(default fid2k,nfs)",
    )
    add(
        "--report",
        action="store_true",
        help="the geometry report card, a page and a badge for every class: metrics geometry,card beside --metrics",
    )
    add("--out", type=new_path, required=True, help="folder of the report; the same command goes on in it")
    add(
        "--features",
        default=_FEATURES,
        help="network that looks at images: inception (default) or torchvision:squeezenet1_0",
    )
    add("--weights", type=existing, metavar="FILE", help="its weights (default: where torch keeps downloads)")
    add(
        "--samples",
        type=number(int, 1, 1e7),
        default=_SAMPLES,
        help="generated images of kid, is and pr (default 50000)",
    )
    add(
        "--shapes",
        type=number(int, 1, 1e6),
        help="objects of fpd, shapes, diversity, geometry and recognition, over all classes "
        "(default 256, with --report 64)",
    )
    add(
        "--grid",
        type=reader(specs(MeshOptions)["grid"].values),
        help="samples along an edge for surfaces (default 256, for diversity 128)",
    )
    add(
        "--level",
        type=level,
        help="density of surfaces, or auto (default 10 as in the paper, for diversity auto)",
    )
    add(
        "--references",
        type=reader(Number(2, 1e9, whole=True, nothing="zero")),
        default=_REFERENCES,
        metavar="N",
        help="models of a class that diversity looks at, 0 for all (default 100)",
    )
    _add_references(parser)
    add(
        "--cache",
        type=any_path,
        metavar="DIR",
        help="what is learnt from data (default ~/.cache/gp3d/features)",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_evaluate)


def _add_references(parser: argparse.ArgumentParser) -> None:
    """Adds what is compared with, how pairs are measured, and how the scores are printed."""
    add = parser.add_argument
    add("--truth", type=existing, metavar="MODELS", help="models that shapes are compared with")
    add(
        "--pixels",
        type=number(int, 16, 4096),
        metavar="N",
        help="compare views of geometry and card on about N pixels an edge, every k-th of the data's (default: all)",
    )
    add("--pointnet", type=existing, metavar="FILE", help="weights of the point network of fpd")
    add("--meshes", type=existing, metavar="DIR", help="score these meshes instead of a snapshot")
    add(
        "--f-score-at",
        type=_distances,
        metavar="D,D",
        help="distances of the F-scores of --meshes, in radii of an object (default 0.02,0.05)",
    )
    add(
        "--dcd-alpha",
        type=number(float, 1e-3, 1e6),
        metavar="A",
        help="alpha of the density-aware Chamfer distance of --meshes (default 10)",
    )
    add(
        "--table",
        choices=("latex", "markdown"),
        help="print the scores as a table for papers (both are also written beside the report)",
    )
    add("--seed", type=number(int, 0, 1e15), default=0, help="default 0")
    add_truncation(parser, _TRUNCATION, "as papers do")


def _evaluate(options: argparse.Namespace) -> int:
    _check(options)
    check_writable(options.out)
    if options.snapshot is not None:
        read_snapshot_facts(find_snapshot(options.snapshot))
    from gp3d_core.distributed import pick_device
    from gp3d_core.evaluation.report.paper import NOTHING, paper_table
    from gp3d_core.evaluation.run import (
        REPORT_CARD,
        SHAPES,
        EvaluationOptions,
        evaluate,
        evaluate_meshes,
        parse_metrics,
    )
    from gp3d_core.evaluation.shapes.pairs import PairOptions
    from gp3d_core.metrics.surface_pairs import ALPHA, F_SCORE_AT

    device = pick_device(options.device).type
    if options.meshes:
        scores = evaluate_meshes(
            options.meshes,
            options.truth,
            options.out,
            pointnet=options.pointnet,
            n=options.shapes or SHAPES,
            seed=options.seed,
            pairs=PairOptions(f_score_at=options.f_score_at or F_SCORE_AT, alpha=options.dcd_alpha or ALPHA),
            device=device,
        )
    else:
        request = EvaluationOptions(
            metrics=parse_metrics(_asked(options, REPORT_CARD)),
            features=options.features,
            weights=options.weights,
            samples=options.samples,
            shapes=options.shapes or (_REPORTED if options.report else SHAPES),
            grid=options.grid,
            level=options.level,
            pixels=options.pixels,
            references=options.references,
            truth=options.truth,
            pointnet=options.pointnet,
            seed=options.seed,
            truncation=getattr(options, "truncation", _TRUNCATION),
            cache=options.cache,
        )
        scores = evaluate(options.snapshot, options.dataset, options.out, request, device)
    if scores and options.table:
        print(paper_table(scores, options.table), end="")
        return 0
    for score in scores:
        value = f"{score.value:12.5g}" if math.isfinite(score.value) else f"{NOTHING:>12s}"
        print(f"{score.metric:32s} {value}   n {score.n}")
    if scores:
        print(options.out / "report.html")
    if scores and options.report:
        print(options.out / "cards" / "index.html")
    return 0


def _asked(options: argparse.Namespace, report: Sequence[str]) -> str:
    """The metrics that are asked for, with commas: those of --report and --metrics, or else the usual ones."""
    wanted = [*([options.metrics] if options.metrics else []), *(report if options.report else ())]
    return ",".join(wanted) or "fid2k,nfs"


def _distances(text: str) -> tuple[float, ...]:
    """The distances of "0.01,0.02", each once."""
    read = number(float, 1e-6, 2)
    found = tuple(dict.fromkeys(read(part.strip()) for part in text.split(",")))
    if len(found) > _MOST_DISTANCES:
        raise argparse.ArgumentTypeError(f"expects at most {_MOST_DISTANCES} distances, found {len(found)}")
    return found


def _check(options: argparse.Namespace) -> None:
    """Raises UsageError when what is to be measured, or with what, is missing or given twice."""
    if not options.meshes:
        if options.snapshot is None or options.dataset is None:
            raise UsageError("expected SNAPSHOT and DATASET, or --meshes DIR; see gp3d evaluate --help")
        if options.f_score_at is not None or options.dcd_alpha is not None:
            raise UsageError("--f-score-at and --dcd-alpha are for --meshes DIR")
        return
    if options.snapshot is not None or options.metrics is not None or options.report:
        raise UsageError("--meshes goes without SNAPSHOT, DATASET, --metrics and --report")
    if options.grid is not None or options.level is not None:
        raise UsageError("--grid and --level are for surfaces of a snapshot; meshes have theirs")
    usual = {
        "features": _FEATURES,
        "weights": None,
        "samples": _SAMPLES,
        "references": _REFERENCES,
        "pixels": None,
        "cache": None,
    }
    ignored = [f"--{name}" for name, value in usual.items() if getattr(options, name) != value]
    ignored += ["--truncation"] * hasattr(options, "truncation")
    if ignored:
        raise UsageError(f"{', '.join(ignored)}: not for --meshes, which are measured as they are")
    if options.truth is None:
        raise UsageError("--meshes needs --truth MODELS to compare with")
