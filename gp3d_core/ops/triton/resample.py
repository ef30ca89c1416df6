"""`resampling.low_pass` and `upsample` as one kernel: zeros in between, four taps an axis, every second pixel.

The adjoint of a resampling is a resampling again, so that backward is the same function and can be differentiated
itself. Every result is written once and every input read from memory about once; images may lie in memory by channel
or by pixel (channels last). Letters: B batch, C channels, H W image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024  # results of a program


@dataclass(frozen=True)
class Way:
    """Zeros to insert (`up` 2), pixels to skip (`down` 2), zeros in front, and how much larger the image becomes: to
    (up · size + grow) / down.
    """

    up: int
    down: int
    front: int
    grow: int

    def size(self, before: int) -> int:
        """Pixels a side afterwards."""
        return (before * self.up + self.grow) // self.down


UP = Way(2, 1, 2, 0)
DOWN = Way(1, 2, 1, 0)
SHRINK = Way(1, 1, 1, -1)
GROW = Way(1, 1, 2, 1)
ADJOINT = {UP: DOWN, DOWN: UP, SHRINK: GROW, GROW: SHRINK}


def low_pass(x: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """As `resampling.low_pass`, for what the networks use: padding 1 or 2 without, padding 1 with a stride of 2."""
    ways = {(1, 1): SHRINK, (2, 1): GROW, (1, 2): DOWN}
    if (padding, stride) not in ways:
        raise ValueError(f"expected (padding, stride) among {list(ways)}, found ({padding}, {stride})")
    if stride == 2 and (x.shape[2] % 2 or x.shape[3] % 2):
        raise ValueError(f"expected an image of even size to halve, found {x.shape[2]}x{x.shape[3]}")
    return _Resample.apply(x, None, ways[padding, stride], gain)


def upsample(x: Tensor, plus: Tensor | None = None) -> Tensor:
    """As `resampling.upsample`."""
    return _Resample.apply(x, plus, UP, 4.0)


class _Resample(torch.autograd.Function):
    """(x [B,C,H,W], what is added to the result or None, way, gain) → [B,C,H',W']."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plus: Tensor | None, way: Way, gain: float) -> Tensor:
        ctx.way, ctx.gain = way, gain
        return launch(x, plus, way, gain)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        to_x, to_plus = ctx.needs_input_grad[:2]
        back = _Resample.apply(slope, None, ADJOINT[ctx.way], ctx.gain) if to_x else None
        return back, slope if to_plus else None, None, None


def launch(x: Tensor, plus: Tensor | None, way: Way, gain: float) -> Tensor:
    """Resamples `x` [B,C,H,W], contiguous or channels last, in its own layout; sums are in float32."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    x = x.contiguous(memory_format=layout)
    batch, channels, height, width = x.shape
    shape = (batch, channels, way.size(height), way.size(width))
    result = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    plus = None if plus is None else plus.expand(shape).contiguous(memory_format=layout)
    images = 1 if last else channels  # of a sample that lie one after the other
    pixels = channels if last else 1  # numbers of a pixel that do
    count = shape[2] * shape[3] * pixels
    blocks = triton.cdiv(count, _BLOCK)
    if result.numel():
        resample_kernel[(batch * images * blocks,)](
            x,
            plus,
            result,
            blocks,
            (height, width, *shape[2:]),
            gain / 64.0,
            INNER=pixels,
            UP=way.up,
            DOWN=way.down,
            FRONT=way.front,
            N=_BLOCK,
        )
    return result


@triton.jit
def tap(k: tl.constexpr) -> tl.constexpr:
    """1, 3, 3, 1."""
    return 1.0 + 2.0 * ((k == 1) + (k == 2))


@triton.jit
def filtered(
    image: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    inner: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    seen: tl.tensor,
    INNER: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    FRONT: tl.constexpr,
) -> tl.tensor:
    """Sums [N] over 4 × 4 taps, not yet normalised, of pixels [N] of the result; float32."""
    total = tl.zeros(row.shape, tl.float32)
    for a in tl.static_range(4):
        i = row * DOWN + (a - FRONT)
        real = seen & (i >= 0) & (i % UP == 0) & (i < height * UP)
        line = tl.zeros(row.shape, tl.float32)
        for b in tl.static_range(4):
            j = column * DOWN + (b - FRONT)
            there = real & (j >= 0) & (j % UP == 0) & (j < width * UP)
            offset = ((i // UP) * width + j // UP) * INNER + inner
            line += tap(b) * tl.load(image + offset, mask=there, other=0.0).to(tl.float32)
        total += tap(a) * line
    return total


@triton.jit
def resample_kernel(
    x: tl.tensor,
    plus: tl.tensor,
    result: tl.tensor,
    blocks: tl.tensor,
    sizes: tl.tuple,
    gain: tl.tensor,
    INNER: tl.constexpr,
    UP: tl.constexpr,
    DOWN: tl.constexpr,
    FRONT: tl.constexpr,
    N: tl.constexpr,
) -> None:
    """One block of one image: N numbers that lie side by side in the result."""
    height, width, rows, columns = sizes
    program = tl.program_id(0)
    picture = (program // blocks).to(tl.int64)
    place = (program % blocks) * N + tl.arange(0, N)
    seen = place < rows * columns * INNER
    pixel, inner = place // INNER, place % INNER
    image = x + picture * height * width * INNER
    total = gain * filtered(
        image, pixel // columns, pixel % columns, inner, height, width, seen, INNER, UP, DOWN, FRONT
    )
    start = picture * rows * columns * INNER
    if plus is not None:
        total += tl.load(plus + start + place, mask=seen, other=0.0).to(tl.float32)
    tl.store(result + start + place, total.to(result.dtype.element_ty), mask=seen)
