"""The presets: one table over the configuration dataclasses, to be compared by eye.

`tiny` runs on two CPU cores in minutes, `demo-64` learns from known shapes in as many; `objects-64` in hours and
`shapenet-*` train on rendered objects with known cameras, `epigraf-64` does so without what 3DGP adds; `dogs-256` and
`imagenet-256` are the released 3DGP settings, `imagenet-256-paper` those of the paper where they differ.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import replace

from gp3d_core.config import eg3d, stylenerf, volumegan
from gp3d_core.config.ablations import ablations
from gp3d_core.config.assignments import override
from gp3d_core.config.cameras import CAMERAS, KNOWN_CAMERAS
from gp3d_core.config.pictures import projected, stylegan2
from gp3d_core.config.schema import (
    CameraGeneratorConfig,
    ConfigError,
    DepthAdaptorConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    PatchConfig,
    Prior,
    Ramp,
    RenderConfig,
    RunConfig,
    TrainingConfig,
)
from gp3d_core.config.validation import check_config

# Opacity can only be learnt where a ray may stay empty, and quickly only where the alpha of a step is a sigmoid:
# with scale 1/delta, alpha = 1 - exp(-delta * scale * softplus(x)) = sigmoid(x), x = gain * raw + shift.
_OBJECT = RenderConfig(
    last_interval=1e-3,
    background="white",
    outside_box="empty",
    density_scale=64.0,
    density_gain=10.0,
    density_shift=-3.0,
    density_noise=Ramp(start=0.0, end=0.0),
)
_PAPER_CAMERAS = CameraGeneratorConfig(
    regulariser="gradient_penalty",
    angle_weight=0.3,
    radius_weight=0.3,
    fov_weight=0.03,
    look_at_weight=0.003,
    weight_ramp=Ramp(start=1.0, end=1.0),
    force_mean_weight=0.0,
)

PRESETS: dict[str, RunConfig] = {
    "tiny": RunConfig(
        preset="tiny",
        camera=replace(CAMERAS["shapenet"], box=0.55),
        render=replace(_OBJECT, coarse_steps=12, fine_steps=12, density_scale=32.0),
        generator=GeneratorConfig(
            z_dim=32,
            w_dim=64,
            plane_resolution=32,
            plane_channels=8,
            channel_base=1024,
            channel_max=64,
            decoder_width=32,
        ),
        camera_generator=KNOWN_CAMERAS,
        depth_adaptor=DepthAdaptorConfig(width=16),
        patch=PatchConfig(resolution=16, beta=Ramp(start=0.001, end=0.8, kimg=20)),
        discriminator=DiscriminatorConfig(channel_base=2048, channel_max=64, class_gain=16.0),
        loss=LossConfig(r1_gamma=0.1, blur=Ramp(start=2.0, end=0.0, kimg=2)),
        training=TrainingConfig(
            resolution=64,
            batch=8,
            micro_batch=8,
            kimg=12,
            ema_kimg=0.5,
            ema_rampup=0.2,
            status_kimg=0.2,
            snapshot_kimg=3,
            checkpoint_kimg=1,
        ),
    ),
    "box-64": RunConfig(  # the pretrained model: small enough to be grounded on two CPU cores
        preset="box-64",
        camera=replace(
            CAMERAS["shapenet"],
            box=0.55,
            yaw=Prior(kind="uniform", low=-math.pi, high=math.pi),
            pitch=Prior(kind="normal", mean=1.22, std=0.25, low=math.pi / 8, high=7 * math.pi / 8),
        ),
        render=replace(_OBJECT, coarse_steps=24, fine_steps=24),
        generator=GeneratorConfig(
            z_dim=32,
            w_dim=512,
            mapping_layers=3,
            plane_resolution=64,
            plane_channels=16,
            channel_base=3072,
            channel_max=192,
            rgb_activation="sigmoid",
        ),
        camera_generator=KNOWN_CAMERAS,
        depth_adaptor=DepthAdaptorConfig(layers=0),
        patch=PatchConfig(resolution=32),
        discriminator=DiscriminatorConfig(channel_base=4096, channel_max=128, class_gain=16.0),
        loss=LossConfig(r1_gamma=0.1, blur=Ramp(start=0.0, end=0.0)),
        training=TrainingConfig(
            resolution=64,
            batch=16,
            micro_batch=16,
            kimg=200,
            generator_lr=0.004,
            ema_kimg=2,
            status_kimg=1,
            snapshot_kimg=20,
            checkpoint_kimg=5,
        ),
    ),
    "shapenet-64": RunConfig(
        preset="shapenet-64",
        camera=replace(CAMERAS["shapenet"], box=0.55),
        render=replace(_OBJECT, coarse_steps=24, fine_steps=24),
        generator=GeneratorConfig(
            z_dim=128, w_dim=256, plane_resolution=128, plane_channels=16, channel_base=8192, channel_max=256
        ),
        camera_generator=KNOWN_CAMERAS,
        patch=PatchConfig(resolution=32),
        discriminator=DiscriminatorConfig(channel_base=8192, channel_max=256, class_gain=16.0),
        loss=LossConfig(r1_gamma=0.1, blur=Ramp(start=5.0, end=0.0, kimg=100)),
        training=TrainingConfig(
            resolution=64,
            batch=32,
            micro_batch=32,
            kimg=2000,
            ema_kimg=10,
            status_kimg=1,
            snapshot_kimg=50,
            checkpoint_kimg=50,
        ),
    ),
    "shapenet-128": RunConfig(
        preset="shapenet-128",
        camera=replace(CAMERAS["shapenet"], box=0.55),
        render=_OBJECT,
        generator=GeneratorConfig(z_dim=256, plane_resolution=256, channel_base=16384),
        camera_generator=KNOWN_CAMERAS,
        discriminator=DiscriminatorConfig(channel_base=16384, class_gain=16.0),
        loss=LossConfig(r1_gamma=0.1),
        training=TrainingConfig(resolution=128, batch=32, kimg=5000, ema_kimg=20, snapshot_kimg=200),
    ),
    "shapenet-256": RunConfig(
        preset="shapenet-256",
        camera=CAMERAS["shapenet"],
        render=_OBJECT,
        camera_generator=KNOWN_CAMERAS,
        loss=LossConfig(r1_gamma=0.1),
    ),
    "dogs-256": RunConfig(
        preset="dogs-256",
        camera=CAMERAS["uniform"],
        loss=LossConfig(r1_gamma=0.2048),
    ),
    "imagenet-256": RunConfig(
        preset="imagenet-256",
        camera=CAMERAS["uniform"],
        generator=GeneratorConfig(channel_base=65536, channel_max=1024),
        discriminator=DiscriminatorConfig(channel_base=65536, channel_max=1024),
        loss=LossConfig(r1_gamma=0.05),
    ),
    "imagenet-256-paper": RunConfig(
        preset="imagenet-256-paper",
        camera=CAMERAS["uniform"],
        render=RenderConfig(coarse_steps=48, fine_steps=48),
        camera_generator=_PAPER_CAMERAS,
        depth_adaptor=DepthAdaptorConfig(identity=Ramp(start=0.5, end=0.5), others="equal"),
        discriminator=DiscriminatorConfig(channel_base=16384),
        loss=LossConfig(
            r1_gamma=0.1,
            distillation="l2_squared",
            distillation_weight=Ramp(start=1.0, end=1.0),
            distillation_by_scale=False,
        ),
        training=TrainingConfig(generator_lr=0.002, discriminator_lr=0.002),
    ),
}


_BOX = PRESETS["box-64"]
PRESETS["demo-64"] = (
    replace(  # box-64 for minutes: half the planes' edge, and small batches, hence more steps
        _BOX,
        preset="demo-64",
        generator=replace(_BOX.generator, w_dim=128, plane_resolution=32, channel_base=2048, channel_max=128),
        patch=replace(_BOX.patch, resolution=16),
        discriminator=replace(_BOX.discriminator, channel_base=2048, channel_max=64),
        grounding=replace(_BOX.grounding, prior_steps=800),
        training=replace(
            _BOX.training,
            batch=8,
            micro_batch=8,
            kimg=8,
            ema_kimg=0.5,
            status_kimg=0.4,
            snapshot_kimg=4,
            checkpoint_kimg=1,
        ),
    )
)

PRESETS["box-128"] = replace(  # grounded on points of surfaces, colours without light: twice the planes' edge
    _BOX,
    preset="box-128",
    generator=replace(
        _BOX.generator, z_dim=48, w_dim=384, plane_resolution=128, texel_square=4, channel_base=4096
    ),
    patch=replace(_BOX.patch, resolution=64),
    grounding=replace(
        _BOX.grounding,
        colour="albedo",
        points=1536,
        surface_points=1024,
        colour_jitter=0.006,
        free_weight=4.0,
        rays=40,
        point_share=0.3,
        ray_share=0.0,
        point_weight=1.0,
        latent_dims=32,
        latent_noise=0.15,
        noise_maps="none",
        prior="mixture",
    ),
    training=replace(_BOX.training, resolution=128, batch=8, micro_batch=8, generator_lr=0.008),
)

_TINY = PRESETS["tiny"]
# as large as eg3d-64, at three quarters of what an image costs; the discriminator sees half of the pictures' edge
PRESETS["objects-64"] = replace(
    _TINY,
    preset="objects-64",
    generator=replace(_TINY.generator, plane_resolution=64, plane_channels=12),
    patch=replace(_TINY.patch, resolution=32),
    training=replace(_TINY.training, kimg=200, snapshot_kimg=5),
)

_SHAPENET = PRESETS["shapenet-64"]
PRESETS["epigraf-64"] = replace(  # EpiGRAF (NeurIPS 2022): no depth, no camera generator, no distillation
    _SHAPENET,
    preset="epigraf-64",
    depth_adaptor=replace(_SHAPENET.depth_adaptor, layers=0),
    discriminator=replace(_SHAPENET.discriminator, depth=False),
    loss=replace(
        _SHAPENET.loss, distillation_weight=replace(_SHAPENET.loss.distillation_weight, start=0.0, end=0.0)
    ),
)

_OWN = tuple(PRESETS)  # not for comparisons
_NAMED = 3  # presets that a slip is answered with
PRESETS |= ablations(PRESETS)
PRESETS |= projected.second_discriminators(PRESETS)
# every system that 3DGP is compared with has its own file
PRESETS |= eg3d.PRESETS | stylegan2.PRESETS | stylenerf.PRESETS | volumegan.PRESETS


def presets_of(resolution: int) -> list[str]:
    """Names of 3DGP's presets that train on images of `resolution` pixels a side, smaller models first."""
    fitting = (name for name, config in PRESETS.items() if config.training.resolution == resolution)
    return [name for name in fitting if name in _OWN]


def _like(name: str) -> str:
    """Half a sentence: up to three presets that `name` may be a slip for, or a part of; else which to begin with."""
    near = difflib.get_close_matches(name.lower(), PRESETS, n=_NAMED, cutoff=0.5)
    near += [known for known in PRESETS if name and name.lower() in known and known not in near]
    if not near:
        return "none is like it, and tiny is the smallest"
    return f"did you mean {' or '.join(map(repr, near[:_NAMED]))}?"


def resolve(name: str, assignments: Sequence[str] = ()) -> RunConfig:
    """Returns the preset `name` with KEY=VALUE `assignments` applied in order, checked as a whole.

    Raises ConfigError for a preset, key or value that does not exist or does not fit, naming the nearest.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}; {_like(name)}; gp3d presets lists all {len(PRESETS)}")
    config = PRESETS[name]
    for assignment in assignments:
        config = override(config, assignment)
    check_config(config)
    return config
