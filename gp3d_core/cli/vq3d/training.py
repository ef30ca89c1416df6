"""The commands `gp3d vq3d …` that train and measure; others stand in `scenes` and `editing`."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from gp3d_core.atomic import check_writable
from gp3d_core.cli.arguments import (
    UsageError,
    any_path,
    check_run,
    dataset_path,
    existing,
    new_path,
    number,
)
from gp3d_core.cli.vq3d.editing import add_edit_verbs
from gp3d_core.cli.vq3d.scenes import add_scene_verbs
from gp3d_core.vq3d.files.metadata import check_tokenizer, prior_classes


def add_vq3d(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d vq3d`."""
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _add_toys(verbs)
    _add_train(verbs)
    _add_train_prior(verbs)
    add_scene_verbs(verbs)
    add_edit_verbs(verbs)
    _add_ablate(verbs)
    _add_evaluate(verbs)
    _add_ship(verbs)


def _add_toys(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser(
        "toys", help="write a data set of simple scenes with exact depth and true views"
    )
    add = parser.add_argument
    add("out", type=new_path, help="the new folder")
    add("--count", type=number(int, 1, 1e6), default=1024, help="scenes (default 1024)")
    add("--views", type=number(int, 1, 100), default=1, help="of each, the first from the front (default 1)")
    add("--resolution", type=number(int, 8, 1024), default=32, help="pixels a side (default 32)")
    add("--seed", type=number(int, 0, 1e15), default=0, help="decides the scenes (default 0)")
    parser.set_defaults(command=_toys)


def _add_run_arguments(parser: argparse.ArgumentParser, example: str) -> None:
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="KEY=VALUE", help=f"e.g. {example}")
    minutes = number(float, 0.001, 1e9)
    add("--max-minutes", type=minutes, default=math.inf, help="budget of training time, over all resumes")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _add_train(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("train", help="train the tokenizer; the same command again resumes")
    parser.add_argument("dataset", type=dataset_path, help="folder or zip with depth (docs/dataset.md)")
    parser.add_argument("run", type=any_path, help="folder of the run")
    parser.add_argument("--preset", default="tiny32", help="tiny32 (default), rooms64, small64, base256")
    _add_run_arguments(parser, "training.kimg=20")
    parser.set_defaults(command=_train)


def _add_train_prior(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("train-prior", help="learn which codes go together; the same command resumes")
    parser.add_argument("tokenizer", type=any_path, help="tokenizer, or the folder of its run (the newest)")
    parser.add_argument(
        "dataset", type=dataset_path, help="folder or zip; depth is not needed (docs/dataset.md)"
    )
    parser.add_argument("run", type=any_path, help="folder of the prior's run")
    _add_run_arguments(parser, "prior.kimg=50")
    parser.set_defaults(command=_train_prior)


def _add_ablate(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("ablate-depth", help="the same training with each kind of depth loss, compared")
    add = parser.add_argument
    add("dataset", type=dataset_path, help="folder or zip with depth to train on")
    add("out", type=new_path, help="folder of the runs, the table and the pictures; the same command goes on")
    add("--test", type=dataset_path, metavar="DATASET", help="to measure on (default: the one trained on)")
    add("--modes", default="point,accum,none", help="with commas: point, accum, none, dsnerf, urf")
    add("--preset", default="tiny32", help="tiny32 (default), rooms64, small64, base256")
    _add_run_arguments(parser, "training.kimg=2")
    parser.set_defaults(command=_ablate)


def _add_evaluate(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("evaluate", help="score a tokenizer, and a prior, against a data set")
    add = parser.add_argument
    add("tokenizer", type=any_path, help="tokenizer, or the folder of its run (the newest)")
    add("dataset", type=dataset_path, help="folder or zip with depth, best one that was not trained on")
    add("--out", type=new_path, required=True, help="folder of the report; the same command goes on in it")
    add("--prior", type=any_path, help="also a prior over its codes: a file, or the folder of its run")
    add("--images", type=number(int, 2, 1e6), default=256, help="pictures, and samples (default 256)")
    angle = number(float, 0.1, 90)
    add("--max-turn", type=angle, default=25.0, help="degrees between two true views (default 25)")
    add(
        "--features",
        help="network of Fréchet distances: inception or torchvision:squeezenet1_0 (default none)",
    )
    add("--weights", type=existing, metavar="FILE", help="its weights")
    add(
        "--name-with",
        type=dataset_path,
        metavar="DATASET",
        help="also train a classifier on its pictures to name results",
    )
    add("--seed", type=number(int, 0, 1e15), default=0, help="of samples and classifier (default 0)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_evaluate)


def _add_ship(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verbs.add_parser("ship", help="a tokenizer or a prior in half the bytes, to give away")
    parser.add_argument("model", type=any_path, help="file, or the folder of its run (the newest)")
    beside = "the new .safetensors; a prior wants its tokenizer beside it, called tokenizer.safetensors"
    parser.add_argument("out", type=new_path, help=beside)
    parser.set_defaults(command=_ship)


def _toys(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.toyscenes import write_toys

    write_toys(options.out, options.count, options.resolution, views=options.views, seed=options.seed)
    print(options.out)
    return 0


def _train(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.presets import resolve

    config = resolve(options.preset, options.set)
    check_run(options.run)
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.training.tokenizer import start_tokenizer_training

    ending = start_tokenizer_training(
        config,
        options.dataset,
        options.run,
        device=pick_device(options.device).type,
        max_minutes=options.max_minutes,
    )
    return ending.show()


def _train_prior(options: argparse.Namespace) -> int:
    path = check_tokenizer(options.tokenizer)
    check_run(options.run)
    from gp3d_core.config.assignments import override
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.config import check_config
    from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer
    from gp3d_core.vq3d.training.prior import start_prior_training

    device = pick_device(options.device)
    snapshot = load_tokenizer(path, device)
    config = snapshot.config
    for assignment in options.set:
        if not assignment.startswith("prior."):
            raise UsageError(f"--set of a prior takes keys that begin with prior., found {assignment!r}")
        config = override(config, assignment)
    check_config(config)
    dataset = Dataset(options.dataset, needs_depth=False)
    minutes = options.max_minutes
    return start_prior_training(
        config, snapshot, dataset, options.run, device=device.type, max_minutes=minutes
    ).show()


def _ablate(options: argparse.Namespace) -> int:
    from gp3d_core.vq3d.presets import resolve

    config = resolve(options.preset, options.set)
    check_writable(options.out)
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.evaluation.ablation import ablate_depth

    code = ablate_depth(
        config,
        options.dataset,
        options.test or options.dataset,
        options.out,
        modes=[mode.strip() for mode in options.modes.split(",")],
        device=pick_device(options.device).type,
        max_minutes=options.max_minutes,
    )
    if code == 0:
        print((options.out / "ablation.md").read_text(encoding="utf-8"), end="")
    return code


def _evaluate(options: argparse.Namespace) -> int:
    path = check_tokenizer(options.tokenizer)
    if options.prior is not None:
        prior_classes(options.prior)
    check_writable(options.out)
    from gp3d_core.datasets.dataset import Dataset
    from gp3d_core.distributed import pick_device
    from gp3d_core.vq3d.evaluation.run import SceneEvaluationOptions, evaluate_scenes
    from gp3d_core.vq3d.files.prior_file import load_prior
    from gp3d_core.vq3d.files.tokenizer_file import load_tokenizer

    device = pick_device(options.device)
    prior = None if options.prior is None else load_prior(options.prior, path, device)
    request = SceneEvaluationOptions(
        images=options.images,
        limit=options.max_turn,
        features=options.features,
        weights=options.weights,
        learnt=options.name_with,
        seed=options.seed,
    )
    for score in evaluate_scenes(
        load_tokenizer(path, device), prior, Dataset(options.dataset), options.out, request
    ):
        print(f"{score.metric:48s} {score.value:12.5g}   n {score.n}")
    print(options.out / "report.html")
    return 0


def _ship(options: argparse.Namespace) -> int:
    from gp3d_core.snapshots.run_folder import find_snapshot
    from gp3d_core.vq3d.files.export import ship

    ship(find_snapshot(options.model), options.out)
    print(f"{options.out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    print(options.out)
    return 0
