"""What VolumeGAN's players minimise: the adversarial loss at a growing level of detail, and path lengths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gp3d_core.baselines.volumegan.discriminator import LevelOfDetailDiscriminator
from gp3d_core.baselines.volumegan.generator import VolumeGanGenerator
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.latents import Latents
from gp3d_core.training.phases import StepContext
from gp3d_core.training.systems.phases import Shown
from gp3d_core.training.systems.style_regularisation import StyleAdversary, StyleSettings, mix_styles


def make_discriminator(config: VolumeGanConfig, num_classes: int) -> LevelOfDetailDiscriminator:
    """D of whole pictures at a level of detail, told the class if there are several."""
    settings = config.discriminator
    return LevelOfDetailDiscriminator(
        resolution=config.training.resolution,
        c_dim=num_classes if num_classes > 1 else 0,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        embedding=config.generator.w_dim,
        levels=config.levels,
        mbstd_group=settings.mbstd_group,
        clamp=settings.conv_clamp,
    )


class VolumeGanAdversary(StyleAdversary):
    """VolumeGAN's part in the adversarial step. D itself makes real images smaller."""

    config: VolumeGanConfig

    def __init__(self, config: VolumeGanConfig, dataset: Dataset) -> None:
        """Of a run on `dataset`."""
        ours = config.volumegan
        super().__init__(config, dataset, StyleSettings(ours.mixing, ours.path_weight, ours.path_interval))

    def generate(
        self, generator: VolumeGanGenerator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes, now and then with codes of two objects in the image network."""
        ws = self.codes(generator, latents.z, latents.c, context, update_average=update_average)
        seen = generator.view(ws, latents.prior, nimg=context.nimg, generator=context.rng)
        log = {"opacity": seen.opacity.mean(), "depth/spread": seen.depth.flatten(1).std(dim=1).mean()}
        return Shown((seen.rgb,), latents.c, log)

    def mixed(self, ws: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        """As usual, but codes of the field are always of one object."""
        return mix_styles(ws, others, self.config.volumegan.field_layers, self.styles.mixing, rng)

    def judged(
        self,
        discriminator: Any,
        images: Tensor,
        c: Tensor | None,
        context: StepContext,
        *,
        with_features: bool,
    ) -> DiscriminatorOutput:
        """What D says at the level of detail that has been reached."""
        levels = self.config.levels
        lod = levels - self.config.volumegan.level(context.nimg, levels)
        # The class by its name: the release hands it over as the level, and stops.
        output: DiscriminatorOutput = discriminator(images, c=c, lod=lod)
        return output
