"""Seconds of training per 1000 images: `python -m benchmarks.bench_step [--toy | --half] [--csv FILE]`.

The whole step: both players, R1 every sixteenth step counted with its share, on made-up images that already lie on the
device. Plain torch and kernels side by side, TF32 off and on; `--toy` is the smallest step on a CPU. `--half` takes
steps on one thread of a CPU instead, in single and in mixed precision by turns, of the method at 64² and of presets.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.measuring import Rows, synchronise, tf32, timed
from gp3d_core.config.presets import PRESETS, resolve
from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.dataset import Batch
from gp3d_core.distributed import World, pick_device
from gp3d_core.training.gan import TrainState, build_state, train_step

BACKENDS = ("reference", "triton")
PRECISIONS: tuple[Literal["float32", "mixed"], ...] = ("float32", "mixed")
CLASSES = {"imagenet-256": 1000}  # of the other presets 68, as many as there are procedural classes
FEATURES = {"imagenet-256": 2048}  # distilled, where the preset is meant for photographs
STEPS = 5
HALF_PRESETS = ("shapenet-64", "tiny")
METHOD_AT_64 = (  # the method's networks, small enough for a CPU: patches of 32² on planes of 64²
    "training.resolution=64",
    "training.batch=4",
    "training.micro_batch=4",
    "patch.resolution=32",
    "generator.plane_resolution=64",
    "generator.channel_max=512",
    "discriminator.channel_max=512",
)


@dataclass(frozen=True)
class MadeUp:
    """What `build_state` asks of a data set."""

    num_classes: int
    feature_dim: int
    labels: np.ndarray
    classes: list[dict[str, Any]]
    angles: None = None
    path: str = "made up"


def main(arguments: list[str] | None = None) -> None:
    """Prints and saves one row per preset, backend and precision, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--presets", nargs="+", default=["imagenet-256", "shapenet-128", "shapenet-64"])
    parser.add_argument("--tf32", choices=("off", "on", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--half", action="store_true")
    options = parser.parse_args(arguments)
    device = pick_device("cpu" if options.toy or options.half else "cuda")
    if options.half:
        rows = Rows("step", options.csv, device, options.seconds)
        at_64 = resolve("imagenet-256", METHOD_AT_64)
        for name, config in {"3dgp at 64": at_64, **{p: PRESETS[p] for p in HALF_PRESETS}}.items():
            compare_precision(rows, name, config)
        return
    presets = ["tiny"] if options.toy else options.presets
    backends = BACKENDS if device.type == "cuda" else BACKENDS[:1]
    rows = Rows("step", options.csv, device, options.seconds)
    for number, preset in enumerate(presets):
        for allowed in {"off": (False,), "on": (True,), "both": (False, True)}[options.tf32]:
            with tf32(allowed) as mode:
                share = rows.left / (len(presets) - number) / (1 if allowed else 2)
                compare(rows, PRESETS[preset], backends, mode, share)
    rows.close()


def compare(rows: Rows, config: RunConfig, backends: tuple[str, ...], mode: str, seconds: float) -> None:
    """The step with each backend, in `seconds` or so."""
    found: dict[str, float] = {}
    for backend in backends:
        if rows.left <= 0:
            print(f"step     {config.preset}, {backend}, {mode}: left out, the time is used up")
            continue
        with rows.attempt(f"{config.preset}, {backend}, {mode}"):
            found[backend], peak = per_thousand(config, backend, rows.device, seconds / len(backends))
            rows.add(f"{config.preset}, {backend}, {mode}", found[backend], "s/kimg")
            if rows.device.type == "cuda":
                rows.add(f"{config.preset}, {backend}, {mode}, peak memory", peak / 2**30, "GiB")
    if len(found) == len(BACKENDS):
        first, second = (found[backend] for backend in BACKENDS)
        rows.add(f"{config.preset}, reference / triton, {mode}", first / second, "x")


def compare_precision(rows: Rows, name: str, config: RunConfig) -> None:
    """Processor seconds of a step of both players and of one with R1, and mixed over single precision of each."""
    torch.set_num_threads(1)
    states = {
        kind: made_up_state(replace(config, training=replace(config.training, precision=kind)), rows.device)
        for kind in PRECISIONS
    }
    for what, regularised in (("G and D", False), ("G and D with R1", True)):
        taken: dict[str, list[float]] = {kind: [] for kind in PRECISIONS}
        for turn in range(3 + 1):
            for kind, (state, batch, world) in states.items():
                before = time.process_time()
                steps(state, batch, world, 1, regularised=regularised)
                if turn:  # the first one finds algorithms
                    taken[kind].append(time.process_time() - before)
        single, mixed = (statistics.median(taken[kind]) for kind in PRECISIONS)
        rows.add(f"{name}, {what}, float32", single, "CPU-s")
        rows.add(f"{name}, {what}, mixed", mixed, "CPU-s")
        rows.add(f"{name}, {what}, mixed / float32", mixed / single, "x")


def per_thousand(config: RunConfig, backend: str, device: torch.device, seconds: float) -> tuple[float, int]:
    """Seconds per 1000 images, and peak bytes (CUDA only)."""
    config = replace(config, render=replace(config.render, backend=backend))
    state, batch, world = made_up_state(config, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    begun = timed(
        lambda: steps(state, batch, world, 1, regularised=True), device
    )  # compiles, finds algorithms
    plain = median(state, batch, world, device, seconds / 2 - begun / 1000.0, regularised=False)
    with_r1 = median(state, batch, world, device, seconds / 2 - begun / 1000.0, regularised=True)
    every = config.loss.r1_interval
    step = (plain * (every - 1) + with_r1) / every
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return step / config.training.batch, peak  # ms per image are s per thousand


def made_up_state(config: RunConfig, device: torch.device) -> tuple[TrainState, Batch, World]:
    """A training at its beginning, and what a step of it takes."""
    count, features = CLASSES.get(config.preset, 68), FEATURES.get(config.preset, 0)
    labels = np.arange(4 * count) % count
    classes = [{"label": k, "name": f"class {k}"} for k in range(count)]
    world = World(device=device)
    state = build_state(config, MadeUp(count, features, labels, classes), world)  # type: ignore[arg-type]
    return state, made_up_batch(config, count, features, device), world


def median(
    state: TrainState, batch: Batch, world: World, device: torch.device, seconds: float, *, regularised: bool
) -> float:
    """Median milliseconds of a step."""
    times: list[float] = []
    while len(times) < STEPS and (not times or sum(times) + max(times) < 1000.0 * seconds):
        times.append(timed(lambda: steps(state, batch, world, 1, regularised=regularised), device))
        synchronise(device)
    return statistics.median(times)


def steps(state: TrainState, batch: Batch, world: World, count: int, *, regularised: bool) -> None:
    """`count` steps, all with R1 or all without."""
    for _ in range(count):
        state.nimg = 0 if regularised else state.config.training.batch
        train_step(state, batch, world)


def made_up_batch(config: RunConfig, classes: int, features: int, device: torch.device) -> Batch:
    """Random pictures."""
    count, side = config.training.batch, config.training.resolution
    return Batch(
        images=torch.rand(count, 3, side, side, device=device) * 2 - 1,
        depth=torch.rand(count, 1, side, side, device=device) * 2 - 1,
        labels=torch.arange(count, device=device) % classes,
        features=torch.randn(count, features, device=device) if features else None,
    )


if __name__ == "__main__":
    main()
