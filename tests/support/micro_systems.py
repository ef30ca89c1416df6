"""The smallest of every system that 3DGP is compared with, for tests that train all of them alike."""

from __future__ import annotations

from gp3d_core.config.presets import resolve
from gp3d_core.config.schema import RunConfig

_SHARED = (
    "training.resolution=16",
    "training.batch=4",
    "training.micro_batch=2",
    "discriminator.channel_base=256",
    "discriminator.channel_max=16",
    "discriminator.mbstd_group=2",
    "loss.r1_interval=2",
    "training.status_kimg=0.008",
    "training.snapshot_kimg=0.016",
    "training.checkpoint_kimg=0.008",
    "training.kimg=0.024",
)
MICRO_SYSTEMS: dict[str, tuple[str, ...]] = {  # a preset of the system first, then what makes it small
    "eg3d": (
        "eg3d-64",
        "generator.plane_resolution=16",
        "generator.plane_channels=4",
        "generator.z_dim=8",
        "generator.w_dim=16",
        "generator.channel_base=128",
        "generator.channel_max=16",
        "generator.decoder_width=8",
        "render.coarse_steps=6",
        "render.fine_steps=6",
        "eg3d.start_resolution=8",
        "eg3d.neural_resolution.start=5",
        "eg3d.neural_resolution.end=6",
        "eg3d.density_interval=2",
        "eg3d.density_points=20",
    ),
}


def micro_system(system: str, *more: str) -> RunConfig:
    """The smallest run of a system."""
    preset, *own = MICRO_SYSTEMS[system]
    return resolve(preset, [*_SHARED, *own, *more])
