"""Presets of VQ3D, and how a command line turns one into a configuration.

`tiny32` is for tests and toys; `rooms64` for the rooms that `synthetic.render` makes, on a CPU, with true views in the
place of critics; `small64` for twenty minutes of a GPU, with critics; `base256` is the paper's scale, as far as it can
be guessed, which nothing here has run.
"""

from __future__ import annotations

from collections.abc import Sequence

from gp3d_core.config.assignments import override
from gp3d_core.config.schema import ConfigError, nearest
from gp3d_core.vq3d.config import (
    CameraConfig,
    CodebookConfig,
    CriticConfig,
    DecoderConfig,
    DepthConfig,
    EncoderConfig,
    LossConfig,
    PriorConfig,
    RenderConfig,
    TrainingConfig,
    Vq3dConfig,
    check_config,
)

PRESETS = {
    "tiny32": Vq3dConfig(
        preset="tiny32",
        encoder=EncoderConfig(patch=8, layers=2, heads=2, width=64),
        codebook=CodebookConfig(size=64, width=8),
        decoder=DecoderConfig(
            layers=2, heads=3, width=96, plane_resolution=16, plane_channels=8, cell=4, field_width=32
        ),
        render=RenderConfig(steps=16),
        camera=CameraConfig(yaw=15.0, pitch=5.0),
        depth=DepthConfig(coding="metric"),
        critic=CriticConfig(channel_base=512, channel_max=48),
        loss=LossConfig(adversarial=0.02, novel=0.02),
        training=TrainingConfig(
            resolution=32,
            batch=8,
            kimg=4.8,
            lr=1e-3,
            critic_lr=3e-4,
            ema_kimg=0.4,
            status_kimg=0.2,
            snapshot_kimg=1.6,
            checkpoint_kimg=0.8,
        ),
        prior=PriorConfig(
            layers=3,
            heads=3,
            width=96,
            kimg=19.2,
            lr=2e-3,
            status_kimg=0.64,
            snapshot_kimg=6.4,
            checkpoint_kimg=3.2,
        ),
    ),
    "small64": Vq3dConfig(preset="small64", depth=DepthConfig(coding="metric")),
    "rooms64": Vq3dConfig(
        preset="rooms64",
        encoder=EncoderConfig(patch=8, layers=3, heads=6, width=192),
        codebook=CodebookConfig(round_from=0.05),
        decoder=DecoderConfig(layers=4, heads=8, width=256, cell=8, field_width=32),
        render=RenderConfig(steps=24),
        camera=CameraConfig(fov=40.0, near=0.6, far=5.0),
        depth=DepthConfig(coding="metric", unit=1.5),
        critic=CriticConfig(stop_encoder=False),
        loss=LossConfig(
            mse=5.0,
            l1=0.0,
            perceptual="none",
            vq=4.0,
            adversarial=0.0,
            novel=0.0,
            view=1.0,
            view_source="true",
        ),
        training=TrainingConfig(
            patch=16,
            stride=4,
            batch=8,
            kimg=140.0,
            lr=8e-4,
            final_lr=0.05,
            critic_from=2.0,
            novel_from=0.0,
            settle_from=0.85,
            ema_kimg=2.0,
            status_kimg=0.8,
            snapshot_kimg=8.0,
            checkpoint_kimg=4.0,
        ),
        prior=PriorConfig(layers=4, heads=4, width=256, kimg=220.0),
    ),
    "base256": Vq3dConfig(
        preset="base256",
        encoder=EncoderConfig(patch=8, layers=8, heads=8, width=512),
        codebook=CodebookConfig(size=8192, width=32),
        decoder=DecoderConfig(
            layers=12, heads=12, width=768, plane_resolution=256, plane_channels=32, cell=8
        ),
        render=RenderConfig(steps=64, fine_steps=32),
        depth=DepthConfig(align="lsq"),
        critic=CriticConfig(channel_base=32768, channel_max=512),
        training=TrainingConfig(
            resolution=256,
            patch=64,
            batch=256,
            kimg=128000.0,
            lr=1e-4,
            critic_lr=1e-4,
            warm_up=0.1,
            ema_kimg=177.0,
            status_kimg=25.6,
            snapshot_kimg=2560.0,
            checkpoint_kimg=256.0,
        ),
        prior=PriorConfig(
            layers=24, heads=16, width=1536, batch=1024, kimg=460800.0, lr=4.5e-4, checkpoint_kimg=1024.0
        ),
    ),
}


def resolve(preset: str, assignments: Sequence[str] = ()) -> Vq3dConfig:
    """The preset with "key=value" replacements, checked. Raises ConfigError for what does not exist or fit."""
    if preset not in PRESETS:
        raise ConfigError(f"no VQ3D preset {preset!r}; {nearest(preset, PRESETS)}")
    config = PRESETS[preset]
    for assignment in assignments:
        config = override(config, assignment)
    check_config(config)
    return config
