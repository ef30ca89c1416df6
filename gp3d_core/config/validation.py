"""Which configurations make sense: ranges of single values, and values that must fit together."""

from __future__ import annotations

import math
from dataclasses import fields

from gp3d_core.config.schema import ConfigError, Prior, RunConfig, flatten

_MOST_LAYERS = (
    64  # of a network; a reader of a stranger's file makes them one by one before it looks for their weights
)
# Least and greatest allowed value; every number that is not listed must not be negative, learning rates not zero.
_LIMITS = {
    "training.batch": (1, math.inf),
    "training.micro_batch": (1, math.inf),
    "training.kimg": (1e-3, math.inf),
    "training.status_kimg": (1e-3, math.inf),
    "training.snapshot_kimg": (1e-3, math.inf),
    "training.checkpoint_kimg": (1e-3, math.inf),
    "training.generator_lr": (1e-12, math.inf),
    "training.discriminator_lr": (1e-12, math.inf),
    "patch.group": (1, math.inf),
    "patch.min_scale.start": (1e-3, 1),
    "patch.min_scale.end": (1e-3, 1),
    "render.coarse_steps": (3, math.inf),
    "render.last_interval": (1e-9, math.inf),
    "render.density_shift": (-math.inf, math.inf),
    "generator.z_dim": (1, math.inf),
    "generator.w_dim": (1, math.inf),
    "generator.mapping_layers": (1, _MOST_LAYERS),
    "generator.plane_channels": (1, math.inf),
    "generator.channel_max": (1, math.inf),
    "generator.decoder_width": (1, math.inf),
    "camera_generator.width": (1, math.inf),
    "camera_generator.embed": (1, math.inf),
    "depth_adaptor.width": (1, math.inf),
    "depth_adaptor.kernel": (1, math.inf),
    "depth_adaptor.identity.start": (0, 1),
    "depth_adaptor.identity.end": (0, 1),
    "discriminator.channel_max": (1, math.inf),
    "discriminator.mbstd_group": (1, math.inf),
    "loss.r1_interval": (1, math.inf),
    "loss.augmentation_target": (-1, 1),
    "loss.augmentation_probability": (0, 1),
    "camera.box": (1e-6, math.inf),
    "camera.fov.low": (0.1, 179),
    "camera.fov.high": (0.1, 179),
}


def check_config(config: RunConfig) -> None:
    """Raises ConfigError for values out of range, and for values that do not fit together."""
    _check_limits(config)
    _check_resolutions(config)
    _check_batch(config)
    _check_cameras(config)
    config.check()


def _check_limits(config: RunConfig) -> None:
    for key, value in flatten(config).items():
        if type(value) not in (int, float):
            continue
        angle = key.startswith(("camera.yaw", "camera.pitch", "camera.look_at"))
        most = _MOST_LAYERS if key.endswith("layers") else math.inf
        low, high = _LIMITS.get(key, (-math.inf if angle else 0, most))
        if not low <= value <= high:
            bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ConfigError(f"{key} expects a number {bounds}, found {value}")
    if config.depth_adaptor.kernel % 2 == 0:
        raise ConfigError(f"depth_adaptor.kernel expects an odd number, found {config.depth_adaptor.kernel}")
    for part, size in (
        ("generator", config.generator.plane_resolution),
        ("discriminator", config.training.resolution),
    ):
        base = getattr(config, part).channel_base
        if base < size:
            raise ConfigError(
                f"{part}.channel_base {base} leaves no channel at {size} pixels; choose at least {size}"
            )


def _check_resolutions(config: RunConfig) -> None:
    sizes = {
        "training.resolution": config.training.resolution,
        "patch.resolution": config.patch.resolution,
        "generator.plane_resolution": config.generator.plane_resolution,
    }
    for key, value in sizes.items():
        if value < 8 or value & (value - 1):
            raise ConfigError(f"{key} expects a power of two of at least 8, found {value}")
    if config.patch.resolution > config.training.resolution:
        raise ConfigError(
            f"patch.resolution {config.patch.resolution} is larger than training.resolution "
            f"{config.training.resolution}"
        )


def _check_batch(config: RunConfig) -> None:
    batch, micro = config.training.batch, config.training.micro_batch
    if batch % micro:
        raise ConfigError(f"training.batch {batch} is not a multiple of training.micro_batch {micro}")
    groups = {
        "patch.group": config.patch.group,
        "discriminator.mbstd_group": config.discriminator.mbstd_group,
    }
    for key, group in groups.items():
        if micro % min(group, micro):
            raise ConfigError(f"training.micro_batch {micro} is not a multiple of {key} {group}")


def _check_cameras(config: RunConfig) -> None:
    camera = config.camera
    if unknown := sorted(set(config.camera_generator.adjust) - {"angles", "fov", "radius", "look_at"}):
        raise ConfigError(f"camera_generator.adjust: {unknown[0]!r} is none of angles, fov, radius, look_at")
    for name in (f.name for f in fields(camera)):
        prior = getattr(camera, name)
        if isinstance(prior, Prior) and prior.kind == "truncnorm" and not prior.std > 0:
            raise ConfigError(
                f"camera.{name}.std expects a number above 0 for a truncnorm prior, found {prior.std}"
            )
    custom = {name for name in ("yaw", "pitch") if getattr(camera, name).kind == "custom"}
    if len(custom) == 1 or (custom and "angles" in config.camera_generator.adjust):
        raise ConfigError(
            "camera.yaw.kind and .pitch.kind are custom only together, and with camera_generator.adjust="
        )
    for name in (f.name for f in fields(camera)):
        prior = getattr(camera, name)
        if isinstance(prior, Prior) and prior.kind == "custom" and name not in custom:
            raise ConfigError(f"camera.{name}.kind: only yaw and pitch can be custom")
    if not camera.t_near < camera.t_far:
        raise ConfigError(f"camera.t_near {camera.t_near} must lie before camera.t_far {camera.t_far}")
