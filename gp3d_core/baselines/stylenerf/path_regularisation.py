"""NeRF-path regularisation: a picture should look as if it had been rendered pixel by pixel (StyleNeRF §3.3).

Legend: B batch, K cells along an edge, P = K² pixels, h edge of the picture, S samples of a ray.
"""

from __future__ import annotations

import torch
from torch import Tensor


def cell_pixels(offsets: Tensor, cells: int, resolution: int) -> Tensor:
    """Indices [B,P] of one pixel in each of `cells`² cells of an image of `resolution`² pixels, row by row.

    All cells of an image have the same place chosen, at `offsets` [B,2] (x, y) in [0, 1) of a cell.
    """
    size = resolution // cells
    place = (offsets * size).floor().long().clamp(max=size - 1)
    first = size * torch.arange(cells, device=offsets.device)
    columns, rows = first + place[:, :1], first + place[:, 1:]
    return (rows[:, :, None] * resolution + columns[:, None]).flatten(1)


def path_loss(images: Tensor, pixels: Tensor, colours: Tensor, weights: Tensor) -> Tensor:
    """Squared difference [B] between `images` [B,3,h,h] at `pixels` [B,P] and what compositing makes of
    the samples' `colours` [B,3,P,S] with their `weights` [B,P,S].
    """
    composed = (colours * weights[:, None]).sum(dim=-1)
    shown = images.flatten(2).gather(2, pixels[:, None].expand(-1, images.shape[1], -1))
    return (shown - composed).square().sum(dim=1).mean(dim=1)
