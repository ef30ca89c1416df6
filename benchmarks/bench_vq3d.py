"""Images a second of VQ3D's stage 1: `python -m benchmarks.bench_vq3d [--toy] [--csv FILE]`.

The whole step in its last phase but one: tokenizer, both critics where the preset has them, R1 counted with its share,
on made-up pictures that already lie on the device. TF32 for matrix products, which training leaves off, side by side.
`small64 in windows` lets losses and critics see 32 × 32 of every second pixel.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial
from pathlib import Path

import torch

from benchmarks.measuring import Rows, tf32, timed
from gp3d_core.distributed import World, pick_device
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.presets import resolve
from gp3d_core.vq3d.rendering.views import input_pose, to_image
from gp3d_core.vq3d.training.novel_views import NovelView
from gp3d_core.vq3d.training.objective import Pictures
from gp3d_core.vq3d.training.tokenizer import TokenizerState, build_tokenizer_state, train_step

CASES: dict[str, tuple[str, ...]] = {
    "small64": ("small64",),
    "small64 in windows": ("small64", "training.patch=32", "training.stride=2"),
    "rooms64": ("rooms64",),
}
TOY = {"tiny32": ("tiny32", "training.batch=4", "render.steps=8")}
PROGRESS = 0.6  # everything learns, and no code is revived any more
STEPS = 10


def main(arguments: list[str] | None = None) -> None:
    """Prints and saves rate and peak memory of each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    device = pick_device("cpu" if options.toy else "cuda")
    rows = Rows("vq3d", options.csv, device, options.seconds)
    works = [
        (name, more, allowed)
        for name, more in (TOY if options.toy else CASES).items()
        for allowed in (False, True)
    ]
    for number, (name, more, allowed) in enumerate(works):
        with tf32(allowed) as mode:
            row(rows, f"{name}, {mode}", resolve(more[0], more[1:]), rows.left / (len(works) - number))
    rows.close()


def row(rows: Rows, figure: str, config: Vq3dConfig, seconds: float) -> None:
    """One case, in `seconds` or so."""
    if rows.left <= 0:
        print(f"vq3d     {figure}: left out, the time is used up")
        return
    device = rows.device
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with rows.attempt(figure):
        milliseconds = step_time(config, device, seconds)
        rows.add(figure, 1000 * config.training.batch / max(milliseconds, 1e-6), "images/s")
        if device.type == "cuda":
            rows.add(f"{figure}, peak memory", torch.cuda.max_memory_allocated(device) / 2**30, "GiB")


def step_time(config: Vq3dConfig, device: torch.device, seconds: float) -> float:
    """Milliseconds of a step, the one with R1 counted with its share."""
    state, pictures = build_tokenizer_state(config, [], device), made_up(config, device)
    every = config.critic.r1_interval
    begun = sum(timed(partial(step, state, pictures, k), device) for k in (0, 1))  # finds algorithms
    left = max(seconds - begun / 1000, 0) / 2
    with_r1, plain = (median(state, pictures, number, left) for number in (0, 1))
    return (with_r1 + (every - 1) * plain) / every


def median(state: TokenizerState, pictures: Pictures, number: int, seconds: float) -> float:
    """Median milliseconds of step `number`; 0 is one with R1."""
    device, times = pictures.images.device, list[float]()
    while len(times) < STEPS and (not times or sum(times) + max(times) < 1000 * seconds):
        times.append(timed(partial(step, state, pictures, number), device))
    return statistics.median(times)


def step(state: TokenizerState, pictures: Pictures, number: int) -> None:
    """One step, as the one of that number."""
    state.nimg = number * state.config.training.batch
    train_step(state, pictures, PROGRESS, World(device=pictures.images.device))


def made_up(config: Vq3dConfig, device: torch.device) -> Pictures:
    """Random pictures with another view of each."""
    count, side = config.training.batch, config.training.resolution
    images, target = (
        torch.rand(count, 3, side, side, device=device),
        torch.rand(count, side, side, device=device),
    )
    other = NovelView(input_pose(count, device), images, target, torch.ones_like(target))
    return Pictures(to_image(images), target, other)


if __name__ == "__main__":
    main()
