"""Vision transformer: pre-norm blocks, and the encoder from a picture to points of the codebook's space.

Letters: B batch, N tokens, M tokens attended to, d width, c width of a code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.vq3d.config import Vq3dConfig

_POSITION_STD = 0.2  # as loud as what tokens say; at 0.02 the mean scene is learnt late


class Attention(nn.Module):
    """Full attention with several heads, of tokens to themselves or to a context."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens [B,N,d] after attending to `context` [B,M,d] (None: at themselves)."""
        key, value = self.key_value(x if context is None else context).chunk(2, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(x), key, value)
        )
        return self.output(attend(query, key, value).transpose(1, 2).flatten(2))


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
    """Attention [B,h,N,d/h] of `query` to `key` and `value` [B,h,M,d/h]; on CPUs in float32: bfloat16 is slow."""
    if query.is_cuda:  # as precise as whatever is around it
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    with torch.autocast(query.device.type, enabled=False):
        return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), is_causal=causal)


class Block(nn.Module):
    """Attention and a four times wider perceptron (GELU), each after a LayerNorm and added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens [B,N,d] after one block, which may attend to `context` [B,M,d] instead of themselves."""
        x = x + self.attention(self.attention_norm(x), context)
        return x + self.perceptron(self.perceptron_norm(x))


def positions(count: int, width: int, std: float = _POSITION_STD) -> nn.Parameter:
    """Learnt position codes [count, width], at first random with deviation `std`."""
    return nn.Parameter(torch.randn(count, width) * std)


class Encoder(nn.Module):
    """A picture to N tokens in the codebook's space, in raster order (ViT-VQGAN §3).

    Every dimension of the tokens is kept at mean 0 and variance 1 over a batch (in use: over the training so far).
    Otherwise they begin in a narrow cone of the sphere, which the VQ loss closes before the decoder sees anything.
    """

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        settings = config.encoder
        self.patch, width = settings.patch, settings.width
        self.embed = nn.Linear(3 * self.patch**2, width)
        self.positions = positions(config.tokens, width)
        self.blocks = nn.ModuleList(Block(width, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))
        self.project = nn.Linear(width, config.codebook.width)
        self.centre = nn.BatchNorm1d(config.codebook.width, affine=False)

    def forward(self, images: Tensor) -> Tensor:
        """Points [B,N,c], not yet on the sphere, of `images` [B,3,R,R] in [-1, 1]."""
        patches = F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        x = self.embed(patches) + self.positions
        for block in self.blocks:
            x = block(x)
        points = self.project(self.head(self.norm(x))).float()
        return self.centre(points.flatten(0, 1)).unflatten(0, points.shape[:2])
