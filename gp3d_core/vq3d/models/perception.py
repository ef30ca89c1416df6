"""Perceptual distance: between feature maps of the critic, or LPIPS where its package and weights exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gp3d_core.errors import GP3DError
from gp3d_core.vq3d.rendering.views import to_image


class PerceptionError(GP3DError):
    """A perceptual distance that this machine cannot compute; the message names the remedy."""


def feature_distance(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of feature maps, averaged over maps; `real` is a constant for the gradient."""
    parts = [(f - r.detach()).abs().mean() for f, r in zip(fake, real, strict=True)]
    return torch.stack(parts).mean()


def open_lpips(device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS with VGG: a function of the radiance [B,3,h,h] in [0, 1] of two batches that returns their mean distance.

    Raises PerceptionError where the package or its weights are missing.
    """
    try:
        import lpips

        network = lpips.LPIPS(net="vgg", verbose=False).to(device).eval().requires_grad_(False)
    except (ImportError, OSError) as error:  # no package, or no weights and no network to fetch them
        raise PerceptionError(
            f"loss.perceptual=lpips needs the package lpips and its VGG weights ({error}); "
            "pip install lpips, or use `loss.perceptual`=features"
        ) from error

    def distance(fake: Tensor, real: Tensor) -> Tensor:
        mean: Tensor = network(to_image(fake), to_image(real)).mean()
        return mean

    return distance
