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
    "stylegan2": (
        "stylegan2-64",
        "generator.z_dim=8",
        "generator.w_dim=16",
        "generator.channel_base=128",
        "generator.channel_max=8",
        "stylegan2.path_interval=2",
        "stylegan2.style_mixing=0.5",
    ),
    "stylenerf": (
        "stylenerf-64",
        "generator.z_dim=8",
        "generator.w_dim=16",
        "generator.channel_base=128",
        "generator.channel_max=8",
        "render.coarse_steps=4",
        "render.fine_steps=4",
        "stylenerf.foreground_width=8",
        "stylenerf.foreground_layers=2",
        "stylenerf.background_width=8",
        "stylenerf.background_layers=2",
        "stylenerf.background_noise=4",
        "stylenerf.features=8",
        "stylenerf.map_resolution=8",
        "stylenerf.path_cells=4",
        "stylenerf.grow.start=0.004",
        "stylenerf.grow.end=0.012",
        "stylenerf.length_interval=2",
    ),
    "volumegan": (
        "volumegan-64",
        "generator.z_dim=8",
        "generator.w_dim=16",
        "generator.channel_base=128",
        "generator.channel_max=8",
        "render.coarse_steps=4",
        "render.fine_steps=4",
        "volumegan.volume_resolution=8",
        "volumegan.volume_base=8",
        "volumegan.octaves=4",
        "volumegan.field_width=8",
        "volumegan.features=8",
        "volumegan.map_resolution=8",
        "volumegan.stage_kimg=0.004",
        "volumegan.fade_kimg=0.004",
        "volumegan.path_interval=2",
    ),
}


def micro_system(system: str, *more: str) -> RunConfig:
    """The smallest run of a system."""
    preset, *own = MICRO_SYSTEMS[system]
    return resolve(preset, [*_SHARED, *own, *more])
