"""The configuration of a recorded run, as its json says it, in terms of ours.

G_weights.json and D_weights.json describe the networks: sizes, camera prior, number of steps, schedules. Nothing about
them is assumed, so that a folder recorded at other sizes runs the same tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gp3d_core.config.schema import (
    CameraConfig,
    CameraGeneratorConfig,
    DepthAdaptorConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    PatchConfig,
    Prior,
    Ramp,
    RenderConfig,
    RunConfig,
    TrainingConfig,
)
from gp3d_core.networks.generator import Generator
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, sample_rays
from gp3d_core.rendering.patches import Patches
from gp3d_core.rendering.volume import render
from tests.core.parity.parity_fixtures import load_case
from tests.core.parity.parity_names import GENERATOR_NAMES, Names, discriminator_names

Meta = Mapping[str, Any]
KEPT = ("roll", "radius")  # parameters that are not normalised


@dataclass(frozen=True)
class Recording:
    """How a folder's networks were built: our configuration, number of classes, width of the distilled features."""

    config: RunConfig
    penalised: CameraGeneratorConfig  # weights of the recorded gradient penalty, which runs beside the EMD
    classes: int
    features: int

    @property
    def has_point_range(self) -> bool:
        """Whether a parameter of the cameras can't vary at all, radius aside, which is not normalised."""
        camera = self.config.camera
        return any(
            getattr(camera, name).low == getattr(camera, name).high for name in PARAMETERS if name not in KEPT
        )

    @property
    def generator_names(self) -> Names:
        """Names of the generator's parameters in terms of ours."""
        return GENERATOR_NAMES

    @property
    def discriminator_names(self) -> Names:
        """Names of the discriminator's parameters in terms of ours."""
        return discriminator_names(self.config.training.resolution)

    def draw_patches(
        self, generator: Generator, ws: Tensor, cameras: Cameras, patches: Patches, choice: Tensor
    ) -> Tensor:
        """Patches [B,4,h,h] with the recorded depth choice, stored noise maps and no jitter."""
        size = self.config.patch.resolution
        field = generator.field(generator.backbone(ws, "const"))
        rays = sample_rays(cameras, size, patches)
        seen = render(field, *rays, self.config.camera, self.config.render, jitter=False)
        rgb, depth = (x.transpose(1, 2).unflatten(2, (size, size)) for x in (seen.rgb, seen.depth))
        adaptor = generator.depth_adaptor
        return torch.cat([rgb, adaptor.select(adaptor(depth), choice)], dim=1)


def normalise_as_released(cameras: Cameras, camera: CameraConfig) -> Cameras:
    """What the recorded camera generator reads: every parameter by its range + 1e-8, even where the range is a point.

    Whatever is left of the difference there, a clamped pole's 1e-5 for instance, becomes a thousand or more, and every
    parameter of every camera that depends on it ends at one end of its range: gp3d_core reads 0 instead.
    """
    columns = dict(zip(PARAMETERS, cameras.flat().unbind(dim=1), strict=True))
    for name in set(PARAMETERS) - set(KEPT):
        prior = getattr(camera, name)
        columns[name] = (columns[name] - prior.low) / (prior.high - prior.low + 1e-8)
    return Cameras.from_flat(torch.stack([columns[name] for name in PARAMETERS], dim=1))


def load_recording(folder: Path) -> Recording:
    """The recording in a folder."""
    generator = load_case(folder, "G_weights").meta["generator"]
    described = load_case(folder, "D_weights").meta
    discriminator, cameras = described["discriminator"], generator["camera_adaptor"]
    config = RunConfig(
        preset="parity",
        camera=read_camera(generator["camera"]),
        render=RenderConfig(
            coarse_steps=generator["num_ray_steps"],
            fine_steps=generator["num_ray_steps"],
            last_interval=1e10 if generator["use_inf_depth"] else 1e-3,
            density_noise=Ramp(start=0.0, end=0.0),  # none while recording
        ),
        generator=read_generator(generator),
        camera_generator=read_camera_generator(cameras),
        depth_adaptor=read_depth_adaptor(generator["depth_adaptor"]),
        patch=read_patch(generator["patch"]),
        discriminator=DiscriminatorConfig(
            channel_base=int(discriminator["cbase"] * discriminator["fmaps"]),
            channel_max=discriminator["cmax"],
            mbstd_group=discriminator["mbstd_group_size"],
            mbstd_layout="strided",
        ),
        training=TrainingConfig(resolution=described["nominal_resolution"], precision="float32"),
    )
    weights = cameras["lipschitz_weights"]
    penalised = replace(
        config.camera_generator,
        regulariser="gradient_penalty",
        angle_weight=weights["angles"],
        radius_weight=weights["radius"],
        fov_weight=weights["fov"],
        look_at_weight=weights["look_at"],
        weight_ramp=Ramp(start=1.0, end=1.0),
    )
    return Recording(config, penalised, generator["c_dim"], described["feat"])


def read_camera(meta: Meta) -> CameraConfig:
    """The camera prior and the space that rays cross."""
    yaw, pitch = read_angles(meta["origin"]["angles"])
    look_at_yaw, look_at_pitch = read_angles(meta["look_at"]["angles"])
    return CameraConfig(
        yaw=yaw,
        pitch=pitch,
        fov=read_prior(meta["fov"]),
        radius=read_prior(meta["origin"]["radius"]),
        look_at_yaw=look_at_yaw,
        look_at_pitch=look_at_pitch,
        look_at_radius=read_prior(meta["look_at"]["radius"]),
        t_near=meta["ray"]["start"],
        t_far=meta["ray"]["end"],
        box=meta["cube_scale"],
    )


def read_angles(meta: Meta) -> tuple[Prior, Prior]:
    """Yaw and pitch, which share their distribution; beside a `spherical_uniform` pitch, yaw is uniform."""
    kind = meta["dist"]
    yaw = read_prior(meta["yaw"], "uniform" if kind == "spherical_uniform" else kind)
    return yaw, read_prior(meta["pitch"], kind)


def read_prior(meta: Meta, kind: str = "") -> Prior:
    """One parameter's distribution; a constant may lack a range."""
    kind, mean, std = kind or meta["dist"], meta.get("mean", 0.0), meta.get("std", 0.0)
    if kind == "normal" and std == 0:
        kind = "constant"
    return Prior(kind=kind, low=meta.get("min", mean), high=meta.get("max", mean), mean=mean, std=std)


def read_generator(meta: Meta) -> GeneratorConfig:
    """Sizes of mapping, backbone and decoder."""
    planes = meta["tri_plane"]
    return GeneratorConfig(
        z_dim=meta["z_dim"],
        w_dim=meta["w_dim"],
        mapping_layers=meta["map_depth"],
        plane_resolution=planes["res"],
        plane_channels=planes["feat_dim"],
        channel_base=int(meta["cbase"] * meta["fmaps"]),
        channel_max=meta["cmax"],
        decoder_width=planes["mlp"]["hid_dim"],
    )


def read_camera_generator(meta: Meta) -> CameraGeneratorConfig:
    """Sizes of the camera generator, and weights of its EMD."""
    weights = meta["emd"]
    return CameraGeneratorConfig(
        adjust=tuple(name for name, moved in meta["adjust"].items() if moved),
        width=meta["hid_dim"],
        embed=meta["embed_dim"],
        residual=meta["residual"],
        regulariser="emd",
        angle_weight=weights["origin"],
        radius_weight=weights["radius"],
        fov_weight=weights["fov"],
        look_at_weight=weights["look_at"],
        weight_ramp=Ramp(start=0.0, end=1.0, kimg=weights["anneal_kimg"]),
        force_mean_weight=meta["force_mean_weight"],
        look_at_low="pitch",  # as released
    )


def read_depth_adaptor(meta: Meta) -> DepthAdaptorConfig:
    """Sizes and schedule: all maps are equally likely at first."""
    layers, last = meta["num_hid_layers"], meta["selection_start_p"]
    return DepthAdaptorConfig(
        layers=layers,
        width=meta["hid_dim"],
        kernel=meta["kernel_size"],
        identity=Ramp(start=1 / (layers + 1), end=last, kimg=meta["anneal_kimg"]),
    )


def read_patch(meta: Meta) -> PatchConfig:
    """Patches and their schedules."""
    kimg = meta["anneal_kimg"]
    return PatchConfig(
        resolution=meta["resolution"],
        distribution=meta["distribution"],
        beta=Ramp(start=meta["beta_val_start"], end=meta["beta_val_end"], kimg=kimg),
        min_scale=Ramp(start=1.0, end=meta["min_scale_trg"], kimg=kimg),
        group=meta["mbstd_group_size"],
    )
