"""What VolumeGAN's players minimise: the adversarial loss at a growing level of detail, and path lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gp3d_core.baselines.volumegan.discriminator import LevelOfDetailDiscriminator
from gp3d_core.baselines.volumegan.generator import VolumeGanGenerator
from gp3d_core.config.volumegan import VolumeGanConfig
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.latents import Latents, one_hot
from gp3d_core.training.augmentation import augment
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import Penalty, Players, Shown
from gp3d_core.training.systems.style_regularisation import PathLength, images_measured, mix_styles


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


class VolumeGanAdversary:
    """VolumeGAN's part in the adversarial step."""

    discriminator_penalties: Sequence[Penalty] = ()

    def __init__(self, config: VolumeGanConfig, dataset: Dataset) -> None:
        """Of a run on `dataset`."""
        self.config, self.classes = config, dataset.num_classes
        self.path_length = PathLength()
        self.modules: Mapping[str, nn.Module] = {}
        self.generator_penalties: Sequence[Penalty] = ()
        if config.volumegan.path_weight > 0:
            self.modules = {"path_length": self.path_length}
            self.generator_penalties = [Penalty("path", config.volumegan.path_interval, self.path)]

    def generate(
        self, generator: VolumeGanGenerator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes, now and then with codes of two objects in the image network."""
        ws = self._codes(generator, latents.z, latents.c, context, update_average=update_average)
        seen = generator.view(ws, latents.prior, nimg=context.nimg, generator=context.rng)
        log = {"opacity": seen.opacity.mean(), "depth/spread": seen.depth.flatten(1).std(dim=1).mean()}
        return Shown((seen.rgb,), latents.c, log)

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images, as they are: D itself makes them smaller."""
        return Shown((batch.images,), one_hot(batch.labels, self.classes))

    def judge(
        self,
        discriminator: LevelOfDetailDiscriminator,
        shown: Shown,
        context: StepContext,
        *,
        with_features: bool = False,
    ) -> DiscriminatorOutput:
        """What D says of the pictures at the level of detail that has been reached."""
        (images,) = shown.pictures
        if context.augmentation > 0:
            images = augment(images, context.augmentation, context.rng)
        levels = self.config.levels
        # The class by its name: the release hands it over as the level, and stops.
        return discriminator(
            images, c=shown.c, lod=levels - self.config.volumegan.level(context.nimg, levels)
        )

    def path(self, players: Players) -> tuple[Tensor, Log]:
        """The path length penalty of half a batch, times weight and interval."""
        ours, context, latents = self.config.volumegan, players.context, players.draw()
        generator: VolumeGanGenerator = players.generator
        count = images_measured(len(latents.z))
        c = None if latents.c is None else latents.c[:count]
        ws = self._codes(generator, latents.z[:count], c, context, update_average=False)
        seen = generator.view(ws, latents.prior[:count], nimg=context.nimg, generator=context.rng)
        term, log = self.path_length.penalty(seen.rgb, ws, context.rng)
        return term * (ours.path_weight * ours.path_interval), log

    def _codes(
        self,
        generator: VolumeGanGenerator,
        z: Tensor,
        c: Tensor | None,
        context: StepContext,
        *,
        update_average: bool,
    ) -> Tensor:
        """Style codes; those of the field are always of one object."""
        ours = self.config.volumegan
        ws = generator.mapping(z, c, update_average=update_average)
        if ours.mixing == 0:
            return ws
        other = torch.randn(z.shape, generator=context.rng, device=z.device)
        return mix_styles(ws, generator.mapping(other, c), ours.field_layers, ours.mixing, context.rng)
