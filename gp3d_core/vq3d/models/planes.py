"""From tokens to tri-planes: transformer blocks, then cells of the planes, then convolutions over the seams.

Letters: B batch, g tokens a side, N = g², d width, C channels and P resolution of a plane, u texels a side of a cell.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.models.vit import Block, positions

_MEAN_STD = 0.1


class FoldHead(nn.Module):
    """Linear map of every token to its cell of each plane; in the xy plane that is its place in the picture."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        settings = config.decoder
        self.grid, self.cell, self.channels = config.grid, settings.cell, settings.plane_channels
        self.write = nn.Linear(settings.width, 3 * self.channels * self.cell**2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Planes [B,3,C,P,P] of tokens [B,N,d]; the picture's top row is the largest y."""
        cells = self.write(tokens).unflatten(-1, (3, self.channels, self.cell, self.cell))
        return _tile(cells.transpose(1, 2), self.grid).flip(-2)


class QueryHead(nn.Module):
    """Learnt queries, one a cell of each plane, that attend to all tokens."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        settings = config.decoder
        self.grid, self.cell = settings.plane_resolution // settings.cell, settings.cell
        self.channels = settings.plane_channels
        self.queries = positions(3 * self.grid**2, settings.width)
        self.ask = Block(settings.width, settings.heads)
        self.norm = nn.LayerNorm(settings.width)
        self.write = nn.Linear(settings.width, self.channels * self.cell**2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Planes [B,3,C,P,P] of tokens [B,N,d]."""
        asked = self.norm(self.ask(self.queries.expand(len(tokens), -1, -1), tokens))
        cells = self.write(asked).unflatten(-1, (self.channels, self.cell, self.cell))
        return _tile(cells.unflatten(1, (3, self.grid**2)), self.grid)


def _tile(cells: Tensor, grid: int) -> Tensor:
    """Planes [B,3,C,g·u,g·u] of cells [B,3,g²,C,u,u] in raster order."""
    batch, planes, _, channels, cell, _ = cells.shape
    arranged = cells.unflatten(2, (grid, grid)).permute(0, 1, 4, 2, 5, 3, 6)
    return arranged.reshape(batch, planes, channels, grid * cell, grid * cell)


class PlaneDecoder(nn.Module):
    """Quantised vectors [B,N,c] to planes [B,3,C,P,P]: what all scenes have in common, and what is this one's own."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        settings = config.decoder
        self.embed = nn.Linear(config.codebook.width, settings.width)
        self.positions = positions(config.tokens, settings.width)
        self.blocks = nn.ModuleList(Block(settings.width, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        self.head = FoldHead(config) if settings.head == "fold" else QueryHead(config)
        channels, resolution = settings.plane_channels, settings.plane_resolution
        self.mean = nn.Parameter(torch.randn(3, channels, resolution, resolution) * _MEAN_STD)
        self.seams = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(settings.seam_convs)
        )

    def forward(self, quantised: Tensor) -> Tensor:
        """The planes of quantised unit vectors [B,N,c]."""
        x = self.embed(quantised) + self.positions
        for block in self.blocks:
            x = block(x)
        planes = self.head(self.norm(x))
        flat = planes.flatten(0, 1)
        for seam in self.seams:
            flat = flat + seam(F.silu(flat))
        return flat.unflatten(0, (-1, 3)) + self.mean
