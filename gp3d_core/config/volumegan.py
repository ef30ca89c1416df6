"""VolumeGAN (CVPR 2022) as it is compared with 3DGP: its settings, and the presets of its rows.

Every default is the released setting unless its comment says otherwise; docs/baselines.md lists what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from gp3d_core.config.cameras import CAMERAS, KNOWN_CAMERAS, photograph_cameras
from gp3d_core.config.rendered_map import (
    OF_OTHER_FIELDS,
    RECTIFIED,
    check_map,
    check_power,
    check_probability,
    check_some,
)
from gp3d_core.config.schema import (
    COLOURS,
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

_SMALLEST_VOLUME, _SMALLEST_MAP = 4, 4


@dataclass(frozen=True, kw_only=True)
class VolumeGanSettings:
    """What VolumeGAN has and 3DGP has not: a feature volume, an image network, and images that grow."""

    volume_resolution: int = 32  # texels along an edge of the feature volume
    volume_base: int = 256  # channels of its first stage, halved at every doubling from 4³ texels
    bounds: Literal["camera", "released"] = (
        "camera"  # of the volume: the camera's box; the release's is fixed, and not symmetric
    )
    octaves: int = 10  # of the encoded position
    field_layers: int = 4  # modulated layers that read the volume
    field_width: int = 256  # their units
    features: int = 512  # numbers of a pixel of the rendered map; the first three are its colour
    map_resolution: int = 32  # pixels a side of the rendered map
    noise: Literal["random", "none"] = "random"  # spatial, of the image network; none in the small presets
    stage_kimg: float = 750.0  # how long a size of the pictures is trained on ...
    fade_kimg: float = 750.0  # ... and how long the next one fades in
    mixing: float = 0.9  # probability that a random number of the image network's codes are another object's
    path_weight: float = 2.0  # of the path length regulariser, 0 switches it off
    path_interval: int = 4  # steps from one such term to the next; half a batch is enough for it

    def level(self, nimg: int, levels: int) -> float:
        """How many of `levels` doublings of the rendered map have grown after `nimg` images, the last one in part."""
        period = self.stage_kimg + self.fade_kimg
        if period <= 0:
            return float(levels)
        grown, left = divmod(nimg / 1000.0, period)
        fading = max(left - self.stage_kimg, 0.0) / self.fade_kimg if self.fade_kimg > 0 else 0.0
        return min(grown + fading, float(levels))


@dataclass(frozen=True, kw_only=True)
class VolumeGanConfig(RunConfig):
    """Everything that decides a run of VolumeGAN."""

    system: ClassVar[str] = "volumegan"
    unused: ClassVar[tuple[str, ...]] = (
        *OF_OTHER_FIELDS,
        "render.density_noise",
        "discriminator.mbstd_layout",
    )

    render: RenderConfig = RECTIFIED
    camera_generator: CameraGeneratorConfig = KNOWN_CAMERAS
    patch: PatchConfig = PatchConfig(resolution=8, group=1)
    discriminator: DiscriminatorConfig = DiscriminatorConfig(depth=False, mbstd_layout="strided")
    volumegan: VolumeGanSettings = VolumeGanSettings()

    @property
    def levels(self) -> int:
        """Doublings from the rendered map to the finished picture."""
        return (self.training.resolution // self.volumegan.map_resolution).bit_length() - 1

    @property
    def rendered(self) -> int:
        """Pixels a side of the map that is rendered point by point."""
        return self.volumegan.map_resolution

    def check(self) -> None:
        """Raises ConfigError for values of the section `volumegan` that do not fit."""
        ours, size = self.volumegan, self.training.resolution
        check_power("volumegan.volume_resolution", ours.volume_resolution, _SMALLEST_VOLUME)
        check_map("volumegan.map_resolution", ours.map_resolution, size, _SMALLEST_MAP)
        stages = ours.volume_resolution // _SMALLEST_VOLUME
        if ours.volume_base < stages or ours.volume_base % stages:
            raise ConfigError(
                f"volumegan.volume_base {ours.volume_base} is halved until the volume has {ours.volume_resolution} "
                f"texels a side; expected a multiple of {stages}"
            )
        if ours.features < COLOURS:
            raise ConfigError(
                f"volumegan.features expects at least {COLOURS}, the colour; found {ours.features}"
            )
        check_probability("volumegan.mixing", ours.mixing)
        for key in ("octaves", "field_layers", "field_width", "path_interval"):
            check_some(f"volumegan.{key}", getattr(ours, key))


_SMALL = VolumeGanConfig(
    preset="volumegan-64",
    camera=replace(CAMERAS["shapenet"], box=0.55),
    render=replace(RECTIFIED, coarse_steps=8, fine_steps=8),
    generator=GeneratorConfig(
        z_dim=32, w_dim=64, mapping_layers=4, plane_resolution=64, channel_base=1024, channel_max=32
    ),
    discriminator=DiscriminatorConfig(depth=False, mbstd_layout="strided", channel_base=2048, channel_max=64),
    loss=LossConfig(r1_gamma=0.3, distillation_weight=Ramp(start=0.0, end=0.0)),
    training=TrainingConfig(
        resolution=64,
        batch=8,
        micro_batch=8,
        kimg=200,
        generator_lr=0.002,
        ema_kimg=0.5,
        ema_rampup=0.2,
        status_kimg=0.2,
        snapshot_kimg=5,
        checkpoint_kimg=1,
    ),
    volumegan=VolumeGanSettings(
        volume_resolution=16,
        volume_base=32,
        field_layers=2,
        field_width=32,
        features=32,
        map_resolution=16,
        noise="none",  # few channels let it through as speckle
        stage_kimg=1.0,
        fade_kimg=1.0,
    ),
)

PRESETS: dict[str, RunConfig] = {
    "volumegan-64": _SMALL,  # rendered objects with known cameras
    "volumegan-64-default": replace(  # photographs, or pictures whose cameras nobody knows
        _SMALL, preset="volumegan-64-default", camera=photograph_cameras("default")
    ),
    "volumegan-256": VolumeGanConfig(
        preset="volumegan-256",
        camera=replace(photograph_cameras("default"), t_near=0.8, t_far=1.2),
        render=replace(RECTIFIED, coarse_steps=12, fine_steps=12, evaluation_jitter=True),
        generator=GeneratorConfig(mapping_layers=8),
        loss=LossConfig(r1_gamma=10.0, distillation_weight=Ramp(start=0.0, end=0.0)),
        training=TrainingConfig(generator_lr=0.002, ema_kimg=20.0),
    ),
}
