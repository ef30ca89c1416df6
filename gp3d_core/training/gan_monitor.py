"""Reports on an adversarial run: pictures of fixed latents, how flat they are, and how far the cameras spread."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gp3d_core.config.schema import RunConfig
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.metrics.nfs import non_flatness_score
from gp3d_core.networks.generator import BaseGenerator
from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, mean_camera, sample_cameras, turn_camera
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.rng import generator_for
from gp3d_core.training.monitor import HasClock, RunMonitor
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_camera_histograms, save_picture, sheet

SAMPLES = 8  # objects in the pictures
FLATNESS_SAMPLES = 16
CAMERA_SAMPLES = 512
YAWS = (-0.6, 0.0, 0.6)  # radians from the prior's mean camera
_TILE = 96


class HasGenerators(HasClock, Protocol):
    """The part of the training state that is drawn and measured."""

    config: RunConfig
    generator: BaseGenerator
    ema: BaseGenerator
    classes: list[ClassRecord]


class GanMonitor(RunMonitor[HasGenerators]):
    """Reports on an adversarial run."""

    players = MappingProxyType({"G": "loss/generator", "D": "loss/discriminator"})  # G may have to wait for D

    def measures(self) -> dict[str, float]:
        """How much the cameras are spread."""
        return camera_spread(self.state)

    def draw(self, name: str) -> None:
        """Draws the fixed latents and the cameras, and measures how flat the depth is."""
        state = self.state
        save_picture(draw_samples(state), self.folder.samples / f"sample-{name}.png")
        if state.config.dimensions == 3:
            self.note({"metrics/nfs": measure_flatness(state)})
        if state.ema.camera_generator is not None:
            prior, posterior = camera_samples(state)
            save_camera_histograms(
                self.folder.samples / f"cameras-{name}.png", _by_parameter(prior), _by_parameter(posterior)
            )


@torch.no_grad()
def draw_samples(state: HasGenerators) -> Image.Image:
    """The fixed latents from three yaws with depth and adapted depth, as one picture."""
    model, config = state.ema, state.config
    z, c = fixed_latents(state, SAMPLES)
    ws = model.mapping(z, c)
    camera = config.camera
    rows = []
    for yaw in YAWS if config.dimensions == 3 else (0.0,):
        cameras = turn_camera(mean_camera(camera), yaw, SAMPLES).to(z.device)
        seen = model.view(ws, cameras, chunk=rays_at_a_time(SAMPLES))
        rows.append((f"yaw {yaw:+.1f}", list(rgb_to_uint8(seen.rgb))))
        if yaw == 0.0 and config.dimensions == 3:
            rows.append(("depth", list(depth_to_uint8(seen.depth, camera.t_near, camera.t_far))))
            if model.depth_adaptor is not None:
                rows.append(("adapted depth", list(depth_to_uint8(seen.depth_adapted, -1, 1))))
    return sheet(rows, tile=_TILE)


@torch.no_grad()
def measure_flatness(state: HasGenerators) -> float:
    """Non-flatness score of frontal depth maps with the fainter half of the densities removed (3DGP Eq. 8)."""
    z, c = fixed_latents(state, FLATNESS_SAMPLES)
    camera = state.config.camera
    cameras = turn_camera(mean_camera(camera), 0.0, FLATNESS_SAMPLES).to(z.device)
    seen = state.ema.view(
        state.ema.mapping(z, c), cameras, cut_quantile=0.5, chunk=rays_at_a_time(FLATNESS_SAMPLES)
    )
    return float(non_flatness_score(seen.depth.flatten(1), camera.t_near, camera.t_far))


def camera_spread(state: HasGenerators) -> dict[str, float]:
    """Posterior's standard deviation as a fraction of the prior's, per parameter that the prior spreads."""
    if state.generator.camera_generator is None:
        return {}
    prior, posterior = camera_samples(state)
    spreads = zip(
        PARAMETERS, prior.flat().std(dim=0).tolist(), posterior.flat().std(dim=0).tolist(), strict=True
    )
    return {f"cameras/spread_{name}": after / before for name, before, after in spreads if before > 1e-6}


@torch.no_grad()
def camera_samples(state: HasGenerators) -> tuple[Cameras, Cameras]:
    """The same prior cameras before and after the camera generator, always of the same random numbers."""
    z, c = fixed_latents(state, CAMERA_SAMPLES)
    prior = sample_cameras(
        state.config.camera, CAMERA_SAMPLES, generator_for("monitor cameras", device=z.device)
    )
    return prior, state.generator.cameras(prior, z, c)


def fixed_latents(state: HasGenerators, count: int) -> tuple[Tensor, Tensor | None]:
    """Noise and classes (each in turn) that never change."""
    device = state.generator.mapping.w_avg.device
    z = torch.randn(
        count, state.config.generator.z_dim, generator=generator_for("monitor", device=device), device=device
    )
    classes = max(len(state.classes), 1)
    return z, one_hot(torch.arange(count, device=device) % classes, classes)


def _by_parameter(cameras: Cameras) -> dict[str, NDArray[Any]]:
    values = cameras.flat().cpu().numpy()
    return {name: values[:, i] for i, name in enumerate(PARAMETERS) if name != "roll"}
