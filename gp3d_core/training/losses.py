"""What generator and discriminator minimise (3DGP §3.3–3.4, StyleGAN2's path length), as pure functions, and what
images go through before D.

Every loss is per sample, [B], so that it can be logged, weighted and averaged by the caller; logits are
larger for more real. Letters: B batch, C channels, h, w image size, E feature width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Adversarial = Literal["softplus", "hinge"]
Distillation = Literal["l2", "l2_squared", "kl"]

DEPTH_BLUR_SIGMA = 30.0  # pixels; within the support of the image's own blur this is nearly a box
PATH_MEAN_DECAY = 0.01  # by which the running mean of path lengths moves (StyleGAN2 App. B)
RGB_CHANNELS = 3


def generator_loss(fake_logits: Tensor, kind: Adversarial) -> Tensor:
    """What G pays for fakes that D recognises [B]: softplus(-D(x)) (non-saturating), or -D(x) (hinge)."""
    return F.softplus(-fake_logits) if kind == "softplus" else -fake_logits


def fake_loss(fake_logits: Tensor, kind: Adversarial) -> Tensor:
    """What D pays for fakes it takes for real [B]: softplus(D(x)), or max(0, 1 + D(x)) (hinge)."""
    return F.softplus(fake_logits) if kind == "softplus" else F.relu(1.0 + fake_logits)


def real_loss(real_logits: Tensor, kind: Adversarial) -> Tensor:
    """What D pays for real images it takes for fake [B]: softplus(-D(x)), or max(0, 1 - D(x)) (hinge)."""
    return F.softplus(-real_logits) if kind == "softplus" else F.relu(1.0 - real_logits)


def r1_penalty(logits: Tensor, *images: Tensor) -> Tensor:
    """Squared gradient of D at real images, ‖∂D/∂x‖² [B] (R1; multiply by γ/2), summed over what D is shown of them.

    `images`, each [B,C,h,w], must require gradients and have led to `logits` [B]; the result can be differentiated
    again.
    """
    gradients = torch.autograd.grad(logits.sum(), images, create_graph=True)
    first, *more = (gradient.square().sum(dim=(1, 2, 3)) for gradient in gradients)
    return sum(more, first)


def scores(on_fake: Tensor, on_real: Tensor) -> dict[str, Tensor]:
    """Numbers for the log of what D thinks of fakes and reals."""
    return {
        "scores/fake": on_fake.mean(),
        "scores/real": on_real.mean(),
        "scores/real_sign": on_real.sign().mean(),
        "scores/largest": torch.maximum(on_fake.abs().max(), on_real.abs().max()),
    }


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """How far `images` [B,C,h,w] move when their style codes `ws` [B,L,D] do, ‖Jᵀn‖ [B] (StyleGAN2 §3.2).

    The direction n is `noise` of the images' shape and unit variance over √(h w); squares are summed over a code's
    numbers and averaged over the L codes. `ws` must have led to `images`; the result can be differentiated again.
    """
    direction = noise / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * direction).sum(), ws, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """What path lengths [B] cost that leave their running mean, (length - mean)² [B], and the mean moved by them.

    The mean of the penalty is the moved one, with its gradient, as in the release; store it detached.
    """
    moved = mean.lerp(lengths.mean(), PATH_MEAN_DECAY)
    return (lengths - moved).square(), moved


def distillation_loss(
    predicted: Tensor, target: Tensor, kind: Distillation, scales: Tensor | None = None
) -> Tensor:
    """Distance [B] between D's features and a pretrained network's [B,E] (3DGP Eq. 4).

    "l2": ‖p - t‖ (the release), "l2_squared": ‖p - t‖² (the paper), "kl": KL(softmax t ‖ softmax p). With
    patch `scales` [B], samples are weighted by scale / mean scale: a small window shows little of what the
    features tell.
    """
    if kind == "kl":
        log_target = target.log_softmax(dim=1)
        distance = (log_target.exp() * (log_target - predicted.log_softmax(dim=1))).sum(dim=1)
    else:
        squared = (predicted - target).square().sum(dim=1)
        distance = squared.sqrt() if kind == "l2" else squared
    return distance if scales is None else distance * scales / scales.mean()


def blur_kernel(sigma: float, radius: int, like: Tensor) -> Tensor:
    """Normalised weights 2^(-(x/sigma)²) at the whole x with |x| ≤ radius, [2·radius+1]; sigma is the
    half-width.
    """
    x = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp2(-((x / sigma) ** 2))
    return weights / weights.sum()


def blur(images: Tensor, kernel: Tensor, border: Literal["constant", "replicate"]) -> Tensor:
    """`images` [B,C,h,w] blurred along both axes by `kernel` [2r+1]; beyond the border zeros, or the nearest
    pixel.
    """
    radius, channels = len(kernel) // 2, images.shape[1]
    padded = F.pad(images, [radius] * 4, mode=border)
    rows = F.conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel[:, None].expand(channels, 1, -1, 1), groups=channels)


def blur_patches(patches: Tensor, sigma: float) -> Tensor:
    """Patches [B,4,h,w] as D sees them early in training: low-passed, the depth channel twice.

    `sigma` in pixels of the patch; radius floor(3 sigma), and 0 of it leaves the patches alone.
    """
    radius = math.floor(3.0 * sigma)
    if radius == 0:
        return patches
    blurred = blur(patches, blur_kernel(sigma, radius, patches), "constant")
    rgb, depth = blurred.split([RGB_CHANNELS, blurred.shape[1] - RGB_CHANNELS], dim=1)
    depth = blur(depth, blur_kernel(DEPTH_BLUR_SIGMA, radius, patches), "constant")
    return torch.cat([rgb, depth], dim=1)


def blur_real_depth(depth: Tensor, sigma: float) -> Tensor:
    """Depth maps [B,1,h,w] of real images made worse on purpose (3DGP's ablation of depth quality); sigma 0
    keeps.
    """
    radius = math.floor(3.0 * sigma)
    return depth if radius == 0 else blur(depth, blur_kernel(sigma, radius, depth), "replicate")
