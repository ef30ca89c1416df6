"""The command `gp3d train`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from gp3d_core.cli.arguments import dataset_path, existing, number


def add_train(commands: argparse._SubParsersAction) -> None:
    """Adds `gp3d train` to the commands."""
    parser = commands.add_parser("train", help="train 3DGP on a data set; the same command again resumes")
    parser.add_argument("dataset", type=dataset_path, help="folder or zip (docs/dataset.md)")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "--preset", default="tiny", help="tiny (default), shapenet-64, ... (gp3d_core/config/presets.py)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.kimg=50"
    )
    parser.add_argument(
        "--features", type=existing, help="distillation features with a <stem>_desc.json beside them"
    )
    parser.add_argument(
        "--init",
        type=existing,
        metavar="SNAPSHOT",
        help="begin with the generator of a snapshot or run folder",
    )
    parser.add_argument(
        "--overfit",
        type=number(int, 1, 1e9),
        metavar="N",
        help="train on N images only, to prove data and machine",
    )
    parser.add_argument(
        "--max-minutes",
        type=number(float, 0, 1e9),
        default=math.inf,
        help="stop after this much training, over all resumes",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print configuration, sizes and memory; train nothing"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from gp3d_core.config.presets import resolve

    config = resolve(options.preset, options.set)
    from gp3d_core.distributed import pick_device
    from gp3d_core.training.start import describe, start_training

    if options.dry_run:
        print(describe(config, options.dataset, options.features, options.overfit))
        return 0
    return start_training(
        config,
        options.dataset,
        options.run,
        device=pick_device(options.device).type,
        features=options.features,
        overfit=options.overfit,
        max_minutes=options.max_minutes,
        init=options.init,
    )
