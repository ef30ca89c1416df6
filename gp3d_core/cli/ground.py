"""The command `gp3d ground`: a generator from known shapes."""

from __future__ import annotations

import argparse
import math
import sys

from gp3d_core.cli.arguments import (
    any_path,
    check_run,
    dataset_path,
    flag_of,
    number,
)
from gp3d_core.cli.train import lasting


def add_ground(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d ground`."""
    parser.add_argument("dataset", type=dataset_path, help="folder with views and points (docs/grounding.md)")
    parser.add_argument("run", type=any_path, help="folder of the run")
    parser.add_argument("--preset", default="box-64", help="one with known cameras (default box-64)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.kimg=50"
    )
    parser.add_argument(
        "--max-minutes",
        type=number(float, 0, 1e9),
        default=math.inf,
        help="stop after this much training, that of earlier runs in the folder included",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_ground)


def _ground(options: argparse.Namespace) -> int:
    from gp3d_core.config.presets import resolve

    config = resolve(options.preset, options.set)
    check_run(options.run)
    from gp3d_core.distributed import pick_device
    from gp3d_core.grounding.train import start_grounding

    return start_grounding(
        config,
        options.dataset,
        options.run,
        device=pick_device(options.device).type,
        max_minutes=options.max_minutes,
        announce=lambda found: print(lasting(found, options.max_minutes), file=sys.stderr),
    ).show(flag_of)
