"""What an image costs that a system is trained on: `python -m benchmarks.bench_systems [--presets …] [--csv FILE]`.

Processor seconds an image on one thread, and images a processor second, over as many steps as penalties need to come in
their shares (16), on made-up pictures, at the end of the schedules, when all has grown that grows. Processor seconds
count what a process works, so that a busy machine does little harm; `--steps` takes fewer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.bench_step import MadeUp, made_up_batch
from benchmarks.measuring import Rows
from benchmarks.tables.rows import TABLES
from gp3d_core.config.presets import PRESETS
from gp3d_core.config.schema import RunConfig
from gp3d_core.distributed import World
from gp3d_core.training.gan import build_state, train_step

CLASSES = 8
STEPS = 16
FEATURES = 512  # of a picture, of the teacher of presets that insist on one
SMALL = tuple(  # what trains the rows of the paper's tables on pictures of 64²
    dict.fromkeys(row.presets[64] for rows in TABLES.values() for row in rows if 64 in row.presets)
)


def main(arguments: list[str] | None = None) -> None:
    """Prints and saves two rows per preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=SMALL)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = Rows("systems", options.csv, torch.device("cpu"), options.seconds)
    for preset in options.presets:
        if rows.left <= 0:
            print(f"systems  {preset}: left out, the time is used up")
            continue
        cost = seconds_per_image(PRESETS[preset], options.steps)
        rows.add(f"{preset}, {options.steps} steps", cost, "CPU-s/image")
        rows.add(f"{preset}, {options.steps} steps", 1 / cost, "images/CPU-s")


def seconds_per_image(config: RunConfig, steps: int) -> float:
    """Processor seconds of a training image, after one step that loads libraries."""
    labels = np.arange(4 * CLASSES) % CLASSES
    features = FEATURES if config.dimensions == 2 and config.loss.distillation_weight.start > 0 else 0
    data = MadeUp(CLASSES, features, labels, [{"label": k, "name": f"class {k}"} for k in range(CLASSES)])
    world = World()
    state = build_state(config, data, world)  # type: ignore[arg-type]
    state.nimg = config.training.schedule.images
    batch = made_up_batch(config, CLASSES, features, world.device)
    train_step(state, batch, world)
    start, seen = time.process_time(), state.nimg
    for _ in range(steps):
        train_step(state, batch, world).read()
    return (time.process_time() - start) / (state.nimg - seen)


if __name__ == "__main__":
    main()
