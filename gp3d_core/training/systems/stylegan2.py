"""What StyleGAN2's players are shown and minimise: path lengths beside what all systems of pictures have; and the same
generator against the projected discriminator.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gp3d_core.baselines.stylegan2 import Stylegan2Generator
from gp3d_core.config.pictures.stylegan2 import ProjectedStylegan2Config, Stylegan2Config
from gp3d_core.config.schema import COLOURS, ConfigError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.networks.discriminator import DiscriminatorOutput, ImageDiscriminator
from gp3d_core.networks.latents import Latents
from gp3d_core.networks.projected.discriminator import ProjectedDiscriminator
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.training.phases import StepContext
from gp3d_core.training.systems.phases import Shown
from gp3d_core.training.systems.projected import judge_projected
from gp3d_core.training.systems.style_regularisation import StyleAdversary, StyleSettings


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


class Stylegan2Adversary(StyleAdversary):
    """StyleGAN2's part in the adversarial step."""

    config: Stylegan2Config

    def __init__(self, config: Stylegan2Config, dataset: Dataset) -> None:
        """ConfigError where features are to be distilled that the data has not."""
        weight, ours = config.loss.distillation_weight, config.stylegan2
        if max(weight.start, weight.end) > 0 and not dataset.feature_dim:
            raise ConfigError(
                f"{config.preset} learns from a teacher's features (loss.distillation_weight): give them with "
                "`features` FILE, as gp3d data features makes them, or take a preset without -kd or -kl"
            )
        styles = StyleSettings(ours.style_mixing, ours.path_weight, ours.path_interval)
        super().__init__(config, dataset, styles)

    def generate(
        self, generator: Stylegan2Generator, latents: Latents, context: StepContext, *, update_average: bool
    ) -> Shown:
        """Fakes, some of two styles where these are mixed."""
        ws = self.codes(generator, latents.z, latents.c, context, update_average=update_average)
        return Shown((self.drawn(generator, ws, latents.prior, context),), latents.c)

    def drawn(self, generator: Any, ws: Tensor, cameras: Cameras, context: StepContext) -> Tensor:
        """Pictures of style codes, which no camera sees."""
        pictures: Tensor = generator.planes(ws, context.rng)
        return pictures


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
