"""Grounding from data to a snapshot with a prior over latents, as a task of the training loop.

Afterwards `latent_prior.fit_mapping` teaches the mapping that z ~ N(0, I) with a class means objects like the models.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from gp3d_core.config.schedule import Schedule
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.datasets.dataset import shuffled
from gp3d_core.distributed import World
from gp3d_core.grounding.ground_truth import Truth, load_truth
from gp3d_core.grounding.latent_prior import fit_latents, fit_mapping, with_mixture
from gp3d_core.grounding.monitor import GroundMonitor, draw_new
from gp3d_core.grounding.step import GroundState, build_ground_state, ground_step
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import save_snapshot
from gp3d_core.training.launch import Ending, Forecast, Plan, images_to_forecast, launch
from gp3d_core.training.loop import Budget
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
        config = state.config
        if config.grounding.prior == "mixture":
            generator, config = with_mixture(generator, config, state.latents.weight, truth.labels)
        else:
            prior = fit_latents(state.latents.weight, truth.labels, max(classes, 1))
            steps = config.grounding.prior_steps
            left = fit_mapping(generator.mapping, prior, steps=steps, seed=settings.seed)
            self.folder.append_stats({"nimg": state.nimg, "event": "prior", "unexplained": left})
        save_picture(draw_new(generator, classes), self.folder.samples / f"new-{state.nimg / 1000:09.2f}.png")
        save_snapshot(path, generator, config, truth.classes, state.nimg, licences=truth.licences)


_PROBED = 4  # objects of a step that is timed


def start_grounding(
    config: RunConfig,
    dataset: Path,
    run: Path,
    *,
    device: str,
    max_minutes: float = math.inf,
    announce: Callable[[Forecast], None] | None = None,
) -> Ending:
    """How the grounding on the data at `dataset` in the folder `run` ended; it goes on from what is there.

    `announce` is told, before the first step on a CPU, how long it will take, if it has not ended.
    Raises a GP3DError for anything that is wrong with configuration, data or folder, before any training.
    """
    if config.system != RunConfig.system:
        raise ConfigError(
            f"grounding teaches {RunConfig.system}, `preset` {config.preset} is of {config.system}: choose box-64"
        )
    if config.camera_generator.adjust:
        raise ConfigError("grounding knows the cameras: choose a preset with known ones, such as box-64")
    truth = load_truth(
        dataset,
        config.training.resolution,
        albedo=config.grounding.colour == "albedo",
        surface=config.grounding.surface_points > 0,
    )

    def begin(folder: RunFolder, here: World, budget: Budget) -> GroundTask:
        task = open_task(config, truth.to(here.device), folder, here)
        if announce is not None and (left := images_to_forecast(folder, here, budget)):
            announce(forecast(task, left))
        return task

    plan = Plan(
        config=config,
        schedule=config.training.schedule,
        fingerprint=truth.fingerprint,
        open_task=begin,
        check_share=partial(check_share, config),
        less_memory=f"choose a `training.batch` below {config.training.batch}, or fewer `grounding.rays` and "
        "`grounding.points`",
        unit="objects",
    )
    return launch(plan, run, device=device, max_minutes=max_minutes)


def forecast(task: GroundTask, objects: int) -> Forecast:
    """How long the last so many `objects` of a grounding take, from a step on a few in each of its stages.

    Nothing of it is kept.
    """
    state, settings = copy.deepcopy(task.state), task.state.config.grounding
    total, turn = task.schedule.images, settings.point_share + settings.ray_share
    models = torch.arange(min(_PROBED, len(task.truth)), device=task.truth.labels.device)

    def seconds_at(share: float) -> float:
        """What a step after that share of the run takes."""
        state.nimg = round(share * total)
        start = time.monotonic()
        ground_step(state, task.truth, models, World())
        return time.monotonic() - start

    seconds_at(0.0)  # the first one loads libraries
    seconds, end = 0.0, 1.0
    for begin in (turn, settings.point_share, 0.0):  # a stage's part of what is left
        part = min(end - begin, objects / total - (1.0 - end))
        if part > 0:
            seconds += part * total * seconds_at((begin + end) / 2) / len(models)
        end = begin
    return Forecast(objects, seconds, "objects")


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
