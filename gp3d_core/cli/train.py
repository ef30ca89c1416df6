"""The command `gp3d train`."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from gp3d_core.cli.arguments import (
    any_path,
    check_run,
    dataset_path,
    existing,
    flag_of,
    model_path,
    number,
    report,
)
from gp3d_core.errors import spell

if TYPE_CHECKING:
    from gp3d_core.training.launch import Forecast

_LONG = 12 * 3600.0  # seconds; nobody waits longer without having been asked
_QUICK = "tiny"


def add_train(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d train`."""
    parser.add_argument("dataset", type=dataset_path, help="folder or zip (docs/dataset.md)")
    parser.add_argument("run", type=any_path, help="folder of the run")
    parser.add_argument(
        "--preset", default="tiny", help="tiny (default), shapenet-64, ...; gp3d presets lists them"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.kimg=50"
    )
    parser.add_argument(
        "--features", type=existing, help="distillation features with a <stem>_desc.json beside them"
    )
    parser.add_argument(
        "--init",
        type=model_path,
        metavar="SNAPSHOT",
        help="begin with the generator of a snapshot, run folder or pretrained model",
    )
    parser.add_argument(
        "--weights",
        type=existing,
        metavar="FILE",
        help="of the pretrained network that a projected discriminator looks through (docs/baselines.md)",
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
        help="stop after this much training, that of earlier runs in the folder included",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print configuration, sizes and memory; train nothing"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(command=_train)


def add_presets(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `gp3d presets`."""
    parser.set_defaults(command=_presets)


def _presets(options: argparse.Namespace) -> int:
    from gp3d_core.config.presets import PRESETS

    width = max(map(len, PRESETS))
    for name, config in PRESETS.items():
        training = config.training
        images = f"{training.schedule.images:>11,} images"
        print(f"{name:{width}}  {training.resolution:>3} px  {images}  {config.system}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from gp3d_core.config.presets import resolve
    from gp3d_core.snapshots.metadata import read_snapshot_facts
    from gp3d_core.snapshots.run_folder import RunFolder, find_snapshot

    config = resolve(options.preset, options.set)
    if not options.dry_run:
        check_run(options.run)
    if options.init is not None:
        read_snapshot_facts(find_snapshot(options.init))
    from gp3d_core.distributed import pick_device
    from gp3d_core.training.start import describe, start_training

    if options.dry_run:
        fresh = not RunFolder(options.run).list_checkpoints()
        given = (options.features, options.overfit, options.weights)
        print(describe(config, options.dataset, *given, fresh=fresh, notice=_tell))
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
        weights=options.weights,
        announce=lambda found: print(outlook(options, found), file=sys.stderr),
        notice=_tell,
        fit=None if any(one.startswith("training.micro_batch=") for one in options.set) else report,
    ).show()


def _tell(line: str) -> None:
    """Says on stderr what is no error and yet hardly meant, once, parameters called as this command has them."""
    from gp3d_core.ops.backends import announce

    announce(f"gp3d: {spell(line, flag_of)}")


def outlook(options: argparse.Namespace, found: Forecast) -> str:
    """How long a run takes on this machine; for one of days, a command that shows something in half an hour."""
    line = lasting(found, options.max_minutes)
    if found.seconds < _LONG or options.max_minutes < math.inf or options.preset == _QUICK:
        return line
    smaller = [
        f"gp3d train {options.dataset} {options.run}-{_QUICK}",
        f"--preset {_QUICK}",
        "--max-minutes 30",
    ]
    return f"{line}; a graphics card is what this preset is made for. Something to see sooner: {' '.join(smaller)}"


def lasting(found: Forecast, max_minutes: float) -> str:
    """How long what is left of a run takes on this machine, and whether the limit on minutes ends it before."""
    line = f"{found.images:,} {found.unit}, about {_duration(found.seconds)} on this machine"
    if found.seconds < 60 * max_minutes:
        return line
    return f"{line}; --max-minutes ends it after {max_minutes:g}, counted over all its resumes"


def _duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, as one would say it."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} seconds"
