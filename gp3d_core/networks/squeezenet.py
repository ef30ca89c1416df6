"""SqueezeNet 1.0 (Iandola et al. 2016, Table 1): a small ImageNet classifier, for features and for metrics.

Its tensors carry the names of torchvision's `squeezenet1_0`, so that weights made for the one fit the other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from gp3d_core.networks.foreign_weights import fill, read_weights

# Channels of fire2 to fire9: squeezed, and expanded by each of the two kinds of filters.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
_POOL_BEFORE = (0, 3, 7)  # fires that follow a maximum pooling


class Fire(nn.Module):
    """1×1 filters to `squeezed` channels, then `expanded` 1×1 and `expanded` 3×3 filters side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] to [B,2·expanded,H,W]."""
        x = functional.relu(self.squeeze(x))
        return functional.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


class SqueezeNet(nn.Module):
    """Images [B,3,H,W], normalised by ImageNet's mean and deviation, to logits [B,1000]; usually H = W = 224."""

    dim = 512  # of `embed`

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 96, 7, stride=2), nn.ReLU()]
        channels = 96
        for number, (squeezed, expanded) in enumerate(_FIRES):
            if number in _POOL_BEFORE:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            layers.append(Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1000, 1), nn.ReLU())

    def embed(self, images: Tensor) -> Tensor:
        """Features [B,512]: the last fire module's output, averaged over the picture."""
        return self.features(images).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,1000], in the order of ImageNet's indices."""
        return self.classifier(self.features(images)).mean((2, 3))


def load_squeezenet(path: Path) -> SqueezeNet:
    """The network with the weights at `path`, ready to look at images. Raises WeightsError for another's weights."""
    network = SqueezeNet()
    fill(network, read_weights(path), path, "torchvision's squeezenet1_0")
    return network.eval().requires_grad_(False)
