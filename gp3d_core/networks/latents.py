"""What generated images are made from: noise, classes, cameras of the prior and patches.

Letters: B samples, N images of the data set, Z noise dimensions, C classes, D width of a style code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.config.schema import RunConfig
from gp3d_core.networks.generator import BaseGenerator
from gp3d_core.rendering.cameras import Cameras, sample_cameras
from gp3d_core.rendering.patches import Patches, sample_patches
from gp3d_core.rng import generator_for

_CLASS_MEAN_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class Latents:
    """What B fakes are made from: noise z [B,Z], classes c [B,C] or None, prior cameras [B], patches [B]."""

    z: Tensor
    c: Tensor | None
    prior: Cameras
    patches: Patches


def one_hot(labels: Tensor, num_classes: int) -> Tensor | None:
    """Classes [B,C] of labels [B]; None where there is nothing to condition on (fewer than two classes)."""
    return F.one_hot(labels, num_classes).float() if num_classes > 1 else None


def sample_latents(
    config: RunConfig,
    labels: Tensor,
    num_classes: int,
    count: int,
    *,
    nimg: int,
    generator: torch.Generator,
    angles: Tensor | None = None,
) -> Latents:
    """Latents of `count` fakes; classes follow the data's frequencies, given as all its `labels` [N].

    `nimg` is the clock (images seen) that the patches' schedule reads, `generator` what every number is drawn from.
    With custom camera `angles` [N,2] a fake takes yaw and pitch of the image that it takes its class from, mirrored
    about the mean yaw as often as not where images are mirrored.
    """
    device = generator.device
    picks = torch.randint(len(labels), (count,), generator=generator, device=device)
    return Latents(
        z=torch.randn(count, config.generator.z_dim, generator=generator, device=device),
        c=one_hot(labels.to(device)[picks], num_classes),
        prior=_prior(config, count, generator, None if angles is None else angles.to(device)[picks]),
        patches=sample_patches(config.patch, count, nimg, config.training.resolution, generator),
    )


def _prior(config: RunConfig, count: int, generator: torch.Generator, angles: Tensor | None) -> Cameras:
    """Prior cameras, at the given custom yaws and pitches [B,2] if there are any."""
    cameras = sample_cameras(config.camera, count, generator)
    if angles is None:
        return cameras
    yaw, pitch = angles.unbind(dim=1)
    if config.training.mirror:
        flipped = torch.rand(count, generator=generator, device=generator.device) < 0.5
        yaw = torch.where(flipped, 2.0 * config.camera.yaw.mean - yaw, yaw)
    return replace(cameras, angles=torch.stack([yaw, pitch, torch.zeros_like(yaw)], dim=1))


@torch.no_grad()
def class_centre(generator: BaseGenerator, label: int, num_classes: int) -> Tensor:
    """Mean style code [D] of 256 objects of the class `label`, towards which truncation pulls."""
    device = generator.mapping.w_avg.device
    z = torch.randn(_CLASS_MEAN_SAMPLES, generator.z_dim, generator=generator_for("class mean")).to(device)
    labels = torch.full((_CLASS_MEAN_SAMPLES,), label, device=device)
    return generator.mapping(z, one_hot(labels, num_classes))[:, 0].mean(dim=0)


@torch.no_grad()
def style_codes(
    generator: BaseGenerator, label: int, num_classes: int, seed: int, truncation: float
) -> Tensor:
    """Style codes ws [1,L,D] of the object `seed`; `truncation` 1 leaves them, 0 gives the class's mean object, or
    where the generator keeps known objects, the one that the seed lies near.
    """
    device = generator.mapping.w_avg.device
    c = one_hot(torch.tensor([label], device=device), num_classes)
    z = torch.randn(1, generator.z_dim, generator=generator_for("object", seed)).to(device)
    pulled = truncation != 1.0 and generator.mapping.truncates_to_class
    centre = class_centre(generator, label, num_classes) if pulled else None
    return generator.mapping(z, c, truncation=truncation, centre=centre)


def combined_codes(codes: Sequence[Tensor], shares: Sequence[tuple[float, float]], late_from: int) -> Tensor:
    """Sum [1,L,D] of the style codes of several objects [1,L,D], each times its share of early and of late layers.

    Layers from number `late_from` on are late. ValueError unless 0 < late_from <= L.
    """
    layers = codes[0].shape[1]
    if not 0 < late_from <= layers:
        raise ValueError(f"late_from: expected 1 to {layers}, found {late_from}")
    total = torch.zeros_like(codes[0])
    for code, (early, late) in zip(codes, shares, strict=True):
        weights = torch.full((layers, 1), late, dtype=code.dtype, device=code.device)
        weights[:late_from] = early
        total = total + weights * code
    return total
