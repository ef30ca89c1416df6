"""`reference.decode_triplane` as kernels: look-up and perceptron of a point without writing its features.

Backward looks the features up again. Letters: B batch, N points, C channels, W hidden units, H W plane size.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from gp3d_core.ops.reference import Perceptron
from gp3d_core.ops.triton.density import colour, colour_slope, leaky
from gp3d_core.ops.triton.launching import as_planes, padded, precision, program_count, texels_first
from gp3d_core.ops.triton.lookup import Planes, features_at, features_slope
from gp3d_core.ops.triton.perceptron import (
    Layers,
    hidden_slope,
    hidden_units,
    load_layers,
    output_slopes,
    outputs,
    store_layers,
)

_POINTS = 64  # of a block


def decode_triplane(
    planes: Tensor, points: Tensor, perceptron: Perceptron, *, box: float = 1.0
) -> tuple[Tensor, Tensor]:
    """As `reference.decode_triplane`."""
    *layers, bounded = perceptron
    decoded = _Decode.apply(planes, points, *layers, bounded, box)
    rgb, raw = decoded.split([3, 1], dim=-1)
    return rgb, raw


class _Decode(torch.autograd.Function):
    """(planes, points, four layers' tensors) → [B,N,4]."""

    @staticmethod
    def forward(
        ctx: Any,
        planes: Tensor,
        points: Tensor,
        hidden_weight: Tensor,
        hidden_bias: Tensor,
        output_weight: Tensor,
        output_bias: Tensor,
        bounded: bool,
        box: float,
    ) -> Tensor:
        moved, points = texels_first(planes), points.contiguous()
        layers = Layers(*(w.contiguous() for w in (hidden_weight, hidden_bias, output_weight, output_bias)))
        batch, count = points.shape[:2]
        decoded = points.new_empty(batch, count, 4)
        blocks = triton.cdiv(count, _POINTS)
        sizes = layer_sizes(moved, layers) | {"BOUNDED": bounded}
        if decoded.numel():
            decode_kernel[(batch * blocks,)](
                as_planes(moved), layers, points, decoded, count, blocks, box, N=_POINTS, **sizes
            )
        ctx.save_for_backward(moved, points, *layers)
        ctx.sizes, ctx.box = sizes, box
        return decoded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        moved, points, *weights = ctx.saved_tensors
        layers = Layers(*weights)
        batch, count = points.shape[:2]
        blocks = triton.cdiv(count, _POINTS)
        to_planes, to_points, *rest = ctx.needs_input_grad[:6]
        # texels are added to by many programs at once, in float32 whatever the planes' type
        texels = torch.zeros_like(moved, dtype=torch.float32) if to_planes else moved
        moves = torch.zeros_like(points) if to_points else points
        programs = max(1, program_count(batch * blocks, points.device))
        sizes = ctx.sizes | {"PRECISION": precision(backward=True)}
        partial = empty_partials(programs, sizes, points)
        if points.numel():
            decode_backward_kernel[(programs,)](
                as_planes(moved),
                layers,
                points,
                slope.contiguous(),
                as_planes(texels),
                moves,
                partial,
                count,
                blocks,
                batch * blocks,
                ctx.box,
                N=_POINTS,
                TO_PLANES=to_planes,
                TO_POINTS=to_points,
                TO_LAYERS=any(rest),
                num_warps=8,
                num_stages=1,
                **sizes,
            )
        return (
            texels.permute(0, 1, 4, 2, 3).to(moved.dtype) if to_planes else None,
            moves if to_points else None,
            *layer_gradients(partial, layers, ctx.sizes, rest),
            None,
            None,
        )


def layer_sizes(moved: Tensor, layers: Layers) -> dict[str, Any]:
    """Channels and hidden units, as they are and padded, and how their products are rounded."""
    channels, width = moved.shape[-1], len(layers.hidden_bias)
    padding = {"C": padded(channels, 16), "W": padded(width, 16)}
    return {"CHANNELS": channels, "WIDTH": width, "PRECISION": precision(), **padding}


def empty_partials(programs: int, sizes: dict[str, Any], like: Tensor) -> Tensor:
    """Room for every program's sum of gradients to the layers."""
    return like.new_zeros(programs, sizes["W"] * (sizes["C"] + 5) + 4)


def layer_gradients(
    partial: Tensor, layers: Layers, sizes: dict[str, Any], wanted: list[bool]
) -> list[Tensor | None]:
    """Gradients to the four tensors of the layers out of all programs' sums; None for those not wanted."""
    if not any(wanted):
        return [None] * 4
    wide, deep = sizes["C"], sizes["W"]
    hidden, bias, output, output_bias = partial.sum(dim=0).split([deep * wide, deep, 4 * deep, 4])
    width, channels = layers.hidden_weight.shape
    found = (
        hidden.view(deep, wide)[:width, :channels],
        bias[:width],
        output.view(4, deep)[:, :width],
        output_bias,
    )
    return [gradient if want else None for gradient, want in zip(found, wanted, strict=True)]


@triton.jit
def decode_kernel(
    planes: Planes,
    layers: Layers,
    points: tl.tensor,
    decoded: tl.tensor,
    count: int,
    blocks: int,
    box: float,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    C: tl.constexpr,
    W: tl.constexpr,
    BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
) -> None:
    """A block of N points of one object: colour and raw density [B,N,4]."""
    obj, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    point, c = block * N + tl.arange(0, N), tl.arange(0, C)
    real = point < count
    row = tl.cast(obj, tl.int64) * count + point
    x = tl.load(points + row * 3, mask=real, other=4.0 * box)
    y = tl.load(points + row * 3 + 1, mask=real, other=4.0 * box)
    z = tl.load(points + row * 3 + 2, mask=real, other=4.0 * box)
    net = load_layers(layers, CHANNELS, WIDTH, C, W)
    features = features_at(planes, obj, x, y, z, box, c, CHANNELS)
    red, green, blue, raw = outputs(hidden_units(features, net, PRECISION), net)
    tl.store(decoded + row * 4, colour(red, BOUNDED), mask=real)
    tl.store(decoded + row * 4 + 1, colour(green, BOUNDED), mask=real)
    tl.store(decoded + row * 4 + 2, colour(blue, BOUNDED), mask=real)
    tl.store(decoded + row * 4 + 3, raw, mask=real)


@triton.jit
def decode_backward_kernel(
    planes: Planes,
    layers: Layers,
    points: tl.tensor,
    slopes: tl.tensor,
    texels: Planes,
    moves: tl.tensor,
    partial: tl.tensor,
    count: int,
    blocks: int,
    total: int,
    box: float,
    N: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    C: tl.constexpr,
    W: tl.constexpr,
    BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
    TO_PLANES: tl.constexpr,
    TO_POINTS: tl.constexpr,
    TO_LAYERS: tl.constexpr,
) -> None:
    """Some of all blocks: gradients to texels (atomic), points (stored) and layers (summed, one row a program)."""
    c = tl.arange(0, C)
    hidden, bias = tl.zeros([W, C], tl.float32), tl.zeros([W], tl.float32)
    output, output_bias = tl.zeros([4, W], tl.float32), tl.zeros([4], tl.float32)
    for index in range(tl.program_id(0), total, tl.num_programs(0)):
        net = load_layers(layers, CHANNELS, WIDTH, C, W)  # here: out of the loop it would fill the registers
        obj, point = index // blocks, (index % blocks) * N + tl.arange(0, N)
        real = point < count
        row = tl.cast(obj, tl.int64) * count + point
        x = tl.load(points + row * 3, mask=real, other=4.0 * box)
        y = tl.load(points + row * 3 + 1, mask=real, other=4.0 * box)
        z = tl.load(points + row * 3 + 2, mask=real, other=4.0 * box)
        red = tl.load(slopes + row * 4, mask=real, other=0.0)
        green = tl.load(slopes + row * 4 + 1, mask=real, other=0.0)
        blue = tl.load(slopes + row * 4 + 2, mask=real, other=0.0)
        raw = tl.load(slopes + row * 4 + 3, mask=real, other=0.0)
        features = features_at(planes, obj, x, y, z, box, c, CHANNELS)
        before = hidden_units(features, net, PRECISION)
        if BOUNDED:
            rgb = outputs(before, net)
            red *= colour_slope(colour(rgb[0], BOUNDED), BOUNDED)
            green *= colour_slope(colour(rgb[1], BOUNDED), BOUNDED)
            blue *= colour_slope(colour(rgb[2], BOUNDED), BOUNDED)
        slope = hidden_slope(before, net, red, green, blue, raw)
        if TO_LAYERS:
            hidden += tl.dot(tl.trans(slope), features, input_precision=PRECISION)
            bias += tl.sum(slope, axis=0)
            more = output_slopes(leaky(before), red, green, blue, raw, W)
            output += more[0]
            output_bias += more[1]
        if TO_PLANES or TO_POINTS:
            slope = tl.dot(slope, tl.trans(net.hidden), input_precision=PRECISION)
            x = tl.load(points + row * 3, mask=real, other=4.0 * box, volatile=True)
            y = tl.load(points + row * 3 + 1, mask=real, other=4.0 * box, volatile=True)
            z = tl.load(points + row * 3 + 2, mask=real, other=4.0 * box, volatile=True)
            move = features_slope(planes, texels, obj, x, y, z, box, slope, c, CHANNELS, TO_PLANES, TO_POINTS)
            if TO_POINTS:
                tl.store(moves + row * 3, move[0], mask=real)
                tl.store(moves + row * 3 + 1, move[1], mask=real)
                tl.store(moves + row * 3 + 2, move[2], mask=real)
    if TO_LAYERS:
        store_layers(partial + tl.program_id(0) * (W * (C + 5) + 4), hidden, bias, output, output_bias, C, W)
