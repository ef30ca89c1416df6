"""Rows of the paper's tables that are switches of this method: EpiGRAF, and 3DGP's ablations, large and small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gp3d_core.config.cameras import KNOWN_CAMERAS, SPREADS, photograph_cameras
from gp3d_core.config.schema import CameraGeneratorConfig, Ramp, RunConfig


def ablations(presets: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """The rows, made of presets that are there."""
    full, paper = presets["dogs-256"], presets["imagenet-256-paper"]
    small = _photographs(presets["tiny"], full)
    known = {
        f"{name}-epigraf": _without_depth(presets[name], f"{name}-epigraf")
        for name in ("tiny", "objects-64", "shapenet-256")
    }
    rows = _epigraf(presets["epigraf-64"], full) | _epigraf_of(small) | _cameras(full, paper)
    return {small.preset: small} | known | rows | _depth(full) | _depth(small)


def _photographs(tiny: RunConfig, full: RunConfig) -> RunConfig:
    """`full` with the networks of `tiny`: small pictures whose cameras nobody knows, on a processor."""
    return replace(
        tiny,
        preset="photos-64",
        camera=full.camera,
        camera_generator=CameraGeneratorConfig(width=64),
        render=replace(
            full.render,
            coarse_steps=tiny.render.coarse_steps,
            fine_steps=tiny.render.fine_steps,
            density_noise=tiny.render.density_noise,
        ),
    )


def _without_depth(config: RunConfig, name: str) -> RunConfig:
    """EpiGRAF with the networks of `config`: its discriminator sees no depth, and nothing is distilled."""
    return replace(
        config,
        preset=name,
        camera_generator=KNOWN_CAMERAS,
        depth_adaptor=replace(config.depth_adaptor, layers=0),
        discriminator=replace(config.discriminator, depth=False),
        loss=replace(config.loss, distillation_weight=Ramp(start=0.0, end=0.0)),
    )


def _epigraf_of(small: RunConfig) -> dict[str, RunConfig]:
    """EpiGRAF's rows with the networks of `small`."""
    return {
        f"{small.preset}-epigraf-{spread}": replace(
            _without_depth(small, f"{small.preset}-epigraf-{spread}"), camera=photograph_cameras(spread)
        )
        for spread in SPREADS
    }


def _epigraf(small: RunConfig, large: RunConfig) -> dict[str, RunConfig]:
    """EpiGRAF where cameras are unknown: 48 + 48 steps, and a discriminator half as wide."""
    sizes = {
        "epigraf-64": replace(small, render=replace(large.render, coarse_steps=24, fine_steps=24)),
        "epigraf-256": replace(
            large,
            render=replace(large.render, coarse_steps=48, fine_steps=48),
            camera_generator=KNOWN_CAMERAS,
            depth_adaptor=replace(large.depth_adaptor, layers=0),
            discriminator=replace(large.discriminator, depth=False, channel_base=16384),
            loss=replace(large.loss, distillation_weight=small.loss.distillation_weight),
        ),
    }
    return {
        f"{name}-{spread}": replace(config, preset=f"{name}-{spread}", camera=photograph_cameras(spread))
        for name, config in sizes.items()
        for spread in SPREADS
    }


def _depth(full: RunConfig) -> dict[str, RunConfig]:
    """Tab. 1b: 3DGP without depth and camera generator, and with so much of the depth shown as it is."""
    bare = replace(
        full,
        preset=f"{full.preset}-bare",
        camera_generator=KNOWN_CAMERAS,
        depth_adaptor=replace(full.depth_adaptor, layers=0),
        discriminator=replace(full.discriminator, depth=False),
    )
    rows = {bare.preset: bare}
    for percent in (0, 25, 50, 100):
        share = Ramp(start=percent / 100, end=percent / 100)
        name = f"{full.preset}-identity-{percent}"
        rows[name] = replace(full, preset=name, depth_adaptor=replace(full.depth_adaptor, identity=share))
    return rows


def _cameras(full: RunConfig, paper: RunConfig) -> dict[str, RunConfig]:
    """Fig. 7: cameras of the prior, a network that adds to it without a regulariser, and the paper's regulariser."""
    learnt = full.camera_generator
    free = replace(learnt, regulariser="none", force_mean_weight=0.0)
    kinds = {
        "prior": KNOWN_CAMERAS,
        "residual": replace(free, residual=True),
        "unregularised": free,
        "penalty": paper.camera_generator,
    }
    return {
        f"dogs-256-camera-{kind}": replace(full, preset=f"dogs-256-camera-{kind}", camera_generator=cameras)
        for kind, cameras in kinds.items()
    }
