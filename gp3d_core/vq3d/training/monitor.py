"""Reports on a run of stage 1: measures, and a sheet of pictures with their reconstructions below them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from gp3d_core.config.schedule import Schedule
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.training.monitor import HasClock, RunMonitor
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_picture, sheet
from gp3d_core.vq3d.models.tokenizer import Tokenizer
from gp3d_core.vq3d.rendering.depth import DepthSource, DepthSpace
from gp3d_core.vq3d.rendering.views import orbit
from gp3d_core.vq3d.training.novel_views import pivot_of
from gp3d_core.vq3d.training.objective import Pictures
from gp3d_core.vq3d.training.validation import load_depth, load_images, measure

_LOOKED_AT = 64
_SHOWN = 8
_TILE = 96


def look_at(dataset: Dataset, source: DepthSource) -> Pictures:
    """Pictures of a data set, evenly chosen, that are measured and shown while a run goes on."""
    numbers = np.linspace(0, len(dataset) - 1, min(_LOOKED_AT, len(dataset))).round().astype(int).tolist()
    return Pictures(load_images(dataset, numbers), source.target(load_depth(dataset, numbers)))


class HasTokenizer(HasClock, Protocol):
    """The part of the training state that is drawn and measured."""

    ema: Tokenizer


class TokenizerMonitor(RunMonitor[HasTokenizer]):
    """Reports on a run of stage 1."""

    players = MappingProxyType({"T": "loss/tokenizer", "C": "loss/critic", "dB": "psnr"})

    def __init__(
        self, state: HasTokenizer, schedule: Schedule, folder: RunFolder, world: World, shown: Pictures
    ) -> None:
        super().__init__(state, schedule, folder, world)
        self._shown = Pictures(shown.images.to(world.device), shown.target.to(world.device))

    def draw(self, name: str) -> None:
        """Measures the averaged tokenizer on the chosen pictures, and draws some of them."""
        tokenizer = self.state.ema
        measured = measure(tokenizer, self._shown.images, self._shown.target)
        self.note({f"metrics/{key}": value for key, value in measured.items()})
        save_picture(draw_views(tokenizer, self._shown), self.folder.samples / f"views-{name}.png")


@torch.no_grad()
def draw_views(tokenizer: Tokenizer, pictures: Pictures) -> Image.Image:
    """Pictures, what became of them, both depths (near is light), and views from the left and the right."""
    few = torch.linspace(0, len(pictures.images) - 1, min(_SHOWN, len(pictures.images))).round().long()
    images, target = pictures.images[few], pictures.target[few]
    planes, camera = tokenizer.decode(tokenizer.encode(images).codes), tokenizer.config.camera
    space, count = DepthSpace.of(camera), len(images)
    pivot = pivot_of(target, camera)
    zero = torch.zeros(count, device=images.device)
    rows = [("picture", list(rgb_to_uint8(images)))]
    for yaw in (0.0, -camera.yaw, camera.yaw):
        view = tokenizer.render(planes, orbit(zero + yaw, zero, pivot))
        title = "reconstructed" if yaw == 0 else f"yaw {yaw:+.0f}"
        rows.append((title, list(rgb_to_uint8(view.images))))
        if yaw == 0:
            seen = space.normalise(view.disparity)
            rows.append(("inverse depth", list(depth_to_uint8(-seen[:, None], -1, 0))))
            rows.append(("its target", list(depth_to_uint8(-target[:, None], -1, 0))))
    return sheet(rows, tile=_TILE)
