"""A configuration of networks small enough for tests, with every part of the method in use."""

from __future__ import annotations

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.config.schema import (
    CameraGeneratorConfig,
    DepthAdaptorConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    PatchConfig,
    Ramp,
    RenderConfig,
    RunConfig,
    TrainingConfig,
)

CLASSES = 4
FEATURES = 48
CONFIG = RunConfig(
    preset="small",
    camera=CAMERAS["uniform"],
    render=RenderConfig(coarse_steps=8, fine_steps=8, density_noise=Ramp(start=0.0, end=0.0)),
    generator=GeneratorConfig(z_dim=32, w_dim=32, plane_resolution=32, plane_channels=8, channel_max=32),
    camera_generator=CameraGeneratorConfig(width=24, embed=6),
    depth_adaptor=DepthAdaptorConfig(width=8),
    patch=PatchConfig(resolution=16),
    discriminator=DiscriminatorConfig(channel_max=32, mbstd_layout="strided"),
    training=TrainingConfig(resolution=32, precision="float32"),
)
