"""What keeps the learned cameras from collapsing: none, gradient penalty or EMD, side by side on one small data set.

    python -m benchmarks.camera_collapse DATASET OUT [--kimg 4]

Trains the `tiny` preset three times from the same seed, differing only in `camera_generator.regulariser`, and writes
OUT/camera_collapse.png (histograms of prior and posterior yaw and pitch) and a table of the posterior's spread as a
fraction of the prior's. Resumes what is there.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from matplotlib.figure import Figure

from gp3d_core.atomic import replacing
from gp3d_core.config.presets import resolve
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.rendering.cameras import PARAMETERS, sample_cameras
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.gan import TrainState, open_task
from gp3d_core.training.gan_monitor import camera_samples
from gp3d_core.training.loop import Budget
from gp3d_core.training.loop import run as run_task

REGULARISERS = ("none", "gradient_penalty", "emd")
SHOWN = ("yaw", "pitch")
SETTINGS = (
    "patch.resolution=16",
    "camera_generator.adjust=angles",
    "camera_generator.weight_ramp.start=1",
    "camera_generator.force_mean_weight=0",
    "training.status_kimg=0.2",
)
ANGLE_WEIGHT = {"none": 0.0, "gradient_penalty": 0.3, "emd": 2.0}  # the paper's and the release's


def run(dataset: Dataset, out: Path, regulariser: str, kimg: float) -> TrainState:
    """Trains with one regulariser."""
    config = resolve(
        "tiny",
        [
            *SETTINGS,
            f"camera_generator.regulariser={regulariser}",
            f"camera_generator.angle_weight={ANGLE_WEIGHT[regulariser]}",
            f"training.kimg={kimg}",
            f"training.resolution={dataset.resolution}",
        ],
    )
    folder = RunFolder(out / regulariser)
    folder.claim(config, dataset.fingerprint)
    task = open_task(config, dataset, folder, World())
    run_task(task, folder, World(), Interruption(), Budget(task.schedule.images))
    return task.state


def draw(states: dict[str, TrainState], path: Path) -> None:
    """Histograms of prior and posterior, a row per regulariser."""
    figure = Figure(figsize=(8, 2.2 * len(states)), layout="constrained")
    axes = figure.subplots(len(states), len(SHOWN))
    for row, (name, state) in zip(axes, states.items(), strict=True):
        prior = sample_cameras(state.config.camera, 512, generator_for("camera collapse")).flat()
        _, posterior = camera_samples(state)
        for axis, parameter in zip(row, SHOWN, strict=True):
            column = PARAMETERS.index(parameter)
            centre = 0.0 if parameter == "yaw" else math.pi / 2
            edges = [centre + x / 20 for x in range(-30, 31)]
            axis.hist(prior[:, column].numpy(), edges, alpha=0.5, density=True, label="prior")
            axis.hist(
                posterior.flat()[:, column].cpu().numpy(), edges, alpha=0.5, density=True, label="posterior"
            )
            axis.set_title(f"{name}: {parameter} (radians)", fontsize=9)
    axes[0][0].legend(fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def spread(run_folder: Path) -> dict[str, float]:
    """The last spreads that a run reported."""
    lines = [json.loads(line) for line in (run_folder / "stats.jsonl").read_text().splitlines()]
    return next(line for line in reversed(lines) if "cameras/spread_yaw" in line)


def main() -> None:
    """Runs the comparison and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kimg", type=float, default=4.0)
    options = parser.parse_args()
    dataset = Dataset(options.dataset)
    states = {name: run(dataset, options.out, name, options.kimg) for name in REGULARISERS}
    draw(states, options.out / "camera_collapse.png")
    print("| regulariser | yaw spread | pitch spread |\n|---|---|---|")
    for name in REGULARISERS:
        last = spread(options.out / name)
        print(f"| {name} | {last['cameras/spread_yaw']:.3f} | {last['cameras/spread_pitch']:.3f} |")


if __name__ == "__main__":
    main()
