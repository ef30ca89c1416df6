"""Convolution of what is known alone ("image inpainting for irregular holes using partial convolutions", ECCV 2018).

Letters: B batch, I, O input and output channels, H, W size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PartialConv(nn.Conv2d):
    """A convolution that leaves out what a mask hides, weighs the rest as much more, and says where it saw anything.

    It is the layer of the networks that fill layered depth images (Shih et al. 2020).
    """

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Features [B,O,H',W'], 0 where nothing is known, and the mask of the known, of the same shape, of `x`
        [B,I,H,W] where `mask` [B,I,H,W] is 1 and not 0.
        """
        seen = F.conv2d(
            mask, torch.ones_like(self.weight[:1]), None, self.stride, self.padding, self.dilation
        )
        known = seen > 0
        found = self._conv_forward(x * mask, self.weight, None)
        found = found * (self.weight[0].numel() / torch.where(known, seen, 1.0))
        if self.bias is not None:
            found = found + self.bias[:, None, None]
        return torch.where(known, found, 0.0), known.to(x.dtype).expand_as(found)
