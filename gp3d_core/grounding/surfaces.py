"""Points on the surfaces of known models, with their base colour: `synthetic.points` writes them if asked to.

They come in Morton order, so that rows beside each other are near each other in space. Letters: M models, N stored
points of a model, B batch, n drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SurfaceTruth:
    """Drawn points: positions [B,n,3] (world units), unit normals [B,n,3] and colours rgb [B,n,3] in [-1,1]."""

    positions: Tensor
    normals: Tensor
    rgb: Tensor

    def __getitem__(self, rows: slice) -> SurfaceTruth:
        """Those of the objects `rows`."""
        return SurfaceTruth(self.positions[rows], self.normals[rows], self.rgb[rows])


@dataclass(frozen=True, eq=False)
class Surfaces:
    """All of them: positions float16 [M,N,3], normals int8 [M,N,3] (in 127ths) and albedo uint8 [M,N,3] (sRGB)."""

    positions: Tensor
    normals: Tensor
    albedo: Tensor

    def to(self, device: torch.device) -> Surfaces:
        """The same on `device`."""
        return Surfaces(self.positions.to(device), self.normals.to(device), self.albedo.to(device))

    def sample(self, models: Tensor, count: int, generator: torch.Generator) -> SurfaceTruth:
        """`count` points of each of the `models` [B], drawn with replacement."""
        u = torch.rand(len(models), count, generator=generator, device=generator.device).to(models.device)
        rows = (u * self.positions.shape[1]).long().clamp(max=self.positions.shape[1] - 1)
        at = (models[:, None], rows)
        return SurfaceTruth(
            self.positions[at].float(),
            self.normals[at].float() / 127.0,
            self.albedo[at].float() / 127.5 - 1.0,
        )
