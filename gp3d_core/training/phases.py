"""What one micro-batch contributes to a training step: the generator's, the discriminator's and R1's share.

Each phase returns a scalar whose gradients are averaged over micro-batches and processes, and numbers for the log.
Latents, cameras and patches are fresh in every phase (3DGP App. B); the real images are shared within a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gp3d_core.config.schema import LossConfig, RunConfig
from gp3d_core.datasets.dataset import Batch
from gp3d_core.networks.discriminator import Discriminator, Shown
from gp3d_core.networks.generator import Generator, GeneratorOutput
from gp3d_core.networks.latents import Latents, one_hot
from gp3d_core.rendering.patches import Patches, extract_patches, sample_patches
from gp3d_core.training import losses
from gp3d_core.training.augmentation import augment
from gp3d_core.training.step import Log


@dataclass(frozen=True, eq=False)
class StepContext:
    """What a phase needs to know of the run: images seen, augmentation probability, and what to draw from."""

    nimg: int
    augmentation: float
    rng: torch.Generator


class SecondDiscriminator(Protocol):
    """A discriminator beside that of patches, which sees their colour alone (3DGP Tab. 4)."""

    def generator_loss(self, rgb: Tensor, c: Tensor | None, context: StepContext) -> tuple[Tensor, Log]:
        """What G pays for fakes [B,3,h,h] of classes `c` that it recognises."""

    def discriminator_loss(
        self, fake: Tensor, fake_c: Tensor | None, real: Tensor, real_c: Tensor | None, context: StepContext
    ) -> tuple[Tensor, Log]:
        """What it pays itself for fake and real patches [B,3,h,h]."""


def generate(
    generator: Generator, latents: Latents, context: StepContext, *, update_average: bool
) -> GeneratorOutput:
    """Fakes of `latents`, as the schedules have them at this context."""
    return generator(
        latents.z,
        latents.c,
        latents.prior,
        patches=latents.patches,
        nimg=context.nimg,
        generator=context.rng,
        update_average=update_average,
    )


def prepare(images: Tensor, config: LossConfig, context: StepContext) -> Tensor:
    """Patches [B,4,h,h] as the discriminator gets them: blurred early in training, augmented when asked for."""
    blurred = losses.blur_patches(images, config.blur.at(context.nimg))
    return augment(blurred, context.augmentation, context.rng) if context.augmentation > 0 else blurred


def generator_phase(
    generator: Generator,
    discriminator: Discriminator,
    latents: Latents,
    config: RunConfig,
    context: StepContext,
    second: SecondDiscriminator | None = None,
) -> tuple[Tensor, Log]:
    """The generator's adversarial loss (3DGP Eq. 1), by a `second` discriminator too if there is one, and its camera
    regularisers (Eq. 2, App. J).
    """
    fake = generate(generator, latents, context, update_average=False)
    output = discriminator(prepare(fake.images, config.loss, context), latents.patches, latents.c)
    adversarial = losses.generator_loss(output.logits, config.loss.adversarial).mean()
    log = {"loss/generator": adversarial, "scores/fake_by_generator": output.logits.mean()}
    log |= {"opacity": fake.opacity.mean(), "depth/spread": fake.depth.flatten(1).std(dim=1).mean()}
    if second is not None:
        term, more = second.generator_loss(fake.rgb, latents.c, context)
        adversarial, log = adversarial + term, log | more
    terms: Log = {}
    if generator.camera_generator is not None:
        terms = generator.camera_generator.regularisation(context.nimg, context.rng)
    return adversarial + sum(terms.values()), log | {f"cameras/{name}": term for name, term in terms.items()}


def discriminator_phase(
    generator: Generator,
    discriminator: Discriminator,
    latents: Latents,
    real: Batch,
    config: RunConfig,
    context: StepContext,
    second: SecondDiscriminator | None = None,
) -> tuple[Tensor, Log]:
    """The discriminator's adversarial loss on fake and real patches, and distillation on the real ones (Eq. 4); and
    the loss of a `second` one on the same patches.
    """
    with torch.no_grad():
        fake = generate(generator, latents, context, update_average=True)
    kind = config.loss.adversarial
    fakes = Shown(prepare(fake.images, config.loss, context), latents.patches, latents.c)
    patches = sample_patches(
        config.patch, len(real.labels), context.nimg, config.training.resolution, context.rng
    )
    whole = real_patches(real, patches, config)
    images = prepare(whole, config.loss, context)
    weight = config.loss.distillation_weight.at(context.nimg)
    features = real.features if weight > 0 else None
    classes = one_hot(real.labels, discriminator.c_dim)
    on_fake, on_real = discriminator.both(
        fakes, Shown(images, patches, classes), with_features=features is not None
    )
    loss_fake = losses.fake_loss(on_fake.logits, kind).mean()
    loss_real = losses.real_loss(on_real.logits, kind).mean()
    loss = loss_fake + loss_real
    log = {"loss/discriminator": loss, **losses.scores(on_fake.logits, on_real.logits)}
    if features is not None and on_real.features is not None:
        scales = patches.scales[:, 0] if config.loss.distillation_by_scale else None
        terms = losses.distillation_loss(on_real.features, features, config.loss.distillation, scales)
        log["loss/distillation"] = terms.mean()
        loss = loss + weight * terms.mean()
    if second is not None:
        term, more = second.discriminator_loss(
            fake.rgb, latents.c, whole[:, : losses.RGB_CHANNELS], classes, context
        )
        loss, log = loss + term, log | more
    return loss, log


def r1_phase(
    discriminator: Discriminator, real: Batch, config: RunConfig, context: StepContext
) -> tuple[Tensor, Log]:
    """R1 at real patches before blur and augmentation, times the steps until it comes again (lazy regularisation)."""
    patches = sample_patches(
        config.patch, len(real.labels), context.nimg, config.training.resolution, context.rng
    )
    images = real_patches(real, patches, config).detach().requires_grad_()
    seen = prepare(images, config.loss, context)
    output = discriminator(seen, patches, one_hot(real.labels, discriminator.c_dim))
    penalty = losses.r1_penalty(output.logits, images).mean()
    return penalty * (config.loss.r1_gamma / 2 * config.loss.r1_interval), {"loss/r1_penalty": penalty}


def real_patches(real: Batch, patches: Patches, config: RunConfig) -> Tensor:
    """Patches [B,4,h,h] of real images with their depth."""
    depth = losses.blur_real_depth(real.depth, config.loss.real_depth_blur)
    return extract_patches(torch.cat([real.images, depth], dim=1), patches, config.patch.resolution)
