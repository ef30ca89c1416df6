"""A style code as a volume of features, and how points read it (VolumeGAN §3.1).

Legend: B batch, C features, G edge of the volume, N points, D width of a style code.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.resampling import SLOPE

_EPSILON = 1e-8  # added to a variance
_GAIN = 0.25  # of the layer from style code to scales and shifts, when fresh


class FeatureVolume(nn.Module):
    """A constant of ones through 3D convolutions, each normalised over the volume and given scale and shift by a code.

    Convolutions and the layer that reads the code are ordinary ones. Biases of convolutions are what the normalisation
    takes away; they stay, as in the release.
    """

    def __init__(self, channels: Sequence[int], w_dim: int, *, start: int = 4) -> None:
        """`channels` of the stages' results; the volume starts with `start`³ texels and doubles before all but the
        first stage.
        """
        super().__init__()
        self.channels = tuple(channels)
        self.const = nn.Parameter(torch.ones(1, channels[0], start, start, start))
        inputs = (channels[0], *channels[:-1])
        self.convs = nn.ModuleList(
            nn.Conv3d(i, o, 3, padding=1) for i, o in zip(inputs, channels, strict=True)
        )
        self.style = nn.Linear(w_dim, 2 * sum(channels))
        with torch.no_grad():
            nn.init.kaiming_normal_(self.style.weight, a=SLOPE).mul_(_GAIN)

    def forward(self, w: Tensor) -> Tensor:
        """Features [B,C,G,G,G] (depth, height, width) of style codes `w` [B,D]."""
        x = self.const.expand(len(w), -1, -1, -1, -1)
        scales, shifts = (part.split(self.channels, dim=1) for part in self.style(w).chunk(2, dim=1))
        for i, conv in enumerate(self.convs):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest") if i else x
            x = normalise_volume(conv(x))
            x = x * scales[i][:, :, None, None, None] + shifts[i][:, :, None, None, None]
            x = F.leaky_relu(x, SLOPE)
        return x


def normalise_volume(x: Tensor) -> Tensor:
    """`x` [B,C,G,G,G] with mean 0 and variance 1 in every channel of every sample."""
    x = x - x.mean(dim=(2, 3, 4), keepdim=True)
    return x * torch.rsqrt(x.square().mean(dim=(2, 3, 4), keepdim=True) + _EPSILON)


def sample_volume(volume: Tensor, points: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Features [B,C,N] of `points` [B,N,3], trilinear in `volume` [B,C,G,G,G], whose outermost texels lie on the box
    from `lower` to `upper` [3]; x runs along the last axis. Points outside read what the box has nearest to them.
    """
    # Not F.grid_sample: path lengths need a second derivative, which torch does not have in three dimensions.
    sizes = check_shape("volume", volume, "B C G G G")
    check_shape("points", points, "B N 3", sizes)
    edge, last = sizes["G"], sizes["G"] - 1
    place = ((points - lower) / (upper - lower)).clamp(0.0, 1.0) * last
    corner = place.detach().floor().clamp(max=last - 1)
    far = place - corner  # [B,N,3], share of the texel that is farther along each axis
    shares, first = torch.stack([1.0 - far, far]), corner.long()  # [2,B,N,3]
    indices, weights = [], []
    for k, j, i in itertools.product((0, 1), repeat=3):
        indices.append(((first[..., 2] + k) * edge + first[..., 1] + j) * edge + first[..., 0] + i)
        weights.append(shares[k, ..., 2] * shares[j, ..., 1] * shares[i, ..., 0])
    index, weight = torch.stack(indices, dim=1), torch.stack(weights, dim=1)  # [B,8,N]
    read = volume.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, sizes["C"], -1))
    return (read.unflatten(2, index.shape[1:]) * weight[:, None]).sum(dim=2)
