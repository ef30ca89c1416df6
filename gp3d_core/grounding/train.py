"""Grounding from data to a snapshot with a prior over latents, as a task of the training loop.

Afterwards `latent_prior.fit_mapping` teaches the mapping that z ~ N(0, I) with a class means objects like the models.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import shuffled
from gp3d_core.distributed import World
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.grounding.latent_prior import fit_latents, fit_mapping
from gp3d_core.grounding.monitor import GroundMonitor, draw_new
from gp3d_core.grounding.step import GroundState, build_ground_state, ground_step
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.launch import Ending, Plan, launch
from gp3d_core.training.step import StepLog
from gp3d_core.visualization import save_picture


@dataclass(frozen=True, eq=False)
class GroundTask:
    """A grounding on `truth`, which is on the world's device, as the training loop sees it."""

    state: GroundState
    truth: Truth
    folder: RunFolder
    world: World
    monitor: GroundMonitor
    remedy: str = "try a smaller training.generator_lr in a new run"

    @property
    def schedule(self) -> Schedule:
        """When the run saves and ends."""
        return self.state.config.training.schedule

    def steps(self) -> Iterator[StepLog]:
        """A step for each batch of models from the clock on."""
        state, truth, settings = self.state, self.truth, self.state.config.training
        while True:
            order = shuffled(state.nimg, settings.batch, len(truth), settings.seed)
            models = torch.from_numpy(order).to(truth.labels.device)
            yield ground_step(state, truth, models, self.world)

    def save_snapshot(self, path: Path, *, final: bool) -> None:
        """Saves the averaged generator with the prior fitted into its mapping, once the run is over."""
        if not final:
            return
        state, truth = self.state, self.truth
        settings, classes = state.config.training, len(truth.classes)
        generator = copy.deepcopy(
            state.ema
        )  # the state's own mapping still gives the models of their latents
        prior = fit_latents(state.latents.weight, truth.labels, max(classes, 1))
        steps = state.config.grounding.prior_steps
        left = fit_mapping(generator.mapping, prior, steps=steps, seed=settings.seed)
        self.folder.append_stats({"nimg": state.nimg, "event": "prior", "unexplained": left})
        save_picture(draw_new(generator, classes), self.folder.samples / f"new-{state.nimg / 1000:09.2f}.png")
        save_snapshot(path, generator, state.config, truth.classes, state.nimg)


def start_grounding(
    config: RunConfig, dataset: Path, run: Path, *, device: str, max_minutes: float = math.inf
) -> Ending:
    """How the grounding on the data at `dataset` in the folder `run` ended; it goes on from what is there.

    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    if config.camera_generator.adjust:
        raise ConfigError("grounding knows the cameras: choose a preset with known ones, such as box-64")
    truth = load_truth(dataset, config.training.resolution)
    plan = Plan(
        config=config,
        schedule=config.training.schedule,
        fingerprint=truth.fingerprint,
        open_task=lambda folder, here, _budget: open_task(config, truth.to(here.device), folder, here),
        check_share=partial(check_share, config),
        less_memory=f"choose a `training.batch` below {config.training.batch}, or fewer `grounding.rays` and "
        "`grounding.points`",
        unit="objects",
    )
    return launch(plan, run, device=device, max_minutes=max_minutes)


def check_share(config: RunConfig, processes: int) -> None:
    """Raises ConfigError when `processes` cannot share a batch."""
    batch = config.training.batch
    if batch % processes:
        raise ConfigError(
            f"training.batch {batch} cannot be shared by {processes} processes; use a multiple of it"
        )


def open_task(config: RunConfig, truth: Truth, folder: RunFolder, world: World) -> GroundTask:
    """A fresh grounding of the claimed `folder`."""
    state = build_ground_state(config, truth)
    monitor = GroundMonitor(state, config.training.schedule, folder, world, truth)
    return GroundTask(state, truth, folder, world, monitor)
