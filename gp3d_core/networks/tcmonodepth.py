"""TCMonoDepth small (Li et al. 2021, "Enforcing Temporal Consistency in Video Depth Estimation"): relative depth.

A ShuffleNet-v2 encoder (Ma et al. 2018) whose features of 1/2 to 1/16 of the picture's size a decoder joins upwards.
Modules carry the names of the authors' checkpoint (MIT licence), so that their weights fit. It sees single pictures.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from gp3d_core.networks.foreign_weights import fill, read_weights

STRIDE = 32  # height and width of what the network sees are multiples of it
_WIDTHS = (24, 48, 96, 192)  # of the features r1 to r4, at 1/2, 1/4, 1/8 and 1/16
_UNITS = (4, 8, 4)  # of the three stages


class Norm(nn.Module):
    """Batch norm with stored statistics, eps 1e-5; unlike torch's it counts no batches, which files may lack."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W], normalised."""
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class Unit(nn.Module):
    """A ShuffleNet-v2 unit from `channels` to `out`; the `first` of a stage halves height and width."""

    def __init__(self, channels: int, out: int, *, first: bool) -> None:
        super().__init__()
        stride, middle = (2 if first else 1), out // 2
        self.branch_main = nn.Sequential(
            *_pointwise(channels if first else channels // 2, middle),
            *_depthwise(middle, stride),
            *_pointwise(middle, out - channels if first else middle),
        )
        self.branch_proj = (
            nn.Sequential(*_depthwise(channels, stride), *_pointwise(channels, channels)) if first else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] to [B,out,H,W], or to half of H and W."""
        if self.branch_proj is not None:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], dim=1)
        # The shuffle stands before the split, so that even channels pass and odd ones are worked on.
        return torch.cat([x[:, 0::2], self.branch_main(x[:, 1::2])], dim=1)


class Encoder(nn.Module):
    """RGB [B,3,H,W] in [0, 1] to features of 24, 48, 96 and 192 channels at 1/2, 1/4, 1/8 and 1/16 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv2d(3, _WIDTHS[0], 3, stride=2, padding=1, bias=False), Norm(_WIDTHS[0]), nn.ReLU()
        )
        units: list[Unit] = []
        for channels, out, count in zip(_WIDTHS, _WIDTHS[1:], _UNITS, strict=False):
            units += [Unit(out if number else channels, out, first=not number) for number in range(count)]
        self.features = nn.Sequential(*units)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The features r1 to r4."""
        found = [self.first_conv(x)]
        start = 0
        for count in _UNITS:
            found.append(self.features[start : start + count](found[-1]))
            start += count
        return found


class Joint(nn.Module):
    """Joins `low` channels of finer features with `high` channels of coarser ones into `low` channels."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        both = high + high // 4
        self.skip_conv = nn.Sequential(*_pointwise(low, high // 4))
        separable = nn.ModuleDict({"conv": nn.Sequential(*_depthwise(both, 1), nn.ReLU(), _conv(both, low))})
        self.last_conv = nn.Sequential(separable, Norm(low))

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Features as wide and high as `low`."""
        high = functional.interpolate(high, low.shape[2:], mode="bilinear", align_corners=False)
        joined = torch.cat([high, self.skip_conv(low)], dim=1)
        separable: Any = self.last_conv[0]
        return functional.relu(self.last_conv[1](separable["conv"](joined)))


class Decoder(nn.Module):
    """Features of the encoder to relative inverse depth. `final2` and `final3` are heads of training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder3 = Joint(_WIDTHS[2], _WIDTHS[3])
        self.decoder2 = Joint(_WIDTHS[1], _WIDTHS[2])
        self.decoder1 = Joint(_WIDTHS[0], _WIDTHS[1])
        self.final = nn.Conv2d(_WIDTHS[0], 1, 3, padding=1)
        self.final2 = nn.Sequential(nn.Conv2d(_WIDTHS[1], 1, 3, padding=1))
        self.final3 = nn.Sequential(nn.Conv2d(_WIDTHS[2], 1, 3, padding=1))

    def forward(self, features: list[Tensor]) -> Tensor:
        """[B,1,H,W] of the features of a picture of that size."""
        r1, r2, r3, r4 = features
        joined = self.decoder1(r1, self.decoder2(r2, self.decoder3(r3, r4)))
        half = functional.relu(self.final(joined))
        return functional.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)


class TCMonoDepth(nn.Module):
    """Pictures to relative inverse depth: scale and shift are free in each picture, larger is nearer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, images: Tensor) -> Tensor:
        """Disparity [B,1,H,W], ≥ 0, of RGB [B,3,H,W] in 0–255 (not normalised); H and W are multiples of STRIDE."""
        if any(side % STRIDE for side in images.shape[2:]):
            found = list(images.shape)
            raise ValueError(f"images: expected height and width in multiples of {STRIDE}, found {found}")
        return self.decoder(self.encoder(images / 255))


def load_tcmonodepth(path: Path) -> TCMonoDepth:
    """The network with the weights at `path`, ready to look at pictures.

    Takes the authors' checkpoint of the small network and safetensors copies of it, with or without the counters of
    batches and the prefix of networks on several GPUs. Raises WeightsError for any other file.
    """
    network = TCMonoDepth()
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in read_weights(path).items()
        if not name.endswith(".num_batches_tracked")
    }
    fill(network, tensors, path, "TCMonoDepth small")
    return network.eval().requires_grad_(False)


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Folds every Norm behind a convolution into it: the same function, up to rounding, in fewer passes."""
    for parent in network.modules():
        children = list(parent.named_children()) if isinstance(parent, nn.Sequential) else []
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(norm, Norm) and isinstance(conv, nn.Conv2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, 1e-5, norm.weight, norm.bias
                )
                parent.register_module(name, nn.Identity())


def _conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 1, bias=False)


def _pointwise(channels: int, out: int) -> tuple[nn.Module, ...]:
    return _conv(channels, out), Norm(out), nn.ReLU()


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), Norm(channels)
