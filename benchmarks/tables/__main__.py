"""3DGP's tables on one's own data: every row trained at equal images seen, measured, and set beside the paper's.

    python -m benchmarks.tables 1|2|4|7 DATA OUT --budget MINUTES --weights FILE [--features FILE] [--models DIR]

Writes OUT/tableN.md, .csv, .png and -curves.png; docs/baselines.md says what is in them. The same command goes on where
it stopped; `--budget 0` measures and draws what is there. Tables share the runs of rows that they have in common.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.tables.drawing import draw_curves, draw_samples
from benchmarks.tables.lifting import lifted_row
from benchmarks.tables.measures import Outcome, halves_apart, measure, real_features
from benchmarks.tables.page import Setting, write_table
from benchmarks.tables.paper import PAPER
from benchmarks.tables.rows import PAIRS, TABLES, Row, TableError, rows_of
from benchmarks.tables.runs import Inputs, TableRun, last_round, rounds, runs_of, train
from gp3d_core.cli.arguments import Parser, dataset_path, existing, flag_of, number
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import pick_device
from gp3d_core.errors import GP3DError, spell
from gp3d_core.evaluation.run import EvaluationOptions, parse_metrics
from gp3d_core.evaluation.samples import Sampler, labels_in
from gp3d_core.metrics.features import SQUEEZENET, FeatureNetwork, open_network
from gp3d_core.metrics.pointnet import load_pointnet
from gp3d_core.snapshots.snapshot import load_snapshot
from gp3d_core.training.start import count_parameters


def make_table(options: argparse.Namespace) -> int:
    """Trains, measures, draws; returns the exit code."""
    device = pick_device(options.device).type
    rows, dataset = rows_of(options.table, options.rows), Dataset(options.data, needs_depth=False)
    assignments = [f"training.resolution={dataset.resolution}", *options.set]
    runs = runs_of(rows, options.out, options.size or dataset.resolution, options.seeds, assignments)
    inputs = check_inputs(options, rows, device)
    network = open_network(options.network, options.weights, torch.device(device))  # before hours of training
    ends = rounds(options.first, options.kimg, options.growth)
    code = train(runs, ends, inputs, options.budget)
    if code:
        return code
    last = last_round(runs, ends)
    if last is None:
        print(f"tables: no row has ended its first round of {ends[0]} images yet: give a larger --budget")
        return 0
    until = [images for images in ends if images <= last]
    outcomes = [
        replace(found, parameters=count_parameters(run.config, dataset)["generator"])
        for run in runs
        if (found := measure(run, until, options.data, options.out, request_of(options), device))
    ]
    outcomes += lifted_outcomes(options, rows, outcomes, network, device)
    floor = halves_apart(features_of(outcomes, dataset, network, options.out / "cache"))
    name = f"table{options.table}"
    draw_samples(outcomes, options.data, device, options.out / f"{name}.png")
    draw_curves(outcomes, floor, options.out / f"{name}-curves.png")
    setting = Setting(options.table, in_words(options, dataset, runs, device), floor)
    path = write_table(options.out, setting, rows, outcomes, PAPER[options.table], PAIRS[options.table])
    print(path.read_text(encoding="utf-8"))
    print(path)
    return 0


def check_inputs(options: argparse.Namespace, rows: Sequence[Row], device: str) -> Inputs:
    """What the rows are trained on. Raises TableError for a row that lacks something."""
    for row in rows:
        if row.teacher and options.features is None:
            raise TableError(
                f"row {row.key} distils features: name those of `gp3d data features` with `features` FILE, or leave "
                "the row out with `rows`"
            )
        if row.projected and options.weights is None:
            raise TableError(f"row {row.key} looks through a pretrained network: name its `weights` FILE")
    if (options.pointnet is None) != (options.models is None):
        raise TableError("fpd needs both: `pointnet` FILE and the `models` that the data were rendered from")
    if options.pointnet is not None:
        load_pointnet(options.pointnet)
    return Inputs(options.data, options.features, options.weights, device)


def request_of(options: argparse.Namespace) -> EvaluationOptions:
    """What `gp3d evaluate` would be asked for."""
    shapes = "" if options.pointnet is None else ",fpd"
    return EvaluationOptions(
        metrics=parse_metrics(options.metrics or f"fid2k,is,nfs{shapes}"),
        features=options.network,
        weights=options.weights,
        samples=options.samples,
        shapes=options.shapes,
        grid=options.grid,
        truth=options.models,
        pointnet=options.pointnet,
        cache=options.out / "cache",
    )


def features_of(
    outcomes: Sequence[Outcome], dataset: Dataset, network: FeatureNetwork, cache: Path
) -> torch.Tensor:
    """Features [N,D] of the real pictures, as any of the `outcomes` was measured against them."""
    snapshot = load_snapshot(next(o.snapshot for o in outcomes if o.snapshot is not None))
    sampler = Sampler(snapshot, labels_in(snapshot, dataset), None, 0, 1.0)
    return real_features(sampler, dataset, network, cache)


def lifted_outcomes(
    options: argparse.Namespace,
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    network: FeatureNetwork,
    device: str,
) -> list[Outcome]:
    """The lifted row, a seed a seed of the pictures that it lifts; nothing without a network that estimates depth."""
    found = []
    for row in rows:
        if row.kind != "lifted" or options.depth_model is None:
            continue
        for source in (o for o in outcomes if o.row.key == row.of and o.snapshot is not None):
            folder = options.out / "scores" / f"{row.key}-{source.seed}" / source.snapshot.stem
            scores = lifted_row(
                source.snapshot,
                options.data,
                folder,
                depth_model=options.depth_model,
                network=network,
                cache=options.out / "cache",
                pictures=min(options.samples, 10_000),
                device=device,
            )
            views = scores[1]
            found.append(Outcome(row, source.seed, source.images, {"fid": views.fid, "is": views.is_}))
    return found


def in_words(options: argparse.Namespace, dataset: Dataset, runs: Sequence[TableRun], device: str) -> str:
    """What all rows have in common."""
    name = torch.cuda.get_device_name() if device == "cuda" else "a CPU"
    own = f", every row with {' '.join(options.set)}" if options.set else ""
    return (
        f"Data: {dataset.path.name}, {len(dataset)} pictures of {max(1, dataset.num_classes)} classes at "
        f"{dataset.resolution} px. Presets: {', '.join(dict.fromkeys(run.config.preset for run in runs))}{own}. "
        f"{options.seeds} seed(s), on {name}. Feature network: {options.network}; fid of 2048 generated pictures and "
        f"all real ones, is of {options.samples}, fpd of {options.shapes} objects."
    )


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m benchmarks.tables", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("table", type=int, choices=sorted(TABLES), help="of the paper")
    add("data", type=dataset_path, metavar="DATA", help="data set, folder or zip")
    add("out", type=Path, metavar="OUT", help="folder of runs, scores and tables")
    add(
        "--budget",
        type=number(float, 0, 1e7),
        required=True,
        metavar="MINUTES",
        help="of training, all rows together",
    )
    add(
        "--kimg",
        type=number(float, 1e-3, 1e6),
        default=200.0,
        help="images a row sees at most, thousands (200)",
    )
    add(
        "--first", type=number(float, 1e-3, 1e6), default=1.0, help="images of the first round, thousands (1)"
    )
    add("--growth", type=number(float, 1.1, 1e6), default=2.0, help="of the images from round to round (2)")
    add("--seeds", type=number(int, 1, 100), default=2, help="runs of a row (2; of one no order is claimed)")
    add("--size", type=number(int, 8, 4096), help="pixels a side that presets are meant for (the data's)")
    add("--rows", type=lambda text: text.split(","), default=[], metavar="KEY,…", help="only these rows")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for every row that reads the key's section",
    )
    add(
        "--network",
        default=SQUEEZENET,
        help="of fid and is: inception, or torchvision:squeezenet1_0, which is no FID",
    )
    add(
        "--weights",
        type=existing,
        metavar="FILE",
        help="its weights, and those of the projected discriminator",
    )
    add("--features", type=existing, metavar="FILE", help="of gp3d data features, for rows that distil")
    add("--models", type=existing, metavar="DIR", help="that the data were rendered from, for fpd")
    add("--pointnet", type=existing, metavar="FILE", help="weights of the point network, for fpd")
    add("--depth-model", metavar="MODEL", help="that estimates depth, for the lifted row: file, folder or id")
    add("--metrics", help="of gp3d evaluate (fid2k,is,nfs, and fpd with --pointnet)")
    add(
        "--samples",
        type=number(int, 10, 1e7),
        default=2048,
        help="pictures of is and of the lifted row (2048)",
    )
    add("--shapes", type=number(int, 1, 1e6), default=256, help="objects of fpd (256)")
    add("--grid", type=number(int, 8, 2048), help="of their surfaces (256)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the table; an error is one line."""
    try:
        return make_table(read_options(arguments))
    except GP3DError as error:
        print(f"tables: {spell(str(error), flag_of)}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
