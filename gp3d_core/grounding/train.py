"""`gp3d ground`: the run of a grounding, from data to a snapshot with a prior; the same command again resumes."""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import shuffled
from gp3d_core.errors import GP3DError
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.grounding.latent_prior import fit_latents, fit_mapping
from gp3d_core.grounding.step import (
    GroundState,
    build_ground_state,
    codes_of_models,
    ground_step,
    measure,
    restore_ground,
    write_ground_checkpoint,
)
from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import mean_camera, turn_camera
from gp3d_core.rng import generator_for
from gp3d_core.signals import Interruption, interruptible
from gp3d_core.snapshots.metadata import holds_snapshot
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.step import passed_multiple
from gp3d_core.visualization import rgb_to_uint8, save_picture, sheet

_SHOWN = 12  # models, and classes, in a picture
_TILE = 96
_RAYS = 4096


class GroundingFailed(GP3DError):
    """A grounding whose losses stopped being numbers."""

    exit_code = 5


def start_grounding(
    config: RunConfig, dataset: Path, run: Path, *, device: str, max_minutes: float = math.inf
) -> int:
    """Grounds on the data at `dataset` in the folder `run`, resuming what is there; returns the exit code.

    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    if config.camera_generator.adjust:
        raise ConfigError("grounding knows the cameras: choose a preset with known ones, such as box-64")
    folder = RunFolder(run)
    truth = load_truth(dataset, config.training.resolution).to(torch.device(device))
    folder.claim(config, truth.fingerprint)
    state = build_ground_state(config, truth)
    restore_ground(state, folder)
    with interruptible() as interruption:
        ground(state, truth, folder, interruption, max_minutes=max_minutes)
    write_ground_checkpoint(state, folder)
    if interruption.requested:
        print(f"stopped at {state.nimg} objects; the same command goes on", file=sys.stderr)
        return interruption.exit_code
    print(finish_grounding(state, truth, folder))
    return 0


def ground(
    state: GroundState, truth: Truth, folder: RunFolder, interruption: Interruption, *, max_minutes: float
) -> None:
    """Steps until `training.kimg`, `max_minutes` of steps in all, or an interruption."""
    settings, total = state.config.training, round(1000 * state.config.training.kimg)
    sums: dict[str, list[Tensor]] = defaultdict(list)
    with tqdm(total=total, initial=state.nimg, unit="obj", desc="grounding", mininterval=1) as bar:
        while state.nimg < total and state.seconds < 60 * max_minutes and not interruption.requested:
            start, before = time.monotonic(), state.nimg
            order = shuffled(state.nimg, settings.batch, len(truth), settings.seed)
            losses = ground_step(state, truth, torch.from_numpy(order).to(truth.labels.device))
            bar.update(state.nimg - before)
            for name, value in losses.items():
                sums[name].append(value)
            if passed_multiple(before, state.nimg, settings.status_kimg):
                report(state, folder, sums, bar)
            state.seconds += (
                time.monotonic() - start
            )  # with the report, which waits for what a GPU still computes
            if passed_multiple(before, state.nimg, settings.snapshot_kimg):
                look(state, truth, folder)
            if passed_multiple(before, state.nimg, settings.checkpoint_kimg):
                write_ground_checkpoint(state, folder)


def report(state: GroundState, folder: RunFolder, sums: dict[str, list[Tensor]], bar: tqdm) -> None:
    """Means since the last report into stats.jsonl. Raises GroundingFailed when one is not a number."""
    means = {name: float(torch.stack(values).mean()) for name, values in sums.items()}
    sums.clear()
    folder.append_stats({"nimg": state.nimg, "seconds": round(state.seconds, 2)} | means)
    bar.set_postfix_str(" ".join(f"{name.split('/')[-1]} {value:.3f}" for name, value in means.items()))
    if not all(math.isfinite(value) for value in means.values()):
        raise GroundingFailed(
            f"grounding diverged at {state.nimg} objects; the last good state is "
            f"{folder.list_checkpoints()[0]}; try a smaller training.generator_lr in a new run"
        )


def look(state: GroundState, truth: Truth, folder: RunFolder) -> None:
    """Measures the held-out views, and draws some of them beside their truth."""
    folder.append_stats({"nimg": state.nimg, "seconds": round(state.seconds, 2)} | measure(state, truth))
    name = f"{state.nimg / 1000:09.2f}"
    save_picture(draw_held_out(state, truth), folder.samples / f"held-out-{name}.png")


@torch.no_grad()
def draw_held_out(state: GroundState, truth: Truth) -> Image.Image:
    """Held-out views of models of evenly chosen classes, above what the averaged generator makes of them."""
    models = truth.held_out(1)
    models = models[torch.linspace(0, len(models) - 1, min(_SHOWN, len(models))).long()]
    views = truth.views[models, -1]
    out = state.ema.view(codes_of_models(state, truth, models), truth.cameras[views], chunk=_RAYS)
    real = truth.images[views].permute(0, 3, 1, 2).float() / 127.5 - 1
    return sheet(
        [("held-out view", list(rgb_to_uint8(real))), ("grounded", list(rgb_to_uint8(out.rgb)))], tile=_TILE
    )


def finish_grounding(state: GroundState, truth: Truth, folder: RunFolder) -> Path:
    """Fits the prior into the averaged generator, measures, draws, and saves the snapshot; returns its path.

    What a run has finished before is left as it is.
    """
    path = folder.snapshot_path(state.nimg)
    if holds_snapshot(path, state.nimg):
        return path
    settings, seed = state.config.grounding, state.config.training.seed
    look(state, truth, folder)
    prior = fit_latents(state.latents.weight, truth.labels, max(len(truth.classes), 1))
    left = fit_mapping(state.ema.mapping, prior, steps=settings.prior_steps, seed=seed)
    folder.append_stats({"nimg": state.nimg, "event": "prior", "unexplained": left})
    save_picture(draw_new(state, len(truth.classes)), folder.samples / f"new-{state.nimg / 1000:09.2f}.png")
    save_snapshot(path, state.ema, state.config, truth.classes, state.nimg)
    return path


@torch.no_grad()
def draw_new(state: GroundState, classes: int) -> Image.Image:
    """Objects of noise that no model has, of evenly chosen classes, from the prior's mean camera."""
    generator, device = state.ema, state.ema.mapping.w_avg.device
    labels = torch.linspace(0, max(classes - 1, 0), min(_SHOWN, max(classes, 1)), device=device).long()
    camera = turn_camera(mean_camera(state.config.camera), 0.4, len(labels)).to(device)
    rows = []
    for seed in range(4):
        z = torch.randn(
            1, generator.z_dim, generator=generator_for(seed, "new", device=device), device=device
        )
        ws = generator.mapping(z.expand(len(labels), -1), one_hot(labels, classes))
        rows.append((f"seed {seed}", list(rgb_to_uint8(generator.view(ws, camera, chunk=_RAYS).rgb))))
    return sheet(rows, tile=_TILE)
