"""What StyleGAN2's players are shown and minimise: path lengths beside what all systems of pictures have; and the same
generator against the projected discriminator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gp3d_core.baselines.stylegan2 import COLOURS, Stylegan2Generator
from gp3d_core.config.pictures.stylegan2 import ProjectedStylegan2Config, Stylegan2Config
from gp3d_core.config.schema import ConfigError
from gp3d_core.datasets.dataset import Batch, Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput, ImageDiscriminator
from gp3d_core.networks.latents import Latents, one_hot
from gp3d_core.networks.projected.discriminator import ProjectedDiscriminator
from gp3d_core.training.augmentation import augment
from gp3d_core.training.phases import StepContext
from gp3d_core.training.step import Log
from gp3d_core.training.systems.phases import Penalty, Players, Shown
from gp3d_core.training.systems.projected import judge_projected
from gp3d_core.training.systems.style_regularisation import PathLength, images_measured, mix_styles


def make_discriminator(config: Stylegan2Config, num_classes: int, feature_dim: int) -> ImageDiscriminator:
    """D of whole pictures, which predicts `feature_dim` features where there is a teacher."""
    settings = config.discriminator
    return ImageDiscriminator(
        resolution=config.training.resolution,
        image_channels=COLOURS,
        c_dim=num_classes if num_classes > 1 else 0,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        mapping_layers=config.stylegan2.discriminator_mapping_layers,
        feature_dim=feature_dim,
        mbstd_group=settings.mbstd_group,
        mbstd_layout=settings.mbstd_layout,
        clamp=settings.conv_clamp,
        half_blocks=settings.half_resolutions if config.training.precision == "mixed" else 0,
        backend=config.render.backend,
    )


class Stylegan2Adversary:
    """StyleGAN2's part in the adversarial step."""

    discriminator_penalties: Sequence[Penalty] = ()

    def __init__(self, config: Stylegan2Config, dataset: Dataset) -> None:
        """ConfigError where features are to be distilled that the data has not."""
        self.config, self.classes = config, dataset.num_classes
        weight = config.loss.distillation_weight
        if max(weight.start, weight.end) > 0 and not dataset.feature_dim:
            raise ConfigError(
                f"{config.preset} learns from a teacher's features (loss.distillation_weight): give them with "
                "`features` FILE, as gp3d data features makes them, or take a preset without -kd or -kl"
            )
        ours = config.stylegan2
        self.path_length = PathLength()
        self.modules: Mapping[str, nn.Module] = {}
        self.generator_penalties: Sequence[Penalty] = ()
        if ours.path_weight > 0:
            self.modules = {"path_length": self.path_length}
            self.generator_penalties = [Penalty("path", ours.path_interval, self.path)]

    def generate(
        self, generator: Stylegan2Generator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes, some of two styles where these are mixed."""
        ws = generator.mapping(latents.z, latents.c, update_average=update_average)
        if (mixing := self.config.stylegan2.style_mixing) > 0:
            z = torch.randn(latents.z.shape, generator=context.rng, device=latents.z.device)
            ws = mix_styles(ws, generator.mapping(z, latents.c), 0, mixing, context.rng)
        return Shown((generator.planes(ws, context.rng),), latents.c)

    def real(self, batch: Batch, context: StepContext) -> Shown:
        """Real images, as they are."""
        return Shown((batch.images,), one_hot(batch.labels, self.classes))

    def judge(
        self,
        discriminator: nn.Module,
        shown: Shown,
        context: StepContext,
        *,
        with_features: bool = False,
    ) -> DiscriminatorOutput:
        """What D says of the pictures, augmented when asked for."""
        (images,) = shown.pictures
        if context.augmentation > 0:
            images = augment(images, context.augmentation, context.rng)
        return discriminator(images, shown.c, with_features=with_features)

    def path(self, players: Players) -> tuple[Tensor, Log]:
        """How much path lengths differ from their running mean, which follows (StyleGAN2 §3.2)."""
        ours, latents, rng = self.config.stylegan2, players.draw(), players.context.rng
        count = images_measured(len(latents.z))
        generator: Stylegan2Generator = players.generator
        ws = generator.mapping(latents.z[:count], None if latents.c is None else latents.c[:count])
        term, log = self.path_length.penalty(generator.planes(ws, rng), ws, rng)
        return term * (ours.path_weight * ours.path_interval), log


class ProjectedStylegan2Adversary(Stylegan2Adversary):
    """The same generator's part in the step against the projected discriminator."""

    config: ProjectedStylegan2Config

    def judge(
        self,
        discriminator: nn.Module,
        shown: Shown,
        context: StepContext,
        *,
        with_features: bool = False,
    ) -> DiscriminatorOutput:
        """What the heads say of the pictures; there is nothing to distil."""
        if not isinstance(discriminator, ProjectedDiscriminator):
            raise TypeError(f"expected the projected discriminator, found {type(discriminator).__name__}")
        (images,) = shown.pictures
        return judge_projected(discriminator, images, shown.c, self.config.projected, context)
