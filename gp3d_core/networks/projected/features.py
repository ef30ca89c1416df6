"""Feature networks of the projected discriminator: frozen, four maps from shallow to deep, each about half as large.

SqueezeNet is the project's own; any network of timm that gives maps at strides 4, 8, 16 and 32 can stand in for it.
Letters: B batch, C channels, H, W image size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gp3d_core.errors import GP3DError
from gp3d_core.networks.foreign_weights import fill, read_weights
from gp3d_core.networks.projected.frozen import Frozen, freeze
from gp3d_core.networks.squeezenet import SqueezeNet

SQUEEZENET = "torchvision:squeezenet1_0"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]
_STRIDES = (4, 8, 16, 32)


class FeatureNetworkError(GP3DError):
    """A feature network that cannot be had; the message says what to do."""


class FeatureMaps(Frozen, ABC):
    """Pictures [B,3,H,W] in [-1, 1] → four maps; smaller pictures are enlarged first.

    channels: of the maps. The network's own normalisation is applied: another hides most of what it knows.
    """

    channels: tuple[int, ...]
    mean: Tensor
    std: Tensor

    def __init__(self, input_size: int) -> None:
        """Pictures of fewer than `input_size` pixels a side are enlarged to that, bilinearly."""
        super().__init__()
        self.input_size = input_size
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps of `images`; gradients reach these, and no weight."""
        if images.shape[-1] < self.input_size:
            size = (self.input_size, self.input_size)
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return self.maps(((images + 1.0) / 2.0 - self.mean) / self.std)

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps of normalised `images` [B,3,H,W]."""

    @abstractmethod
    def fill(self, path: Path) -> None:
        """Takes the weights of the file at `path`. Raises WeightsError for another network's."""


class SqueezeNetMaps(FeatureMaps):
    """SqueezeNet 1.0 (see `networks.squeezenet`), with random weights until it is filled.

    Behind its three poolings, at strides 4, 8 and 16, and once more averaged, at 32; of the third the fire module
    before its pooling, so that all four differ.
    """

    channels = (96, 256, 384, 512)

    def __init__(self, input_size: int) -> None:
        """`input_size` as for `FeatureMaps`."""
        super().__init__(input_size)
        self.layers = SqueezeNet().features  # conv, relu, pool, fire2-4, pool, fire5-8, pool, fire9
        freeze(self)
        self.eval()

    def maps(self, images: Tensor) -> list[Tensor]:
        """[B,96,·,·], [B,256,·,·], [B,384,·,·] and [B,512,·,·]."""
        stem = self.layers[:3](images)
        early = self.layers[3:7](stem)
        middle = self.layers[7:10](early)
        late = self.layers[10:](middle)
        return [stem, early, F.avg_pool2d(middle, 2), F.avg_pool2d(late, 2)]

    def fill(self, path: Path) -> None:
        """Takes the weights of torchvision's squeezenet1_0 at `path`. Raises WeightsError for another network's."""
        network = SqueezeNet()
        fill(network, read_weights(path), path, "torchvision's squeezenet1_0")
        self.layers.load_state_dict(network.features.state_dict())


class TimmMaps(FeatureMaps):
    """A network of timm, such as Projected GAN's tf_efficientnet_lite0; normalisation is timm's for these weights."""

    def __init__(self, name: str, input_size: int) -> None:
        """Random weights until it is filled. FeatureNetworkError if timm is missing or does not know the `name`."""
        super().__init__(input_size)
        timm = _timm()
        try:
            network = timm.create_model(name, pretrained=False, features_only=True)
        except (RuntimeError, AttributeError) as error:
            raise FeatureNetworkError(
                f"timm gives no feature maps of {name!r} ({error}); take another network or {SQUEEZENET}"
            ) from error
        levels = [network.feature_info.reduction().index(stride) for stride in _STRIDES]
        self.levels = levels
        self.channels = tuple(network.feature_info.channels()[level] for level in levels)
        self.name, self.layers = name, network
        facts = network.pretrained_cfg
        self.mean.copy_(torch.tensor(facts["mean"])[:, None, None])
        self.std.copy_(torch.tensor(facts["std"])[:, None, None])
        freeze(self)
        self.eval()

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps at strides 4, 8, 16 and 32."""
        found = self.layers(images)
        return [found[level] for level in self.levels]

    def fill(self, path: Path) -> None:
        """Takes the weights at `path` except those behind the maps. Raises WeightsError for another network's."""
        own = self.layers.state_dict()
        tensors = {name: value for name, value in read_weights(path).items() if name in own}
        fill(self.layers, tensors, path, f"timm's {self.name}")


def _timm() -> Any:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: of another build than torch
        raise FeatureNetworkError(
            f"the feature network needs timm, which cannot be imported ({error}): pip install timm, or take "
            f"{SQUEEZENET}"
        ) from error
    return timm


def feature_maps(name: str, input_size: int) -> FeatureMaps:
    """The network `name`, torchvision:squeezenet1_0 or timm:NETWORK, with random weights until it is filled."""
    library, _, network = name.partition(":")
    if name == SQUEEZENET:
        return SqueezeNetMaps(input_size)
    if library != "timm" or not network:
        raise FeatureNetworkError(f"unknown feature network {name!r}: expected {SQUEEZENET} or timm:NETWORK")
    return TimmMaps(network, input_size)
