"""3DGP's Table 7 on procedural models: what does depth give, and how good must it be? Docs: docs/table7.md.

    python -m benchmarks.table7 OUT --kimg 200 --pointnet FILE [--features torchvision:squeezenet1_0 --weights FILE]
    python -m benchmarks.table7 OUT --toy          # every stage at toy size, on a CPU; the figures mean nothing

Renders one data set, then trains and measures five generators on it, with equal seeds, networks and budgets:
EpiGRAF, 3DGP with the renderer's depth, and 3DGP with that depth blurred. Writes OUT/table7.md, .csv and .png. The
same command goes on where it stopped; a larger --kimg trains on.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.programs import call
from gp3d_core.atomic import replacing, write_text
from gp3d_core.cli.arguments import Parser, number
from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets import depth_codes
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import pick_device
from gp3d_core.errors import GP3DError
from gp3d_core.evaluation.run import EvaluationOptions, evaluate, parse_metrics
from gp3d_core.generation.objects import object_specs
from gp3d_core.generation.sampling import generate, open_snapshot, view
from gp3d_core.metrics.features import open_network
from gp3d_core.metrics.pointnet import PointNet, load_pointnet
from gp3d_core.metrics.score import Score
from gp3d_core.networks.squeezenet import SqueezeNet
from gp3d_core.snapshots.metadata import read_snapshot_facts
from gp3d_core.snapshots.run_folder import RunFolder, newest_snapshot
from gp3d_core.snapshots.snapshot import write_tensors
from gp3d_core.training.start import start_training
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_picture, sheet

EPIGRAF = (
    "discriminator.depth=false",
    "depth_adaptor.layers=0",
    "camera_generator.adjust=",
    "loss.distillation_weight.start=0",
    "loss.distillation_weight.end=0",
)
SIGMAS = (1.0, 3.0, 10.0)
SHOWN = (
    "fid2k",
    "fid50k",
    "kid",
    "fpd",
    "mmd",
    "nfs",
)  # scores that are columns, whatever network they are of
_PAIRS, _TILE = 6, 64  # of the picture
_TOY_SETTINGS = (
    "training.resolution=16",
    "training.batch=4",
    "training.micro_batch=4",
    "training.kimg=0.008",
    "training.status_kimg=0.004",
    "training.snapshot_kimg=0.008",
    "training.checkpoint_kimg=0.008",
    "patch.resolution=8",
    "generator.plane_resolution=16",
    "generator.plane_channels=4",
    "generator.channel_base=128",
    "generator.channel_max=16",
    "discriminator.channel_base=256",
    "discriminator.channel_max=16",
    "render.coarse_steps=6",
    "render.fine_steps=6",
)
_TOY = {
    "preset": "tiny",
    "classes": "barrel,mushroom",
    "per_class": 4,
    "views": 1,
    "metrics": "kid,fpd,nfs",
    "samples": 16,
    "shapes": 4,
    "grid": 16,
    "features": "torchvision:squeezenet1_0",
    "device": "cpu",
}


class TableError(GP3DError):
    """A stage of the table that failed; the message names it."""


@dataclass(frozen=True)
class Row:
    """One generator of the table: the name of its folder, its title, and how it differs from the preset."""

    key: str
    title: str
    settings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Result:
    """What came out of a row: its snapshot, the images it has seen, its scores by name."""

    row: Row
    snapshot: Path
    images: int
    scores: dict[str, Score]


def rows_of(sigmas: Sequence[float]) -> list[Row]:
    """The rows: EpiGRAF, 3DGP, and 3DGP with depth blurred by each of `sigmas`, in pixels."""
    blurred = [
        Row(f"3dgp-blur-{s:g}", f"3DGP, depth blurred, sigma {s:g} px", (f"loss.real_depth_blur={s:g}",))
        for s in sigmas
    ]
    return [Row("epigraf", "EpiGRAF", EPIGRAF), Row("3dgp", "3DGP", ()), *blurred]


def make_data(options: argparse.Namespace, resolution: int) -> tuple[Path, Path]:
    """The folder of models and the data set: those that were named, else new ones in OUT, made by `synthetic`."""
    models, dataset = options.models or options.out / "models", options.dataset or options.out / "dataset"
    if options.models is None:
        classes = ["--classes", options.classes, "--per-class", options.per_class]
        call("synthetic.shapes", models, *classes, "--seed", 0)
    if options.dataset is None:
        views = ["--resolution", resolution, "--views", options.views]
        call("synthetic.render", models, dataset, *views, "--seed", 0)
    return models, dataset


def measure(row: Row, run: Path, dataset: Path, request: EvaluationOptions, device: str) -> Result:
    """The scores of a row's newest snapshot, kept beside the run for each snapshot."""
    snapshot = newest_snapshot(run)
    scores = evaluate(snapshot, dataset, run.with_name(f"scores-{snapshot.stem}"), request, device)
    return Result(
        row, snapshot, read_snapshot_facts(snapshot).nimg, {score.metric: score for score in scores}
    )


def shown_scores(results: Sequence[Result]) -> list[str]:
    """Names of the scores that are columns, in the order of SHOWN."""
    names = dict.fromkeys(name for result in results for name in result.scores)
    return sorted((n for n in names if _plain(n) in SHOWN), key=lambda n: SHOWN.index(_plain(n)))


def _plain(name: str) -> str:
    """The name of a score without that of its network: squeezenet-fid2k is fid2k."""
    return name.rpartition("-")[2]


def read_paper(path: Path | None, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Columns of the paper by row: of a CSV file whose first column, "row", has the rows' names (epigraf, 3dgp, …).

    Raises TableError for another file.
    """
    if path is None:
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = {line.pop("row"): line for line in csv.DictReader(file)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise TableError(f"--paper {path}: expected CSV with a column row ({error!r})") from error
    if unknown := set(found) - {row.key for row in rows}:
        raise TableError(
            f"--paper {path}: no row {min(unknown)!r}; expected {', '.join(r.key for r in rows)}"
        )
    return found


def write_tables(
    out: Path, results: Sequence[Result], paper: dict[str, dict[str, str]], budget: str
) -> list[list[str]]:
    """Writes OUT/table7.csv and table7.md; returns the table's lines, the head first."""
    names = shown_scores(results)
    columns = list(dict.fromkeys(name for line in paper.values() for name in line))
    head = ["row", "images seen", *names, *(f"floor of {n}" for n in _with_floor(results, names))]
    lines = [[*head, *(f"paper: {name}" for name in columns)]]
    for result in results:
        floors = [_number(result.scores[n].facts["floor"]) for n in _with_floor(results, names)]
        own = [_number(result.scores[name].value) for name in names]
        theirs = [paper.get(result.row.key, {}).get(name) or "–" for name in columns]
        lines.append([result.row.title, str(result.images), *own, *floors, *theirs])
    with replacing(out / "table7.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    rule = ["---" for _ in lines[0]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))
    missing = "" if columns else " The paper's own figures were not given (--paper)."
    write_text(out / "table7.md", f"# Table 7\n\n{budget}{missing}\n\n{table}\n\n![samples](table7.png)\n")
    return lines


def _with_floor(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    return [name for name in names if "floor" in results[0].scores[name].facts]


def _number(value: float) -> str:
    return f"{value:.4g}"


def draw_samples(results: Sequence[Result], dataset: Path, device: str, path: Path) -> None:
    """Real views above, then a line for each row: the same classes and seeds, each as colour and depth."""
    data, pictures = Dataset(dataset), []
    config = open_snapshot(results[0].snapshot, "cpu").config
    for index in np.linspace(0, len(data) - 1, _PAIRS).astype(int).tolist():
        image, depth = data.load(index)
        normalised = depth_codes.to_normalised(torch.from_numpy(depth.astype(np.float32)))[None, None]
        pictures += [image, depth_to_uint8(normalised, -1, 1)[0]]
    lines: list[tuple[str, list[np.ndarray]]] = [("rendered data: colour and depth", pictures)]
    for result in results:
        snapshot, pictures = open_snapshot(result.snapshot, device), []
        known = object_specs(snapshot, None, range(_PAIRS))
        some = known[:: max(1, len(known) // _PAIRS)][:_PAIRS]
        for spec in some:
            seen = view(snapshot, generate(snapshot, spec, 1.0))
            pictures.append(rgb_to_uint8(seen.rgb)[0])
            pictures.append(depth_to_uint8(seen.depth, config.camera.t_near, config.camera.t_far)[0])
        lines.append((f"{result.row.title}, {result.images} images", pictures))
    save_picture(sheet(lines, tile=_TILE), path)


def budget_in_words(config: RunConfig, dataset: Path, request: EvaluationOptions, device: str) -> str:
    """What all rows have in common."""
    data = Dataset(dataset)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return (
        f"Preset {config.preset}, {config.training.kimg:g} kimg a row, seed {config.training.seed}, on {name}. "
        f"Data: {len(data)} views of procedural models in {max(1, data.num_classes)} classes at {data.resolution} px; "
        f"depth is blurred in pixels of these. Scores of {request.samples} images (fid2k: 2048) and {request.shapes} "
        f"shapes, truncation {request.truncation:g}; floors are those of as many other real models."
    )


def toy_weights(out: Path) -> tuple[Path, Path]:
    """Networks that never learnt anything, for the toy: files of SqueezeNet's and PointNet's weights."""
    files = out / "toy-squeezenet.safetensors", out / "toy-pointnet.safetensors"
    out.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for path, network in zip(files, (SqueezeNet(), PointNet(40)), strict=True):
            for weight in (p for p in network.parameters() if p.ndim == 4):
                torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")  # else nothing would come through
            write_tensors(path, network.state_dict())
    return files


def make_table(options: argparse.Namespace) -> int:
    """Everything; returns the exit code."""
    device = pick_device(options.device).type
    rows = rows_of(options.sigmas)
    configs = {row.key: resolve(options.preset, [*options.set, *row.settings]) for row in rows}
    paper = read_paper(options.paper, rows)
    plain = configs["3dgp"]
    open_network(options.features, options.weights, torch.device("cpu"))  # before hours of training
    if options.pointnet is not None:
        load_pointnet(options.pointnet)
    models, dataset = make_data(options, plain.training.resolution)
    request = EvaluationOptions(
        metrics=parse_metrics(options.metrics or f"fid2k,nfs,{'fpd' if options.pointnet else 'shapes'}"),
        features=options.features,
        weights=options.weights,
        samples=options.samples,
        shapes=options.shapes,
        grid=options.grid,
        truth=models,
        pointnet=options.pointnet,
        cache=options.out / "cache",
    )
    results: list[Result] = []
    start = time.monotonic()
    for row in rows:
        announce(row, len(results), len(rows), time.monotonic() - start)
        run = options.out / row.key / "run"
        if not is_trained(run, configs[row.key]):
            code = start_training(configs[row.key], dataset, run, device=device).show()
            if code:
                return code
        results.append(measure(row, run, dataset, request, device))
    check_budgets(results)
    draw_samples(results, dataset, device, options.out / "table7.png")
    budget = budget_in_words(plain, dataset, request, device)
    lines = write_tables(options.out, results, paper, budget)
    for line in lines:
        print("  ".join(f"{cell:>16}" for cell in line))
    print(options.out / "table7.md")
    return 0


def is_trained(run: Path, config: RunConfig) -> bool:
    """Whether the run is at its end; its last snapshot is then left as it is, the scores name it by its bytes."""
    if not any(RunFolder(run).snapshots.glob("*.safetensors")):
        return False
    facts = read_snapshot_facts(newest_snapshot(run))
    return facts.config == config and facts.nimg >= config.training.schedule.images


def announce(row: Row, done: int, total: int, seconds: float) -> None:
    """Says on stderr which row comes, and for how long all take, as far as those that are done can tell."""
    left = f"; about {seconds / done * (total - done) / 60:.0f} min left" if done else ""
    print(f"-- {done + 1} of {total}: {row.title}{left}", file=sys.stderr, flush=True)


def check_budgets(results: Sequence[Result]) -> None:
    """Raises TableError unless all rows have seen as many images."""
    if len({result.images for result in results}) > 1:
        seen = ", ".join(f"{result.row.key} {result.images}" for result in results)
        raise TableError(f"rows have seen different numbers of images ({seen}): use another OUT")


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, with the toy's settings where it is one."""
    parser = Parser(prog="python -m benchmarks.table7", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("out", type=Path, help="folder of data, runs and table")
    add("--toy", action="store_true", help="toy size, on a CPU, with networks that know nothing")
    add("--preset", default="shapenet-64")
    add(
        "--kimg", type=number(float, 1e-3, 1e9), help="thousands of images that every row sees (the preset's)"
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="for every row")
    add("--sigmas", type=number(float, 0.34, 1e3), nargs="*", default=list(SIGMAS), help="default 1 3 10")
    add("--classes", default="all", help="of procedural models, with commas (all)")
    add("--per-class", type=number(int, 4, 1e6), default=100, help="models of each (100)")
    add("--views", type=number(int, 1, 1e4), default=4, help="renders of each model (4)")
    add("--models", type=Path, metavar="DIR", help="take these models instead of making some")
    add("--dataset", type=Path, metavar="DIR", help="take these renders of them")
    add("--metrics", help="of gp3d evaluate (fid2k,nfs, and fpd with --pointnet, else shapes)")
    add("--features", default="inception", help="inception, or torchvision:squeezenet1_0, which is no FID")
    add("--weights", type=Path, metavar="FILE", help="its weights")
    add("--pointnet", type=Path, metavar="FILE", help="weights of the point network of fpd")
    add("--samples", type=number(int, 1, 1e7), default=50_000, help="images of kid (50000)")
    add("--shapes", type=number(int, 1, 1e6), default=256, help="objects of fpd and shapes (256)")
    add("--grid", type=number(int, 8, 2048), help="of their surfaces (256)")
    add("--paper", type=Path, metavar="FILE", help="CSV of the paper's figures: row, then any columns")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    if options.toy:
        vars(options).update(_toy(options))
    if options.kimg is not None:
        options.set.append(f"training.kimg={options.kimg}")
    return options


def _toy(options: argparse.Namespace) -> dict[str, Any]:
    weights, pointnet = toy_weights(options.out)
    return {**_TOY, "set": [*_TOY_SETTINGS, *options.set], "weights": weights, "pointnet": pointnet}


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the table; an error is one line."""
    try:
        return make_table(read_options(arguments))
    except GP3DError as error:
        print(f"table7: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
