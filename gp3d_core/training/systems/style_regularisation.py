"""What keeps style codes tidy in systems after StyleGAN2: path length regularisation and style mixing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gp3d_core.training import losses
from gp3d_core.training.step import Log

_SHARE = 2  # of a batch one in so many images has its path length measured


def images_measured(batch: int) -> int:
    """How many of a batch have their path length measured."""
    return max(batch // _SHARE, 1)


class PathLength(nn.Module):
    """Path length regularisation (StyleGAN2 §3.2); its running mean belongs in checkpoints."""

    mean: Tensor

    def __init__(self) -> None:
        """The mean starts at zero."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def penalty(self, images: Tensor, ws: Tensor, rng: torch.Generator) -> tuple[Tensor, Log]:
        """How much path lengths of `images` [B,3,h,w] of style codes `ws` [B,L,D] leave their running mean, which
        follows.
        """
        noise = torch.randn(images.shape, generator=rng, device=images.device)
        lengths = losses.path_lengths(images, ws, noise)
        penalty, moved = losses.path_penalty(lengths, self.mean)
        self.mean.copy_(moved.detach())
        term = penalty.mean()
        return term, {"loss/path_penalty": term, "path/length": lengths.mean(), "path/mean": moved}


def mix_styles(ws: Tensor, others: Tensor, first: int, probability: float, rng: torch.Generator) -> Tensor:
    """Style codes `ws` [B,L,D] whose last ones, from a random place after `first` on, are those of `others`.

    One draw for the whole batch; with `probability` there is a place, else nothing is mixed.
    """
    u = torch.rand(2, generator=rng, device=rng.device, dtype=torch.float64)
    layers = ws.shape[1]
    place = first + 1 + (u[1] * (layers - first - 1)).floor().long()
    place = torch.where(u[0] < probability, place, layers)
    taken = torch.arange(layers, device=ws.device) >= place.to(ws.device)
    return torch.where(taken[None, :, None], others, ws)
