"""The projected discriminator in training: how it is made, filled and shown pictures, alone and beside 3DGP's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from gp3d_core.config.pictures.projected import ProjectedConfig, ProjectedSettings
from gp3d_core.config.schema import ConfigError, RunConfig
from gp3d_core.networks.discriminator import Discriminator, DiscriminatorOutput
from gp3d_core.networks.projected.discriminator import ProjectedDiscriminator
from gp3d_core.networks.projected.features import FeatureMaps, feature_maps
from gp3d_core.networks.projected.limits import limited
from gp3d_core.training import losses
from gp3d_core.training.augmentation import augment_simply, sample_simply
from gp3d_core.training.phases import StepContext, discriminator_phase, generator_phase
from gp3d_core.training.step import Log
from gp3d_core.training.systems.patches import PatchPhases
from gp3d_core.training.systems.phases import Players


def make_projected(settings: ProjectedSettings, resolution: int, num_classes: int) -> ProjectedDiscriminator:
    """A fresh projected discriminator of pictures of `resolution`²; its feature network waits for weights."""
    return ProjectedDiscriminator(
        feature_maps(settings.network, settings.input_size),
        resolution=resolution,
        c_dim=num_classes if num_classes > 1 else 0,
        mixing_width=settings.mixing_width,
        head_width=settings.head_width,
        convolutions=settings.convolutions,
        heads=settings.heads,
    )


def judge_projected(
    discriminator: ProjectedDiscriminator,
    images: Tensor,
    c: Tensor | None,
    settings: ProjectedSettings,
    context: StepContext,
) -> DiscriminatorOutput:
    """What the heads say of `images` [B,3,R,R] of classes `c` [B,K], cut to [-1, 1], and augmented first where the
    settings have it.
    """
    images = limited(images)
    if settings.augment:
        images = augment_simply(images, sample_simply(len(images), images.shape[-1], context.rng))
    return discriminator(images, c)


def check_weights(config: RunConfig, weights: Path | None, *, fresh: bool) -> None:
    """Raises ConfigError where a `fresh` run lacks the weights of its feature network, or a run that has no such
    network is given some, and WeightsError for a file of another network. A run that goes on has them in its
    checkpoints.
    """
    settings = getattr(config, "projected", None)
    if settings is None and weights is not None:
        raise ConfigError(
            f"`weights` {weights}: preset {config.preset} looks through no pretrained network; leave them away"
        )
    if settings is not None and weights is None and fresh:
        raise ConfigError(
            f"preset {config.preset} looks through a pretrained network: give the weights of {settings.network} "
            "with `weights` FILE (.safetensors or .pth)"
        )
    if settings is not None and weights is not None and fresh:
        feature_maps(settings.network, settings.input_size).fill(weights)  # says what is wrong with the file


def fill_features(discriminator: nn.Module, weights: Path) -> None:
    """Gives the feature network of `discriminator` its weights. Raises WeightsError for another network's."""
    for part in discriminator.modules():
        if isinstance(part, FeatureMaps):
            part.fill(weights)


class TwoDiscriminators(nn.Module):
    """3DGP's discriminator of patches with depth, and the projected one of their colour."""

    def __init__(self, patches: Discriminator, pictures: ProjectedDiscriminator) -> None:
        """Both learn together."""
        super().__init__()
        self.patches = patches
        self.pictures = pictures


def make_both(config: ProjectedConfig, num_classes: int, feature_dim: int) -> TwoDiscriminators:
    """Both discriminators of a run."""
    patches = Discriminator(config, num_classes, feature_dim)
    return TwoDiscriminators(patches, make_projected(config.projected, config.patch.resolution, num_classes))


@dataclass(frozen=True, eq=False)
class ProjectedSecond:
    """The projected discriminator as the second one of a phase; hinge loss, weight 1 as the first one's."""

    discriminator: ProjectedDiscriminator
    settings: ProjectedSettings

    def generator_loss(self, rgb: Tensor, c: Tensor | None, context: StepContext) -> tuple[Tensor, Log]:
        """What G pays for patches [B,3,h,h] that it recognises."""
        term = losses.generator_loss(self._judge(rgb, c, context), "hinge").mean()
        return term, {"loss/generator_projected": term}

    def discriminator_loss(
        self, fake: Tensor, fake_c: Tensor | None, real: Tensor, real_c: Tensor | None, context: StepContext
    ) -> tuple[Tensor, Log]:
        """What it pays itself for fake and real patches [B,3,h,h]."""
        on_fake, on_real = self._judge(fake, fake_c, context), self._judge(real, real_c, context)
        term = losses.fake_loss(on_fake, "hinge").mean() + losses.real_loss(on_real, "hinge").mean()
        log = {"scores/fake_projected": on_fake.mean(), "scores/real_projected": on_real.mean()}
        return term, log | {"loss/discriminator_projected": term}

    def _judge(self, images: Tensor, c: Tensor | None, context: StepContext) -> Tensor:
        return judge_projected(self.discriminator, images, c, self.settings, context).logits


class ProjectedPatchPhases(PatchPhases):
    """3DGP's phases with the projected discriminator beside its own."""

    config: ProjectedConfig

    def generator(self, players: Players) -> tuple[Tensor, Log]:
        """The generator's loss by both discriminators."""
        both, config = players.discriminator, self.config
        second = ProjectedSecond(both.pictures, config.projected)
        latents, context = players.draw(), players.context
        return generator_phase(players.generator, both.patches, latents, config, context, second)

    def discriminator(self, players: Players) -> tuple[Tensor, Log]:
        """The loss of both discriminators."""
        both, config, context = players.discriminator, self.config, players.context
        second = ProjectedSecond(both.pictures, config.projected)
        latents = players.draw()
        return discriminator_phase(
            players.generator, both.patches, latents, players.real, config, context, second
        )

    def _r1(self, players: Players) -> tuple[Tensor, Log]:
        return super()._r1(replace(players, discriminator=players.discriminator.patches))
