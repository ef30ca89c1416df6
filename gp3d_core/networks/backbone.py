"""Style codes to tri-planes or pictures: StyleGAN2's synthesis network with skip connections (3DGP §3.1).

Blocks of resolution 4, 8, … up to the result's: the first starts from a learnt constant, each later one
doubles the size. Every block adds its share to the upsampled sum of the earlier ones. The last block may write a
square of texels for each of its pixels (sub-pixel convolution, Shi et al. 2016), which spares the costliest block.
Letters: B batch, L codes, D their width, R resolution of the result, F features per plane, T plane resolution.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from gp3d_core.config.schema import GeneratorConfig
from gp3d_core.networks.layers import ModulatedConv
from gp3d_core.ops.backends import Backend
from gp3d_core.ops.resampling import finish, upsample

NoiseMode = Literal["none", "const", "random"]

PLANES = 3


class StyledConv(nn.Module):
    """3×3 modulated convolution with spatial noise, bias and leaky ReLU, [B,I,H,W] →
    [B,O,resolution,resolution].
    """

    noise_const: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        resolution: int,
        w_dim: int,
        *,
        up: bool = False,
        backend: Backend = "auto",
    ) -> None:
        """`resolution` is the output's; `up` doubles the input's size."""
        super().__init__()
        self.backend = backend
        self.conv = ModulatedConv(inputs, outputs, 3, w_dim, up=up, demodulate=True)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: NoiseMode, generator: torch.Generator | None) -> Tensor:
        """Activations for the style code `w` [B,D]."""
        style = self.conv.modulation(w)
        x = self.conv.convolve(x, style)
        sample = None
        if noise == "const":
            sample = self.noise_const[None, None]
        elif noise == "random":
            shape = (x.shape[0], 1, *self.noise_const.shape)
            sample = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        scale = self.conv.demodulation(style)
        up, strength = self.conv.up, self.noise_strength
        return finish(x, scale, self.bias, sample, strength, filtered=up, backend=self.backend)


class ToPlanes(nn.Module):
    """1×1 modulated convolution without demodulation: features to tri-plane channels, channels last in memory."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, square: int = 1) -> None:
        """Each pixel becomes `square`² texels. Bias starts at zero."""
        super().__init__()
        self.square = square
        self.conv = ModulatedConv(inputs, outputs * square**2, 1, w_dim, up=False, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs * square**2))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Channels [B,outputs,square·H,square·W] of the features `x` [B,inputs,H,W]."""
        height, width, side = *x.shape[2:], self.square
        # one kernel for each sample, [B,I,O]; as a product of matrices whose result has the channels last
        kernels = (self.conv.weight.flatten(1) * self.conv.modulation(w)[:, None]).transpose(1, 2)
        texels = torch.baddbmm(self.bias, x.flatten(2).transpose(1, 2), kernels)
        if side > 1:
            texels = texels.view(-1, height, width, side, side, texels.shape[2] // side**2).transpose(2, 3)
        return texels.reshape(len(x), side * height, side * width, -1).permute(0, 3, 1, 2)


class SynthesisBlock(nn.Module):
    """One resolution: convolutions on the features and this resolution's share of the planes."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        resolution: int,
        w_dim: int,
        plane_channels: int,
        *,
        up: bool,
        square: int,
        backend: Backend,
    ) -> None:
        """`up` doubles the size in a convolution of its own; the first block has only the other one. A pixel becomes
        `square`² texels.
        """
        super().__init__()
        self.conv0 = StyledConv(inputs, outputs, resolution, w_dim, up=True, backend=backend) if up else None
        self.conv1 = StyledConv(outputs, outputs, resolution, w_dim, backend=backend)
        self.to_planes = ToPlanes(outputs, plane_channels, w_dim, square=square)

    def forward(
        self, x: Tensor, ws: Tensor, noise: NoiseMode, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Features [B,outputs,H,W] and share of the planes [B,3F,square·H,square·W]; `ws` holds a code per
        convolution.
        """
        if self.conv0 is not None:
            x = self.conv0(x, ws[:, 0], noise, generator)
        x = self.conv1(x, ws[:, -2], noise, generator)
        return x, self.to_planes(x, ws[:, -1])


class Synthesis(nn.Module):
    """Style codes ws [B,L,D] → [B,outputs,R,R]: tri-planes of a 3D model, or the picture of a 2D one."""

    def __init__(
        self,
        *,
        resolution: int,
        outputs: int,
        w_dim: int,
        channel_base: int,
        channel_max: int,
        square: int = 1,
        backend: Backend = "auto",
    ) -> None:
        """Channels at resolution r: min(channel_base / r, channel_max).

        ValueError unless the last block's resolution, `resolution` / `square`, is a power of two of at least 4.
        """
        super().__init__()
        self.backend = backend
        last = resolution // square
        if last < 4 or last & (last - 1) or last * square != resolution:
            raise ValueError(
                f"resolution / square: expected a power of two from 4, found {resolution} / {square}"
            )
        self.blocks = nn.ModuleList()
        size, inputs = 4, min(channel_base // 4, channel_max)
        self.const = nn.Parameter(torch.randn(inputs, size, size))
        while size <= last:
            width = min(channel_base // size, channel_max)
            block = SynthesisBlock(
                inputs,
                width,
                size,
                w_dim,
                outputs,
                up=size > 4,
                square=square if size == last else 1,
                backend=backend,
            )
            self.blocks.append(block)
            size, inputs = size * 2, width
        self.num_ws = 2 * len(self.blocks)

    def forward(self, ws: Tensor, noise: NoiseMode, generator: torch.Generator | None = None) -> Tensor:
        """The sum of the blocks' shares, [B,outputs,R,R].

        `noise`: "none", "const" (this network's stored maps) or "random" (drawn anew from `generator`). The
        code of a block's share is also the first code of the next block.
        """
        x = self.const.expand(len(ws), -1, -1, -1)
        whole: Tensor | None = None
        for i, block in enumerate(self.blocks):
            x, share = block(x, ws[:, max(2 * i - 1, 0) : 2 * i + 2], noise, generator)
            while whole is not None and 2 * whole.shape[2] < share.shape[2]:
                whole = upsample(whole, backend=self.backend)
            whole = share if whole is None else upsample(whole, share, backend=self.backend)
        if whole is None:
            raise ValueError("expected at least one block")
        return whole


class Backbone(Synthesis):
    """Style codes ws [B,L,D] → tri-planes [B,3,F,T,T] in the order xy, xz, yz."""

    def __init__(self, config: GeneratorConfig, backend: Backend = "auto") -> None:
        """ValueError unless plane_resolution / texel_square is a power of two of at least 4."""
        super().__init__(
            resolution=config.plane_resolution,
            outputs=PLANES * config.plane_channels,
            w_dim=config.w_dim,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
            square=config.texel_square,
            backend=backend,
        )
        self.plane_channels = config.plane_channels

    def forward(self, ws: Tensor, noise: NoiseMode, generator: torch.Generator | None = None) -> Tensor:
        """Planes [B,3,F,T,T]; `noise` and `generator` as for `Synthesis`."""
        return super().forward(ws, noise, generator).unflatten(1, (PLANES, self.plane_channels))
