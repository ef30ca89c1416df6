"""Tri-plane look-ups inside kernels: bilinear features of points, their gradients to texels and to coordinates.

Planes lie in memory with a texel's channels side by side. Points beyond the planes fall to 0 over one texel, as in
`reference.sample_triplane`. Letters: N points of a block, C channels, padded to a power of two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl


class Planes(NamedTuple):
    """Planes [B,3,H,W,C] whose last stride is 1, as kernels take them; strides in elements."""

    data: torch.Tensor
    stride_object: int
    stride_plane: int
    stride_row: int
    stride_texel: int
    height: int
    width: int


@triton.jit
def texel(position: tl.tensor, box: tl.tensor, size: tl.tensor) -> tl.tensor:
    """World coordinates in texels, 0 … size − 1 inside, clipped where nothing is seen any more; NaN stays NaN."""
    place = (position / box + 1.0) * 0.5 * (size - 1)
    place = tl.maximum(place, -2.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(place, size + 1.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def corner(
    planes: Planes, i: tl.tensor, j: tl.tensor, c: tl.tensor, CHANNELS: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Offsets [N,C] in a plane of the texels in columns i and rows j, and which of them exist."""
    seen = (i >= 0) & (i < planes.width) & (j >= 0) & (j < planes.height)
    offset = j * planes.stride_row + i * planes.stride_texel
    return offset[:, None] + c[None, :], seen[:, None] & (c < CHANNELS)[None, :]


@triton.jit
def read(
    plane: tl.tensor, planes: Planes, i: tl.tensor, j: tl.tensor, c: tl.tensor, CHANNELS: tl.constexpr
) -> tl.tensor:
    """Texels [N,C] in float32, 0 outside."""
    offset, seen = corner(planes, i, j, c, CHANNELS)
    return tl.load(plane + offset, mask=seen, other=0.0).to(tl.float32)


@triton.jit
def address(planes: Planes, obj: tl.tensor, index: tl.constexpr) -> tl.tensor:
    """Where plane `index` of object `obj` begins; in 64 bits, for a batch holds more than 2³¹ texels."""
    return (
        planes.data
        + tl.cast(obj, tl.int64) * planes.stride_object
        + tl.cast(planes.stride_plane, tl.int64) * index
    )


@triton.jit
def blend(
    plane: tl.tensor,
    planes: Planes,
    across: tl.tensor,
    down: tl.tensor,
    c: tl.tensor,
    CHANNELS: tl.constexpr,
) -> tl.tensor:
    """Bilinear look-up [N,C] at texel coordinates."""
    left, top = tl.floor(across), tl.floor(down)
    u, v = across - left, down - top
    i, j = left.to(tl.int32), top.to(tl.int32)
    total = read(plane, planes, i, j, c, CHANNELS) * ((1.0 - u) * (1.0 - v))[:, None]
    total += read(plane, planes, i + 1, j, c, CHANNELS) * (u * (1.0 - v))[:, None]
    total += read(plane, planes, i, j + 1, c, CHANNELS) * ((1.0 - u) * v)[:, None]
    return total + read(plane, planes, i + 1, j + 1, c, CHANNELS) * (u * v)[:, None]


@triton.jit
def features_at(
    planes: Planes,
    obj: tl.tensor,
    x: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    box: tl.tensor,
    c: tl.tensor,
    CHANNELS: tl.constexpr,
) -> tl.tensor:
    """Features [N,C] of an object at world points: the mean over the planes xy, xz, yz."""
    x, down_y, z = texel(x, box, planes.width), texel(y, box, planes.height), texel(z, box, planes.height)
    across_y = texel(y, box, planes.width)
    total = blend(address(planes, obj, 0), planes, x, down_y, c, CHANNELS)
    total += blend(address(planes, obj, 1), planes, x, z, c, CHANNELS)
    total += blend(address(planes, obj, 2), planes, across_y, z, c, CHANNELS)
    return total / 3.0


@triton.jit
def blend_slope(
    plane: tl.tensor,
    planes: Planes,
    target: tl.tensor,
    gradient: Planes,
    across: tl.tensor,
    down: tl.tensor,
    slope: tl.tensor,
    c: tl.tensor,
    CHANNELS: tl.constexpr,
    TO_PLANES: tl.constexpr,
    TO_POINTS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """Backward of `blend`: adds gradients [N,C] to the four texels of each point in `target`, the same plane of
    `gradient`; returns the gradients [N] to the texel coordinates (0 unless asked for).
    """
    left, top = tl.floor(across), tl.floor(down)
    u, v = across - left, down - top
    i, j = left.to(tl.int32), top.to(tl.int32)
    to_right, to_below = tl.zeros_like(u), tl.zeros_like(v)
    for step in tl.static_range(4):
        right, below = step % 2, step // 2
        share_u = u if right else 1.0 - u
        share_v = v if below else 1.0 - v
        if TO_POINTS:
            seen = tl.sum(read(plane, planes, i + right, j + below, c, CHANNELS) * slope, axis=1)
            to_right += (2 * right - 1) * share_v * seen
            to_below += (2 * below - 1) * share_u * seen
        if TO_PLANES:
            offset, inside = corner(gradient, i + right, j + below, c, CHANNELS)
            tl.atomic_add(target + offset, slope * (share_u * share_v)[:, None], mask=inside, sem="relaxed")
    return to_right, to_below


@triton.jit
def features_slope(
    planes: Planes,
    gradient: Planes,
    obj: tl.tensor,
    x: tl.tensor,
    y: tl.tensor,
    z: tl.tensor,
    box: tl.tensor,
    slope: tl.tensor,
    c: tl.tensor,
    CHANNELS: tl.constexpr,
    TO_PLANES: tl.constexpr,
    TO_POINTS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Backward of `features_at` from gradients [N,C]: adds to the planes' `gradient`; returns that to x, y, z [N]."""
    x, down_y, z = texel(x, box, planes.width), texel(y, box, planes.height), texel(z, box, planes.height)
    across_y = texel(y, box, planes.width)
    slope = slope / 3.0
    xy, xz, yz = address(planes, obj, 0), address(planes, obj, 1), address(planes, obj, 2)
    to_xy, to_xz, to_yz = (
        address(gradient, obj, 0),
        address(gradient, obj, 1),
        address(gradient, obj, 2),
    )
    xy_x, xy_y = blend_slope(xy, planes, to_xy, gradient, x, down_y, slope, c, CHANNELS, TO_PLANES, TO_POINTS)
    xz_x, xz_z = blend_slope(xz, planes, to_xz, gradient, x, z, slope, c, CHANNELS, TO_PLANES, TO_POINTS)
    yz_y, yz_z = blend_slope(
        yz, planes, to_yz, gradient, across_y, z, slope, c, CHANNELS, TO_PLANES, TO_POINTS
    )
    along, up = 0.5 * (planes.width - 1) / box, 0.5 * (planes.height - 1) / box
    return (xy_x + xz_x) * along, xy_y * up + yz_y * along, (xz_z + yz_z) * up
