"""EG3D's super-resolution: a raw picture of features becomes one of colours, in two blocks of StyleGAN2.

Letters: B batch, D width of a style code, C features, n pixels a side of the raw picture, N of the finished one.
"""

from __future__ import annotations

from torch import Tensor, nn

from gp3d_core.config.schema import COLOURS
from gp3d_core.networks.backbone import StyledConv, ToPlanes
from gp3d_core.ops.backends import Backend
from gp3d_core.ops.resampling import resize, upsample


class SuperBlock(nn.Module):
    """Two convolutions, the first of which may double the size, and the share of the colour that comes with them."""

    def __init__(
        self, inputs: int, outputs: int, resolution: int, w_dim: int, *, up: bool, backend: Backend
    ) -> None:
        """`resolution` is the output's."""
        super().__init__()
        self.conv0 = StyledConv(inputs, outputs, resolution, w_dim, up=up, backend=backend)
        self.conv1 = StyledConv(outputs, outputs, resolution, w_dim, backend=backend)
        self.to_planes = ToPlanes(outputs, COLOURS, w_dim)
        self.up, self.backend = up, backend

    def forward(self, x: Tensor, rgb: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Features and colour after this block, without spatial noise; `rgb` itself is left as it is."""
        x = self.conv1(self.conv0(x, w, "none", None), w, "none", None)
        share = self.to_planes(x, w)
        return x, upsample(rgb, share, backend=self.backend) if self.up else rgb + share


class SuperResolution(nn.Module):
    """Features [B,C,n,n], the first three of which are colour, → rgb [B,3,N,N]."""

    def __init__(
        self, features: int, channels: tuple[int, int], start: int, w_dim: int, backend: Backend = "auto"
    ) -> None:
        """`channels` of a block at `start` pixels a side, to which features are resized, and of one at twice that."""
        super().__init__()
        self.start = start
        first, second = channels
        self.block0 = SuperBlock(features, first, start, w_dim, up=False, backend=backend)
        self.block1 = SuperBlock(first, second, 2 * start, w_dim, up=True, backend=backend)

    def forward(self, features: Tensor, w: Tensor) -> Tensor:
        """The finished picture for the style code `w` [B,D]."""
        x = resize(features, self.start)
        # a sum of its own: the release adds to the raw picture in place, which may be the one that D is shown
        x, rgb = self.block0(x, x[:, :COLOURS], w)
        return self.block1(x, rgb, w)[1]
