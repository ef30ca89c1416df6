"""StyleGAN2 (CVPR 2020) as it is compared with 3DGP: its settings, and the presets of its rows.

Every default is the released setting unless its comment says otherwise; docs/baselines.md lists what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from gp3d_core.config.cameras import CAMERAS, KNOWN_CAMERAS
from gp3d_core.config.pictures.projected import ProjectedSettings
from gp3d_core.config.schema import (
    OF_3DGP_ALONE,
    CameraConfig,
    CameraGeneratorConfig,
    ConfigError,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    PatchConfig,
    Ramp,
    RenderConfig,
    RunConfig,
    TrainingConfig,
)

_SMALLEST = 8  # pixels a side


@dataclass(frozen=True, kw_only=True)
class Stylegan2Settings:
    """What StyleGAN2 has and 3DGP has not: path length regularisation, and a mapping of D's own depth."""

    path_weight: float = 2.0  # of the path length regulariser, 0 switches it off
    path_interval: int = 4  # steps from one such term to the next; half a batch is enough for it
    style_mixing: float = (
        0.0  # probability that a batch has two styles; 0.9 in the original, 0 in 3DGP's rows
    )
    discriminator_mapping_layers: int = 2  # from the class to what weighs D's numbers; 8 in the original


@dataclass(frozen=True, kw_only=True)
class Stylegan2Config(RunConfig):
    """Everything that decides a run of StyleGAN2."""

    system: ClassVar[str] = "stylegan2"
    dimensions: ClassVar[int] = 2
    unused: ClassVar[tuple[str, ...]] = (
        *OF_3DGP_ALONE,
        "camera",
        *(f"render.{part.name}" for part in fields(RenderConfig) if part.name != "backend"),
        "generator.plane_resolution",
        "generator.plane_channels",
        "generator.decoder_width",
        "loss.blur",
    )

    camera: CameraConfig = CAMERAS["static"]  # nothing looks through it
    camera_generator: CameraGeneratorConfig = KNOWN_CAMERAS
    patch: PatchConfig = PatchConfig(resolution=_SMALLEST, group=1)
    discriminator: DiscriminatorConfig = DiscriminatorConfig(depth=False, mbstd_layout="strided")
    stylegan2: Stylegan2Settings = Stylegan2Settings()

    def check(self) -> None:
        """Raises ConfigError for values that do not fit."""
        size = self.training.resolution
        if self.generator.channel_base < size:
            raise ConfigError(
                f"generator.channel_base {self.generator.channel_base} leaves no channel at {size} pixels; choose at "
                f"least {size}"
            )
        if not 0 <= self.stylegan2.style_mixing <= 1:
            raise ConfigError("stylegan2.style_mixing expects a probability from 0 to 1")
        for key in ("path_interval", "discriminator_mapping_layers"):
            if getattr(self.stylegan2, key) < 1:
                raise ConfigError(f"stylegan2.{key} expects a number of at least 1")

    @property
    def rendered(self) -> int:
        """Nothing is rendered point by point."""
        return 0


@dataclass(frozen=True, kw_only=True)
class ProjectedStylegan2Config(Stylegan2Config):
    """Everything that decides a run of StyleGAN2's generator against the projected discriminator."""

    system: ClassVar[str] = "stylegan2-projected"
    unused: ClassVar[tuple[str, ...]] = (
        *Stylegan2Config.unused,
        "discriminator",
        "loss.adversarial",
        "loss.r1_gamma",
        "loss.r1_interval",
        "loss.distillation",
        "loss.distillation_weight",
        "loss.augmentation",
        "loss.augmentation_target",
        "loss.augmentation_probability",
        "stylegan2.discriminator_mapping_layers",
    )

    projected: ProjectedSettings = ProjectedSettings()

    def check(self) -> None:
        """Raises ConfigError for values that do not fit."""
        super().check()
        self.projected.check()


_NO_TEACHER = Ramp(start=0.0, end=0.0)


def automatic_gamma(resolution: int, batch: int) -> float:
    """The weight of R1 that the original chooses for images of `resolution`² and batches of so many."""
    return 2e-4 * resolution**2 / batch


def _small(resolution: int, base: int, widest: int, batch: int) -> Stylegan2Config:
    """For processors: few channels, small batches, hence many steps."""
    return Stylegan2Config(
        preset=f"stylegan2-{resolution}",
        generator=GeneratorConfig(
            z_dim=32, w_dim=64, plane_resolution=resolution, channel_base=base, channel_max=widest
        ),
        discriminator=DiscriminatorConfig(
            depth=False, mbstd_layout="strided", channel_base=base, channel_max=widest
        ),
        loss=LossConfig(r1_gamma=automatic_gamma(resolution, batch), distillation_weight=_NO_TEACHER),
        training=TrainingConfig(
            resolution=resolution,
            batch=batch,
            micro_batch=batch,
            kimg=200,
            generator_lr=0.002,
            ema_kimg=batch * 10 / 32,
            ema_rampup=0.05,
            status_kimg=0.2,
            snapshot_kimg=5,
            checkpoint_kimg=1,
        ),
    )


def _distilled(config: Stylegan2Config) -> dict[str, Stylegan2Config]:
    """The rows of `config` with a teacher, by the distance to its features."""
    weight = Ramp(start=1.0, end=0.0, kimg=100_000)
    losses = {
        "kd": replace(config.loss, distillation="l2", distillation_weight=weight),
        "kl": replace(config.loss, distillation="kl", distillation_weight=weight),
    }
    names = {word: f"{config.preset}-{word}" for word in losses}
    return {name: replace(config, preset=name, loss=losses[word]) for word, name in names.items()}


def _projected(config: Stylegan2Config, name: str, projected: ProjectedSettings) -> ProjectedStylegan2Config:
    """`config`'s generator against the projected discriminator."""
    return ProjectedStylegan2Config(
        preset=name,
        generator=config.generator,
        loss=LossConfig(adversarial="hinge", r1_gamma=0.0, distillation_weight=_NO_TEACHER),
        training=config.training,
        # StyleGAN-XL begins with path lengths after a million images
        stylegan2=replace(config.stylegan2, path_weight=0.0),
        projected=projected,
    )


_SMALL = _small(64, base=1024, widest=64, batch=8)
_MIDDLE = _small(128, base=4096, widest=128, batch=8)
_LARGE = Stylegan2Config(  # the released widths, with the batches and weights of 3DGP's rows
    preset="stylegan2-256",
    generator=GeneratorConfig(plane_resolution=256),
    loss=LossConfig(r1_gamma=automatic_gamma(256, 64), distillation_weight=_NO_TEACHER),
    training=TrainingConfig(generator_lr=0.002, ema_kimg=20.0),
)

PRESETS: dict[str, RunConfig] = {
    "stylegan2-64": _SMALL,
    **_distilled(_SMALL),
    "stylegan2-128": _MIDDLE,
    **_distilled(_MIDDLE),
    "stylegan2-256": _LARGE,
    **_distilled(_LARGE),
    "projected-64": _projected(
        _SMALL, "projected-64", ProjectedSettings(input_size=128, mixing_width=16, head_width=32)
    ),
    "projected-128": _projected(_MIDDLE, "projected-128", ProjectedSettings(mixing_width=32)),
    "projected-256": _projected(_LARGE, "projected-256", ProjectedSettings(input_size=256)),
}
