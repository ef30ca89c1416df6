"""The fused renderer's backward kernel: everything but the sorted distances is computed again, block by block.

Letters: R rays of a block, M samples of a ray padded to a power of two; C channels and W hidden units, padded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from gp3d_core.ops.triton.compositing import intervals, positions, thickness_slope, transmittance
from gp3d_core.ops.triton.density import absorb, colour, colour_slope, leaky, softplus_slope
from gp3d_core.ops.triton.lookup import Planes, features_at, features_slope
from gp3d_core.ops.triton.marching import (
    Rays,
    Scene,
    activate,
    flat,
    is_inside,
    load_noise,
    load_vectors,
    place,
)
from gp3d_core.ops.triton.perceptron import (
    Layers,
    Loaded,
    hidden_slope,
    hidden_units,
    load_layers,
    output_slopes,
    outputs,
    store_layers,
)


class Slopes(NamedTuple):
    """Gradients to what the forward kernel wrote: [B,R,3], [B,R,1], [B,R,1] and [B,R,S] (or any tensor)."""

    rgb: torch.Tensor
    depth: torch.Tensor
    opacity: torch.Tensor
    weights: torch.Tensor


class Found(NamedTuple):
    """Where gradients go, beside those to the planes: ray origins and directions [B,R,3], layers (a row a program)."""

    origins: torch.Tensor
    directions: torch.Tensor
    layers: torch.Tensor


@triton.jit
def samples(
    rays: Rays, distances: tl.tensor, box: tl.tensor, ray: tl.tensor, live: tl.tensor, SAMPLES: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """World coordinates x, y, z and distance t [R,M] of sorted samples; read anew wherever they are needed.

    A volatile read keeps the compiler from holding offsets of texels in registers from one use to the next.
    """
    offset = ray[:, None] * SAMPLES + positions(live.shape[0], live.shape[1])
    t = tl.load(distances + offset, mask=live, other=0.0, volatile=True)
    ox, oy, oz = load_vectors(rays.origins, ray, ray >= 0)
    dx, dy, dz = load_vectors(rays.directions, ray, ray >= 0)
    return place(ox, dx, t, live, box), place(oy, dy, t, live, box), place(oz, dz, t, live, box), t


@triton.jit
def pulls(
    slopes: Slopes,
    scene: Scene,
    ray: tl.tensor,
    live: tl.tensor,
    red: tl.tensor,
    green: tl.tensor,
    blue: tl.tensor,
    t: tl.tensor,
    SAMPLES: tl.constexpr,
    BACKGROUND: tl.constexpr,
    TO_WEIGHTS: tl.constexpr,
) -> tl.tensor:
    """Gradient [R,M] to the weights that the density itself makes, out of those to all that was written."""
    to_red, to_green, to_blue = load_vectors(slopes.rgb, ray, ray >= 0)
    to_depth = tl.load(slopes.depth + ray, mask=ray >= 0, other=0.0)[:, None]
    to_opacity = tl.load(slopes.opacity + ray, mask=ray >= 0, other=0.0)[:, None]
    k = positions(live.shape[0], live.shape[1])
    pull = to_red * red + to_green * green + to_blue * blue + to_depth * t + to_opacity
    if TO_WEIGHTS:
        pull += tl.load(slopes.weights + ray[:, None] * SAMPLES + k, mask=live, other=0.0)
    if BACKGROUND == "white":
        pull -= to_red + to_green + to_blue + to_depth * scene.far
    if BACKGROUND == "last":
        pull -= tl.sum(tl.where(k == SAMPLES - 1, pull, 0.0), axis=1)[:, None]
    return tl.where(live, pull, 0.0)


@triton.jit
def output_slope(
    rays: Rays,
    distances: tl.tensor,
    noise: tl.tensor,
    slopes: Slopes,
    scene: Scene,
    net: Loaded,
    ray: tl.tensor,
    live: tl.tensor,
    before: tl.tensor,
    SAMPLES: tl.constexpr,
    BOUNDED: tl.constexpr,
    BACKGROUND: tl.constexpr,
    EMPTY: tl.constexpr,
    NOISE: tl.constexpr,
    TO_WEIGHTS: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Gradients [R·M] to the perceptron's four outputs, by compositing again."""
    k = positions(live.shape[0], live.shape[1])
    red, green, blue, raw = outputs(before, net)
    red = tl.reshape(colour(red, BOUNDED), live.shape)
    green = tl.reshape(colour(green, BOUNDED), live.shape)
    blue = tl.reshape(colour(blue, BOUNDED), live.shape)
    raw = tl.reshape(raw, live.shape) + load_noise(noise, ray[:, None] * SAMPLES + k, live, NOISE)
    x, y, z, t = samples(rays, distances, scene.box, ray, live, SAMPLES)
    sigma = tl.where(live, activate(raw, x, y, z, scene, EMPTY), 0.0)
    interval = intervals(t, k, scene.last_interval, SAMPLES, live.shape[1])
    light = transmittance(sigma * interval, k, SAMPLES)
    weights = light * absorb(sigma * interval)
    pull = pulls(slopes, scene, ray, live, red, green, blue, t, SAMPLES, BACKGROUND, TO_WEIGHTS)
    to_sigma = thickness_slope(pull, light, sigma * interval, k, SAMPLES, live.shape[1]) * interval
    to_raw = to_sigma * scene.scale * scene.gain * softplus_slope(scene.gain * raw + scene.shift)
    lives = live & is_inside(x, y, z, scene.limit) if EMPTY else live
    if BACKGROUND == "last":
        missing = 1.0 - tl.sum(weights, axis=1)
        weights = tl.where(live & (k == SAMPLES - 1), weights + missing[:, None], weights)
    to_red, to_green, to_blue = load_vectors(slopes.rgb, ray, ray >= 0)
    return (
        flat(weights * to_red * colour_slope(red, BOUNDED)),
        flat(weights * to_green * colour_slope(green, BOUNDED)),
        flat(weights * to_blue * colour_slope(blue, BOUNDED)),
        flat(tl.where(lives, to_raw, 0.0)),
    )


@triton.jit
def write_ray_slopes(found: Found, ray: tl.tensor, t: tl.tensor, move: tl.tuple) -> None:
    """Sums gradients [R·M] to the coordinates of the samples into those of the rays."""
    for axis in tl.static_range(3):
        along = tl.reshape(move[axis], t.shape)
        tl.store(found.origins + ray * 3 + axis, tl.sum(along, axis=1), mask=ray >= 0)
        tl.store(found.directions + ray * 3 + axis, tl.sum(along * t, axis=1), mask=ray >= 0)


@triton.jit
def render_backward_kernel(
    planes: Planes,
    layers: Layers,
    rays: Rays,
    distances: tl.tensor,
    noise: tl.tensor,
    slopes: Slopes,
    texels: Planes,
    found: Found,
    scene: Scene,
    count: int,
    blocks: int,
    total: int,
    SAMPLES: tl.constexpr,
    R: tl.constexpr,
    M: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    C: tl.constexpr,
    W: tl.constexpr,
    BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
    BACKGROUND: tl.constexpr,
    EMPTY: tl.constexpr,
    NOISE: tl.constexpr,
    TO_PLANES: tl.constexpr,
    TO_RAYS: tl.constexpr,
    TO_LAYERS: tl.constexpr,
    TO_WEIGHTS: tl.constexpr,
) -> None:
    """Some of all blocks: gradients to texels (atomic), rays (stored) and layers (summed, one row a program)."""
    c = tl.arange(0, C)
    hidden, bias = tl.zeros([W, C], tl.float32), tl.zeros([W], tl.float32)
    output, output_bias = tl.zeros([4, W], tl.float32), tl.zeros([4], tl.float32)
    for index in range(tl.program_id(0), total, tl.num_programs(0)):
        net = load_layers(layers, CHANNELS, WIDTH, C, W)  # here: out of the loop it would fill the registers
        obj, number = index // blocks, (index % blocks) * R + tl.arange(0, R)
        ray = tl.where(number < count, tl.cast(obj, tl.int64) * count + number, -1)
        live = (ray >= 0)[:, None] & (positions(R, M) < SAMPLES)
        x, y, z, t = samples(rays, distances, scene.box, ray, live, SAMPLES)
        features = features_at(planes, obj, flat(x), flat(y), flat(z), scene.box, c, CHANNELS)
        before = hidden_units(features, net, PRECISION)
        outs = output_slope(
            rays, distances, noise, slopes, scene, net, ray, live, before,
            SAMPLES, BOUNDED, BACKGROUND, EMPTY, NOISE, TO_WEIGHTS,
        )  # fmt: skip
        slope = hidden_slope(before, net, outs[0], outs[1], outs[2], outs[3])
        if TO_LAYERS:
            hidden += tl.dot(tl.trans(slope), features, input_precision=PRECISION)
            bias += tl.sum(slope, axis=0)
            more = output_slopes(leaky(before), outs[0], outs[1], outs[2], outs[3], W)
            output += more[0]
            output_bias += more[1]
        if TO_PLANES or TO_RAYS:
            slope = tl.dot(slope, tl.trans(net.hidden), input_precision=PRECISION)
            x, y, z, t = samples(rays, distances, scene.box, ray, live, SAMPLES)
            move = features_slope(
                planes, texels, obj, flat(x), flat(y), flat(z), scene.box, slope,
                c, CHANNELS, TO_PLANES, TO_RAYS,
            )  # fmt: skip
            if TO_RAYS:
                write_ray_slopes(found, ray, t, move)
    if TO_LAYERS:
        row = found.layers + tl.program_id(0) * (W * (C + 5) + 4)
        store_layers(row, hidden, bias, output, output_bias, C, W)
