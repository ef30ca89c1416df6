"""StyleNeRF (ICLR 2022) as it is compared with 3DGP: its settings, and the presets of its rows.

Every default is the released setting unless its comment says otherwise; docs/baselines.md lists what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from gp3d_core.config.cameras import CAMERAS, KNOWN_CAMERAS, photograph_cameras
from gp3d_core.config.rendered_map import OF_OTHER_FIELDS, RECTIFIED, check_map, check_probability, check_some
from gp3d_core.config.schema import (
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

_SMALLEST_MAP = 8  # pixels a side, so that the discriminator of the smallest pictures has a block
_WITHOUT_RAMP = 1e9  # of the average's half-life, as a share of the images seen

# Light that the object lets pass goes on to the background; meshes and their views know only the object.
_OBJECT = replace(RECTIFIED, last_interval=1e-3, density_noise=Ramp(start=1.0, end=1.0))


@dataclass(frozen=True, kw_only=True)
class StyleNerfSettings:
    """What StyleNeRF has and 3DGP has not: a background, upsampling that grows, and its path regularisation."""

    foreground_width: int = 128  # units of a layer of the object's field
    foreground_layers: int = 8
    background_width: int = 64  # units of a layer of the background's field
    background_layers: int = 4
    background_noise: int = 32  # numbers that a background is made from ...
    background_source: Literal["latent", "free"] = (
        "latent"  # ... the object's own first ones, or new ones for every picture, as in the release
    )
    background_steps: int = 4  # samples of a ray outside the sphere that the background begins with
    features: int = 256  # numbers of a pixel of the rendered map beside its colour
    map_resolution: int = 32  # pixels a side of the rendered map
    grow: Ramp = Ramp(start=500.0, end=5000.0)  # kimg at which the upsampling begins to grow, and has grown
    path_cells: int = 16  # cells along an edge of a picture, of each of which a pixel is compared
    path_weight: float = 2.0  # of the regulariser that compares them, 0 switches it off
    mixing: float = 0.9  # probability that a random number of codes are another object's
    length_weight: float = 2.0  # of the path length regulariser, 0 switches it off
    length_interval: int = 4  # steps from one such term to the next; half a batch is enough for it
    discriminator_mapping_layers: int = 8

    def alpha(self, nimg: int) -> float:
        """How much of the upsampling has grown after `nimg` images, from 0 to 1."""
        if self.grow.end <= self.grow.start:
            return 1.0 if nimg >= 1000 * self.grow.start else 0.0
        return min(max((nimg / 1000 - self.grow.start) / (self.grow.end - self.grow.start), 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class StyleNerfConfig(RunConfig):
    """Everything that decides a run of StyleNeRF."""

    system: ClassVar[str] = "stylenerf"
    unused: ClassVar[tuple[str, ...]] = (
        *OF_OTHER_FIELDS,
        "discriminator.half_resolutions",
    )

    render: RenderConfig = _OBJECT
    camera_generator: CameraGeneratorConfig = KNOWN_CAMERAS
    patch: PatchConfig = PatchConfig(resolution=8, group=1)
    discriminator: DiscriminatorConfig = DiscriminatorConfig(
        depth=False, mbstd_layout="strided", mbstd_group=8, channel_base=16384
    )
    stylenerf: StyleNerfSettings = StyleNerfSettings()

    @property
    def levels(self) -> int:
        """Doublings from the rendered map to the finished picture."""
        return (self.training.resolution // self.stylenerf.map_resolution).bit_length() - 1

    @property
    def rendered(self) -> int:
        """Pixels a side of the map that is rendered point by point."""
        return self.stylenerf.map_resolution

    def check(self) -> None:
        """Raises ConfigError for values of the section `stylenerf` that do not fit."""
        ours = self.stylenerf
        check_map("stylenerf.map_resolution", ours.map_resolution, self.training.resolution, _SMALLEST_MAP)
        if ours.path_cells < 1 or ours.map_resolution % ours.path_cells:
            raise ConfigError(
                f"stylenerf.path_cells {ours.path_cells} does not divide stylenerf.map_resolution {ours.map_resolution}"
            )
        most = min(self.generator.z_dim, self.generator.w_dim)
        if ours.background_source == "latent" and ours.background_noise > most:
            raise ConfigError(
                f"stylenerf.background_noise {ours.background_noise}: an object has {most} numbers for it (the smaller "
                "of generator.z_dim and generator.w_dim); use at most so many, or `stylenerf.background_source`=free"
            )
        check_probability("stylenerf.mixing", ours.mixing)
        for key in (
            "foreground_width",
            "foreground_layers",
            "background_width",
            "background_layers",
            "features",
        ):
            check_some(f"stylenerf.{key}", getattr(ours, key))
        if ours.background_steps < 2 or min(ours.length_interval, ours.discriminator_mapping_layers) < 1:
            raise ConfigError(
                "stylenerf.background_steps expects at least 2; length_interval and discriminator_mapping_layers 1"
            )


_SMALL = StyleNerfConfig(
    preset="stylenerf-64",
    camera=replace(CAMERAS["shapenet"], box=0.55),
    render=replace(_OBJECT, coarse_steps=8, fine_steps=8),
    generator=GeneratorConfig(
        z_dim=32, w_dim=64, mapping_layers=4, plane_resolution=64, channel_base=1536, channel_max=48
    ),
    discriminator=DiscriminatorConfig(
        depth=False, mbstd_layout="strided", mbstd_group=8, channel_base=2048, channel_max=64
    ),
    loss=LossConfig(r1_gamma=0.3, distillation_weight=Ramp(start=0.0, end=0.0)),
    training=TrainingConfig(
        resolution=64,
        batch=8,
        micro_batch=8,
        kimg=200,
        discriminator_lr=0.0025,
        ema_kimg=0.5,
        ema_rampup=0.2,
        status_kimg=0.2,
        snapshot_kimg=5,
        checkpoint_kimg=1,
    ),
    stylenerf=StyleNerfSettings(
        foreground_width=32,
        background_width=16,
        features=32,
        map_resolution=16,
        grow=Ramp(start=2.0, end=20.0),
        path_cells=8,
        discriminator_mapping_layers=2,
    ),
)

PRESETS: dict[str, RunConfig] = {
    "stylenerf-64": _SMALL,  # rendered objects with known cameras
    "stylenerf-64-default": replace(  # photographs, or pictures whose cameras nobody knows
        _SMALL, preset="stylenerf-64-default", camera=photograph_cameras("default")
    ),
    "stylenerf-256": StyleNerfConfig(
        preset="stylenerf-256",
        camera=photograph_cameras("default"),
        render=replace(_OBJECT, coarse_steps=14, fine_steps=14),
        generator=GeneratorConfig(mapping_layers=8),
        loss=LossConfig(r1_gamma=0.5, distillation_weight=Ramp(start=0.0, end=0.0)),
        training=TrainingConfig(discriminator_lr=0.0025, ema_kimg=20.0, ema_rampup=_WITHOUT_RAMP),
    ),
}
