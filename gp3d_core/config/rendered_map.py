"""What systems share that render a small map of features and double it to a picture: StyleNeRF and VolumeGAN."""

from __future__ import annotations

from gp3d_core.config.schema import OF_3DGP_ALONE, ConfigError, Ramp, RenderConfig

# Densities are positive parts. What makes meshes knows softplus(gain · raw) · scale, which differs by 0.014 at most.
RECTIFIED = RenderConfig(
    density_scale=0.02, density_gain=50.0, density_shift=0.0, density_noise=Ramp(start=0.0, end=0.0)
)
# Keys that none of them reads: their fields are no tri-planes, their rays end in ways of their own.
OF_OTHER_FIELDS = (
    *OF_3DGP_ALONE,
    "render.background",
    "render.outside_box",
    "render.coarse_spacing",
    "render.density_scale",
    "render.density_gain",
    "render.density_shift",
    "render.last_interval",
    "generator.plane_resolution",
    "generator.plane_channels",
    "generator.decoder_width",
    "loss.blur",
    "loss.distillation",
    "loss.distillation_weight",
)


def check_power(key: str, value: int, smallest: int) -> None:
    """Raises ConfigError unless `value` is a power of two from `smallest`."""
    if value < smallest or value & (value - 1):
        raise ConfigError(f"{key} expects a power of two from {smallest}, found {value}")


def check_map(key: str, value: int, size: int, smallest: int) -> None:
    """Raises ConfigError unless a rendered map of `value` pixels a side doubles to pictures of `size`."""
    check_power(key, value, smallest)
    if value > size or size % value or (size // value) & (size // value - 1):
        raise ConfigError(
            f"{key} {value} is doubled to training.resolution {size}, expected a smaller power of two"
        )


def check_probability(key: str, value: float) -> None:
    """Raises ConfigError unless `value` lies between 0 and 1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{key} expects a probability from 0 to 1, found {value}")


def check_some(key: str, value: float) -> None:
    """Raises ConfigError for a `value` below 1."""
    if value < 1:
        raise ConfigError(f"{key} expects a number of at least 1, found {value}")
