"""What learning from known shapes costs beside another checkout: `python -m benchmarks.bench_ground DATA --base PATH`.

Both ground on the same data with the same seed, one thread each, one after the other; a run of a few objects is taken
off each, so that starting, reading and the last picture do not count. DATA needs points on surfaces, and pictures
without light, as the base learns from them. Processor time and memory are those of the operating system.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Rows
from gp3d_core.distributed import pick_device

START = 0.2  # thousands of objects of the run that is taken off
# the base's preset with what `box-128` learns by, and the planes of the base
OURS = (
    "generator.texel_square=4",
    "grounding.surface_points=1024",
    "grounding.colour_jitter=0.006",
    "grounding.free_weight=4",
    "grounding.rays=40",
    "grounding.point_share=0.3",
    "grounding.ray_share=0",
    "grounding.point_weight=1",
    "grounding.noise_maps=none",
    "training.generator_lr=0.008",
    "training.batch=8",
    "training.micro_batch=8",
)
TWICE = (*OURS, "generator.plane_resolution=128", "generator.channel_base=4096")


@dataclass(frozen=True)
class Side:
    """A checkout, the Python that runs it, and settings beside the preset's."""

    name: str
    checkout: Path
    python: Path
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """Processor seconds, peak memory in MB, and held-out PSNR (dB) and IoU."""

    seconds: float
    memory: float
    psnr: float
    iou: float


def main(arguments: list[str] | None = None) -> None:
    """Prints and saves one row per side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--base", type=Path, required=True, help="another checkout of GP3D")
    parser.add_argument("--base-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--kimg", type=float, default=16.0, help="thousands of objects (default: 16)")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    here = Path(__file__).resolve().parent.parent
    sides = (
        Side("base", options.base, options.base_python, ()),
        Side("ours", here, Path(sys.executable), OURS),
        Side("ours, planes of 128", here, Path(sys.executable), TWICE),
    )
    rows = Rows("ground", options.csv, pick_device("cpu"), float("inf"))
    for side in sides:
        start, whole = (ground(side, options.data.resolve(), kimg) for kimg in (START, options.kimg))
        objects = 1000 * (options.kimg - START)
        rate = objects / (whole.seconds - start.seconds)
        for figure, value, unit in (
            ("objects a CPU second", rate, "1/s"),
            ("held-out PSNR", whole.psnr, "dB"),
            ("held-out IoU", whole.iou, ""),
            ("peak memory", whole.memory, "MB"),
        ):
            rows.add(f"{options.kimg:g} kimg, {side.name}, {figure}", value, unit)


def ground(side: Side, data: Path, kimg: float) -> Outcome:
    """What a grounding of `kimg` thousand objects came to."""
    settings = (
        *side.settings,
        f"training.kimg={kimg}",
        f"training.snapshot_kimg={kimg}",
        f"training.checkpoint_kimg={kimg}",
        "grounding.prior_steps=1",
    )
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        command = [side.python, "-m", "gp3d_core.cli", "ground", data, run, "--preset", "box-64"]
        command += [part for setting in settings for part in ("--set", setting)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(side.checkout)}
        process = subprocess.Popen(command, cwd=side.checkout, env=environment, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(
                f"{side.name}: gp3d ground ended with status {os.waitstatus_to_exitcode(status)}"
            )
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text("utf-8").splitlines()]
    measured = [line for line in lines if "held_out/psnr" in line][-1]
    return Outcome(
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        measured["held_out/psnr"],
        measured["held_out/iou"],
    )


if __name__ == "__main__":
    main()
