"""Reports on a grounding: measures of held-out views and points, and pictures beside the truth."""

from __future__ import annotations

from types import MappingProxyType

import torch
from PIL import Image

from gp3d_core.config.schedule import Schedule
from gp3d_core.distributed import World
from gp3d_core.grounding.ground_truth import Truth
from gp3d_core.grounding.step import GroundState, codes_of_models, measure
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.rendering.cameras import mean_camera, turn_camera
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.monitor import RunMonitor
from gp3d_core.visualization import rgb_to_uint8, save_picture, sheet

_SHOWN = 12  # models, and classes, in a picture
_TILE = 96


class GroundMonitor(RunMonitor[GroundState]):
    """Reports on a grounding."""

    players = MappingProxyType({"points": "points/occupancy", "rays": "rays/colour"})
    unit = "obj"

    def __init__(
        self, state: GroundState, schedule: Schedule, folder: RunFolder, world: World, truth: Truth
    ) -> None:
        super().__init__(state, schedule, folder, world)
        self._truth = truth

    def draw(self, name: str) -> None:
        """Measures the held-out views, and draws some of them beside their truth."""
        self.note(measure(self.state, self._truth))
        save_picture(draw_held_out(self.state, self._truth), self.folder.samples / f"held-out-{name}.png")


@torch.no_grad()
def draw_held_out(state: GroundState, truth: Truth) -> Image.Image:
    """Held-out views of models of evenly chosen classes, above what the averaged generator makes of them."""
    models = truth.held_out(1)
    models = models[torch.linspace(0, len(models) - 1, min(_SHOWN, len(models))).long()]
    views = truth.views[models, -1]
    out = state.ema.view(
        codes_of_models(state, truth, models), truth.cameras[views], chunk=rays_at_a_time(len(models))
    )
    real = truth.images[views].permute(0, 3, 1, 2).float() / 127.5 - 1
    return sheet(
        [("held-out view", list(rgb_to_uint8(real))), ("grounded", list(rgb_to_uint8(out.rgb)))], tile=_TILE
    )


@torch.no_grad()
def draw_new(generator: Generator, classes: int) -> Image.Image:
    """Objects of noise that no model has, of evenly chosen classes, from the prior's mean camera."""
    device = generator.mapping.w_avg.device
    labels = torch.linspace(0, max(classes - 1, 0), min(_SHOWN, max(classes, 1)), device=device).long()
    camera = turn_camera(mean_camera(generator.config.camera), 0.4, len(labels)).to(device)
    rows = []
    for seed in range(4):
        z = torch.randn(
            1, generator.z_dim, generator=generator_for(seed, "new", device=device), device=device
        )
        ws = generator.mapping(z.expand(len(labels), -1), one_hot(labels, classes))
        rows.append(
            (
                f"seed {seed}",
                list(rgb_to_uint8(generator.view(ws, camera, chunk=rays_at_a_time(len(labels))).rgb)),
            )
        )
    return sheet(rows, tile=_TILE)
