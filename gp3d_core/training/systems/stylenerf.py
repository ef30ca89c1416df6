"""What StyleNeRF's players minimise: the adversarial loss on growing pictures, NeRF-path and path length penalties."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gp3d_core.baselines.stylenerf.discriminator import GrowingDiscriminator
from gp3d_core.baselines.stylenerf.generator import StyleNerfGenerator, StyleNerfOutput
from gp3d_core.baselines.stylenerf.upsampler import Growth, growth
from gp3d_core.config.stylenerf import StyleNerfConfig
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput
from gp3d_core.networks.latents import Latents, one_hot
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import PicturePhases, Players, Shown
from gp3d_core.training.systems.style_regularisation import StyleAdversary, StyleSettings


def make_discriminator(config: StyleNerfConfig, num_classes: int) -> GrowingDiscriminator:
    """D of whole pictures that grows with the generator, told the class if there are several."""
    settings = config.discriminator
    return GrowingDiscriminator(
        resolution=config.training.resolution,
        lowest=config.stylenerf.map_resolution,
        c_dim=num_classes if num_classes > 1 else 0,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        mapping_layers=config.stylenerf.discriminator_mapping_layers,
        mbstd_group=settings.mbstd_group,
        mbstd_layout=settings.mbstd_layout,
        clamp=settings.conv_clamp,
    )


class StyleNerfAdversary(StyleAdversary):
    """StyleNeRF's part in the adversarial step."""

    config: StyleNerfConfig

    def __init__(self, config: StyleNerfConfig, dataset: Dataset) -> None:
        """Of a run on `dataset`."""
        ours = config.stylenerf
        lengths = StyleSettings(ours.mixing, ours.length_weight, ours.length_interval, name="length")
        super().__init__(config, dataset, lengths)

    def grown(self, context: StepContext) -> Growth:
        """What has grown."""
        return growth(self.config.stylenerf.alpha(context.nimg), self.config.levels)

    def generate(
        self, generator: StyleNerfGenerator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes as large as has grown, now and then with codes of two objects."""
        seen = self.seen(generator, latents, context, update_average=update_average)
        return Shown((seen.rgb,), latents.c, self.numbers(seen))

    def seen(
        self,
        generator: StyleNerfGenerator,
        latents: Latents,
        context: StepContext,
        *,
        update_average: bool = False,
        with_path_loss: bool = False,
    ) -> StyleNerfOutput:
        """Views of `latents`."""
        ws = self.codes(generator, latents.z, latents.c, context, update_average=update_average)
        return generator.view(
            ws, latents.prior, nimg=context.nimg, generator=context.rng, with_path_loss=with_path_loss
        )

    @staticmethod
    def numbers(seen: StyleNerfOutput) -> Log:
        """What the log says of fakes."""
        return {"opacity": seen.opacity.mean(), "depth/spread": seen.depth.flatten(1).std(dim=1).mean()}

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images of the size that has been reached."""
        factor = 1 << (self.config.levels - self.grown(context).level)
        images = F.avg_pool2d(batch.images, factor) if factor > 1 else batch.images
        return Shown((images,), one_hot(batch.labels, self.classes))

    def judged(
        self,
        discriminator: Any,
        images: Tensor,
        c: Tensor | None,
        context: StepContext,
        *,
        with_features: bool,
    ) -> DiscriminatorOutput:
        """What D says, as far as it has grown."""
        output: DiscriminatorOutput = discriminator(images, c, self.grown(context))
        return output

    def mixed(self, ws: Tensor, others: Tensor, rng: torch.Generator) -> Tensor:
        """As usual, but the last code, of which the background is made, is always of the first object."""
        return torch.cat([super().mixed(ws[:, :-1], others[:, :-1], rng), ws[:, -1:]], dim=1)


class StyleNerfPhases(PicturePhases):
    """The phases of pictures, in which the generator's comes with the NeRF-path penalty."""

    adversary: StyleNerfAdversary

    def __init__(self, adversary: StyleNerfAdversary, config: StyleNerfConfig) -> None:
        """Of a run that `config` decides."""
        super().__init__(adversary, config)
        self.weight = config.stylenerf.path_weight

    def generator(self, players: Players) -> tuple[Tensor, Log]:
        """The generator's adversarial loss, and how far its pictures are from their rays."""
        adversary, latents = self.adversary, players.draw()
        seen = adversary.seen(players.generator, latents, players.context, with_path_loss=self.weight > 0)
        loss, log = self.judged(players, Shown((seen.rgb,), latents.c, adversary.numbers(seen)))
        if seen.path_loss is None:
            return loss, log
        term = seen.path_loss.mean()
        return loss + self.weight * term, log | {"loss/nerf_path": term}
