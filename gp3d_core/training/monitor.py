"""What a run tells about itself while it trains: progress, curves, pictures of fixed latents, signs of collapse."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from gp3d_core.config.schema import RunConfig
from gp3d_core.distributed import World
from gp3d_core.metrics.nfs import non_flatness_score
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, mean_camera, sample_cameras, turn_camera
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_camera_histograms, save_picture, sheet

SAMPLES = 8  # objects in the pictures
FLATNESS_SAMPLES = 16
CAMERA_SAMPLES = 512
YAWS = (-0.6, 0.0, 0.6)  # radians from the prior's mean camera
_TILE = 96
_RAYS = 4096  # at a time, so that memory does not grow with the resolution


class Clocked(Protocol):
    """The part of any run's state that progress is told of."""

    config: Any
    nimg: int
    rollbacks: int
    seconds: float


class Observed(Protocol):
    """The part of the training state that is looked at."""

    config: RunConfig
    generator: Generator
    ema: Generator
    classes: list
    nimg: int
    rollbacks: int
    seconds: float


class RunMonitor:
    """Progress bar, curves and status of any run; only the leading process writes anything.

    `players` are what the bar tells beside the rate: short names, and the numbers they stand for.
    """

    players: Mapping[str, str] = MappingProxyType({})

    def __init__(self, state: Clocked, folder: RunFolder, world: World) -> None:
        """Starts the progress bar and the curves at the state's clock."""
        self._folder, self._leads = folder, world.leads
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._skipped = 0
        self._pictured = -1
        self._start = (time.monotonic(), state.nimg)
        if not self._leads:
            return
        total = round(1000 * state.config.training.kimg)
        self._bar = tqdm(
            total=total, initial=state.nimg, unit="img", desc="training", dynamic_ncols=True, mininterval=1
        )
        self._curves = SummaryWriter(str(folder.path / "tensorboard"), purge_step=state.nimg)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Leaves the screen tidy for whatever is printed next."""
        if self._leads:
            self._bar.close()
            self._curves.close()

    def add(self, state: Clocked, log: dict[str, float], skipped: bool) -> None:
        """Takes in one step."""
        for name, value in log.items():
            self._sums[name].append(value)
        self._skipped += skipped
        if self._leads:
            self._bar.update(state.nimg - self._bar.n)

    def report(self, state: Clocked) -> None:
        """Writes the means since the last report to stats.jsonl, TensorBoard and status.json."""
        if self._leads:
            means = {name: float(np.mean(values)) for name, values in self._sums.items()}
            means |= {"skipped_steps": self._skipped} | self.measures(state)
            self._folder.append_stats({"nimg": state.nimg, "seconds": round(state.seconds, 2)} | means)
            for name, value in means.items():
                self._curves.add_scalar(name, value, state.nimg)
            self._write_status(state, "training")
            told = [f"{player} {means[name]:.2f}" for player, name in self.players.items() if name in means]
            self._bar.set_postfix_str(" ".join(told))
        self._sums.clear()
        self._skipped = 0

    def picture(self, state: Clocked) -> None:
        """Draws what the run can do by now, and measures it; once for the same state."""
        if not self._leads or self._pictured == state.nimg:
            return
        self._pictured = state.nimg
        self.draw(state, f"{state.nimg / 1000:09.2f}")

    def measures(self, state: Any) -> dict[str, float]:
        """Further numbers for a report."""
        return {}

    def draw(self, state: Any, name: str) -> None:
        """Pictures for `samples`, called after `name`, and what is measured with them, for `note`."""

    def note(self, state: Clocked, measured: Mapping[str, float]) -> None:
        """Writes numbers that are measured now and then to stats.jsonl and TensorBoard."""
        self._folder.append_stats({"nimg": state.nimg} | dict(measured))
        for name, value in measured.items():
            self._curves.add_scalar(name, value, state.nimg)

    def note_rollback(self, state: Clocked, trouble: str) -> None:
        """Says that the run went back, and lets bar and curves follow it there."""
        self._sums.clear()
        if self._leads:
            self._bar.write(
                f"training diverged ({trouble}); going on from {state.nimg} images with other randomness"
            )
            self._bar.update(state.nimg - self._bar.n)
            self._start = (time.monotonic(), state.nimg)
            self._curves.close()
            self._curves = SummaryWriter(str(self._folder.path / "tensorboard"), purge_step=state.nimg)

    def finish(self, state: Clocked, phase: str) -> None:
        """Draws the last pictures and says how the run ended."""
        if self._leads:
            self.picture(state)
            self._write_status(state, phase)

    def _write_status(self, state: Clocked, phase: str) -> None:
        began, first = self._start
        rate = (state.nimg - first) / max(time.monotonic() - began, 1e-9)
        left = 1000 * state.config.training.kimg - state.nimg
        checkpoints = self._folder.list_checkpoints()
        record = {
            "phase": phase,
            "pid": os.getpid(),
            "nimg": state.nimg,
            "images_per_second": round(rate, 2),
            "eta_seconds": round(left / rate) if rate > 0 else None,
            "training_seconds": round(state.seconds, 1),
            "rollbacks": state.rollbacks,
            "last_good": checkpoints[0].name if checkpoints else None,
        }
        self._folder.write_status(record)


class Monitor(RunMonitor):
    """Reports on a run of 3DGP."""

    players = MappingProxyType({"G": "loss/generator", "D": "loss/discriminator"})  # G may have to wait for D

    def measures(self, state: Observed) -> dict[str, float]:
        """How much the cameras are spread."""
        return camera_spread(state)

    def draw(self, state: Observed, name: str) -> None:
        """Draws the fixed latents and the cameras, and measures how flat the depth is."""
        save_picture(draw_samples(state), self._folder.samples / f"sample-{name}.png")
        self.note(state, {"metrics/nfs": measure_flatness(state)})
        if state.ema.camera_generator is not None:
            prior, posterior = camera_samples(state)
            save_camera_histograms(
                self._folder.samples / f"cameras-{name}.png", _by_parameter(prior), _by_parameter(posterior)
            )


@torch.no_grad()
def draw_samples(state: Observed) -> Image.Image:
    """The fixed latents from three yaws with depth and adapted depth, as one picture."""
    model, config = state.ema, state.config
    z, c = fixed_latents(state, SAMPLES)
    ws = model.mapping(z, c)
    camera = config.camera
    rows = []
    for yaw in YAWS:
        cameras = turn_camera(mean_camera(camera), yaw, SAMPLES).to(z.device)
        seen = model.view(ws, cameras, chunk=_RAYS)
        rows.append((f"yaw {yaw:+.1f}", list(rgb_to_uint8(seen.rgb))))
        if yaw == 0.0:
            depth = [
                depth_to_uint8(seen.depth, camera.t_near, camera.t_far),
                depth_to_uint8(seen.depth_adapted, -1, 1),
            ]
            rows.append(("depth", list(depth[0])))
            rows.append(("adapted depth", list(depth[1])))
    return sheet(rows, tile=_TILE)


@torch.no_grad()
def measure_flatness(state: Observed) -> float:
    """Non-flatness score of frontal depth maps with the fainter half of the densities removed (3DGP Eq. 8)."""
    z, c = fixed_latents(state, FLATNESS_SAMPLES)
    camera = state.config.camera
    cameras = turn_camera(mean_camera(camera), 0.0, FLATNESS_SAMPLES).to(z.device)
    seen = state.ema.view(state.ema.mapping(z, c), cameras, cut_quantile=0.5, chunk=_RAYS)
    return float(non_flatness_score(seen.depth.flatten(1), camera.t_near, camera.t_far))


def camera_spread(state: Observed) -> dict[str, float]:
    """Posterior's standard deviation as a fraction of the prior's, per parameter that the prior spreads."""
    if state.generator.camera_generator is None:
        return {}
    prior, posterior = camera_samples(state)
    spreads = zip(
        PARAMETERS, prior.flat().std(dim=0).tolist(), posterior.flat().std(dim=0).tolist(), strict=True
    )
    return {f"cameras/spread_{name}": after / before for name, before, after in spreads if before > 1e-6}


@torch.no_grad()
def camera_samples(state: Observed) -> tuple[Cameras, Cameras]:
    """The same prior cameras before and after the camera generator, always of the same random numbers."""
    z, c = fixed_latents(state, CAMERA_SAMPLES)
    prior = sample_cameras(
        state.config.camera, CAMERA_SAMPLES, generator_for("monitor cameras", device=z.device)
    )
    return prior, state.generator.cameras(prior, z, c)


def fixed_latents(state: Observed, count: int) -> tuple[Tensor, Tensor | None]:
    """Noise and classes (each in turn) that never change."""
    device = state.generator.mapping.w_avg.device
    z = torch.randn(
        count, state.config.generator.z_dim, generator=generator_for("monitor", device=device), device=device
    )
    classes = max(len(state.classes), 1)
    return z, one_hot(torch.arange(count, device=device) % classes, classes)


def _by_parameter(cameras: Cameras) -> dict[str, np.ndarray]:
    values = cameras.flat().cpu().numpy()
    return {name: values[:, i] for i, name in enumerate(PARAMETERS) if name != "roll"}
