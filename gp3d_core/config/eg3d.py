"""EG3D (CVPR 2022) as it is compared with 3DGP: its settings, and the presets of its rows.

Every default is the released setting unless its comment says otherwise; docs/baselines.md lists what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from gp3d_core.config.cameras import CAMERAS, KNOWN_CAMERAS, photograph_cameras
from gp3d_core.config.schema import (
    COLOURS,
    OF_3DGP_ALONE,
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

_SMALLEST = 4  # pixels a side of a raw picture


@dataclass(frozen=True, kw_only=True)
class Eg3dSettings:
    """What EG3D has and 3DGP has not: a raw picture of features, its super-resolution, and poses as conditions."""

    planes: Literal["orthogonal", "released"] = "orthogonal"  # the release never sees y together with z
    guide: Literal["intervals", "released"] = (
        "intervals"  # of the fine samples; the release is half a step off
    )
    limits: Literal["camera", "box", "released"] = (
        "camera"  # samples lie between the camera's planes, or where rays cross the box; the release's misses end early
    )
    features: int = 32  # numbers of a pixel of the raw picture; the first three are its colour
    neural_resolution: Ramp = Ramp(start=64.0, end=64.0)  # pixels a side of the raw picture
    start_resolution: int = 128  # pixels a side that super-resolution begins with; it doubles them
    start_channels: int = 128  # of its first block
    end_channels: int = 64  # of its second block
    antialias: float = (
        1.0  # share of the low-passed picture where real ones are made raw; the rest is not low-passed
    )
    pose_to_generator: bool = False  # styles depend on the camera; 3DGP's rows know no true poses
    pose_to_discriminator: bool = False
    pose_swap: Ramp = Ramp(
        start=1.0, end=0.5, kimg=1000
    )  # probability that the mapping is told a neighbour's pose
    discriminator_mapping_layers: int = 8
    density_weight: float = 0.08  # of the density regulariser, 0 switches it off; the release has 0.25 ...
    density_region: Literal["box", "released"] = "box"  # ... in [-1, 1]³, half of which no plane covers
    density_points: int = 1000
    density_distance: float = 0.004  # deviation between the points that are compared, in edges of the box
    density_interval: int = 4  # steps from one such term to the next


@dataclass(frozen=True, kw_only=True)
class Eg3dConfig(RunConfig):
    """Everything that decides a run of EG3D."""

    system: ClassVar[str] = "eg3d"
    unused: ClassVar[tuple[str, ...]] = (
        *OF_3DGP_ALONE,
        "render.coarse_spacing",
        "render.density_noise",
        "render.last_interval",
        "loss.distillation",
        "loss.distillation_weight",
    )

    camera_generator: CameraGeneratorConfig = KNOWN_CAMERAS
    patch: PatchConfig = PatchConfig(resolution=8, group=1)
    discriminator: DiscriminatorConfig = DiscriminatorConfig(depth=False, mbstd_layout="strided")
    eg3d: Eg3dSettings = Eg3dSettings()

    def check(self) -> None:
        """Raises ConfigError for values of the section `eg3d` that do not fit."""
        ours, size = self.eg3d, self.training.resolution
        if 2 * ours.start_resolution != size:
            raise ConfigError(
                f"eg3d.start_resolution {ours.start_resolution}: super-resolution doubles it to training.resolution, "
                f"expected {size // 2} for {size}"
            )
        if self.render.background == "last":
            raise ConfigError("render.background expects none or white: EG3D's rays have no last sample")
        if ours.features < COLOURS:
            raise ConfigError(f"eg3d.features expects at least {COLOURS}, the colour; found {ours.features}")
        if min(ours.neural_resolution.start, ours.neural_resolution.end) < _SMALLEST:
            raise ConfigError(f"eg3d.neural_resolution expects at least {_SMALLEST} pixels a side")
        if not (0 <= ours.antialias <= 1 and 0 <= ours.pose_swap.end <= 1 and 0 <= ours.pose_swap.start <= 1):
            raise ConfigError("eg3d.antialias and eg3d.pose_swap expect shares from 0 to 1")
        for key in ("start_channels", "end_channels", "density_points", "density_interval"):
            if getattr(ours, key) < 1:
                raise ConfigError(f"eg3d.{key} expects a number of at least 1, found {getattr(ours, key)}")
        if ours.pose_to_discriminator and self.camera.yaw.kind != "custom":
            raise ConfigError(
                "eg3d.pose_to_discriminator compares with the true poses of real pictures: use "
                "`camera.yaw.kind`=custom `camera.pitch.kind`=custom on data with camera_angles"
            )

    @property
    def rendered(self) -> int:
        """Pixels a side of the raw picture at the end of its schedule, or at the start if that is more."""
        return round(max(self.eg3d.neural_resolution.start, self.eg3d.neural_resolution.end))


# softplus(raw - 1); the -1 was tuned for rays between 2.25 and 3.3, which are 2.7 times shorter in space of radius 1
_RENDER = RenderConfig(
    coarse_steps=48,
    fine_steps=48,
    last_interval=1e-3,
    density_shift=-1.0,
    density_noise=Ramp(start=0.0, end=0.0),
)
_NO_TEACHER = Ramp(start=0.0, end=0.0)

_SMALL = Eg3dConfig(
    preset="eg3d-64",
    camera=replace(CAMERAS["shapenet"], box=0.55),
    render=replace(_RENDER, coarse_steps=12, fine_steps=12, background="white", outside_box="empty"),
    generator=GeneratorConfig(
        z_dim=32,
        w_dim=64,
        plane_resolution=64,
        plane_channels=12,
        channel_base=1024,
        channel_max=64,
        decoder_width=32,
    ),
    discriminator=DiscriminatorConfig(depth=False, mbstd_layout="strided", channel_base=2048, channel_max=64),
    loss=LossConfig(r1_gamma=0.3, blur=Ramp(start=2.0, end=0.0, kimg=2), distillation_weight=_NO_TEACHER),
    training=TrainingConfig(
        resolution=64,
        batch=8,
        micro_batch=8,
        kimg=200,
        ema_kimg=0.5,
        ema_rampup=0.2,
        status_kimg=0.2,
        snapshot_kimg=5,
        checkpoint_kimg=1,
    ),
    eg3d=Eg3dSettings(
        features=12,
        neural_resolution=Ramp(start=32.0, end=32.0),
        start_resolution=32,
        start_channels=24,
        end_channels=16,
        discriminator_mapping_layers=2,
    ),
)
_LARGE = Eg3dConfig(
    preset="eg3d-256",
    camera=photograph_cameras("default"),
    render=replace(_RENDER, density_scale=2.7),
    generator=GeneratorConfig(plane_resolution=256),
    loss=LossConfig(r1_gamma=1.0, blur=Ramp(start=10.0, end=0.0, kimg=400), distillation_weight=_NO_TEACHER),
    training=TrainingConfig(ema_kimg=20.0),
)

_KNOWN = replace(  # rendered objects with known cameras, in front of white
    _LARGE,
    preset="eg3d-256-known",
    camera=CAMERAS["shapenet"],
    render=replace(_RENDER, coarse_steps=64, fine_steps=64, background="white", outside_box="empty"),
    loss=replace(_LARGE.loss, r1_gamma=0.3),
)

PRESETS: dict[str, RunConfig] = {
    "eg3d-64": _SMALL,  # rendered objects with known cameras, in front of white
    "eg3d-64-default": replace(  # photographs, or pictures whose cameras nobody knows
        _SMALL,
        preset="eg3d-64-default",
        camera=photograph_cameras("default"),
        render=replace(_SMALL.render, background="none", outside_box="zeros", density_scale=2.7),
    ),
    "eg3d-256": _LARGE,
    "eg3d-256-known": _KNOWN,
}
for _name in ("eg3d-64-default", "eg3d-256"):  # the wide rows: twice the spread
    _wide = f"{_name.removesuffix('-default')}-wide"
    PRESETS[_wide] = replace(PRESETS[_name], preset=_wide, camera=photograph_cameras("wide"))
