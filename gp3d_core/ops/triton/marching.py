"""The fused renderer's forward kernel: both passes of a block of rays without leaving the chip.

A ray's coarse samples are looked up, its fine ones placed by their weights and looked up; all are put in order by
comparing every two, and composited. Per sample only distance and weight (and noise, if any) are written.
Letters: R rays of a block, P samples of a pass padded to a power of two, M samples of a ray likewise; C channels and
W hidden units, padded.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from gp3d_core.ops.triton.compositing import intervals, positions, transmittance
from gp3d_core.ops.triton.density import absorb, colour, softplus
from gp3d_core.ops.triton.importance import invert_distribution
from gp3d_core.ops.triton.lookup import Planes, features_at
from gp3d_core.ops.triton.perceptron import Layers, Loaded, hidden_units, load_layers, outputs


class Scene(NamedTuple):
    """Numbers of a rendering: where rays begin and end, what the planes span, beyond which `limit` space may count as
    empty, and how raw density becomes density.
    """

    near: float
    length: float
    far: float
    box: float
    limit: float
    last_interval: float
    scale: float
    gain: float
    shift: float


class Rays(NamedTuple):
    """Rays and their random numbers: origins, directions [B,R,3], positions s, numbers u, noise (or any tensor)."""

    origins: torch.Tensor
    directions: torch.Tensor
    s_coarse: torch.Tensor
    u_fine: torch.Tensor
    noise: torch.Tensor


class Seen(NamedTuple):
    """What is written: colour [B,R,3], depth and opacity [B,R,1]; weights, t and noise of the sorted samples."""

    rgb: torch.Tensor
    depth: torch.Tensor
    opacity: torch.Tensor
    weights: torch.Tensor
    t: torch.Tensor
    noise: torch.Tensor


@triton.jit
def load_vectors(data: tl.tensor, ray: tl.tensor, real: tl.tensor) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """The three components [R,1] of a vector per ray."""
    x = tl.load(data + ray * 3, mask=real, other=0.0)
    y = tl.load(data + ray * 3 + 1, mask=real, other=0.0)
    return x[:, None], y[:, None], tl.load(data + ray * 3 + 2, mask=real, other=0.0)[:, None]


@triton.jit
def place(
    origin: tl.tensor, direction: tl.tensor, t: tl.tensor, live: tl.tensor, box: tl.tensor
) -> tl.tensor:
    """A coordinate [R,M] of the samples; far outside for those that do not live."""
    return tl.where(live, origin + t * direction, 4.0 * box)


@triton.jit
def is_inside(x: tl.tensor, y: tl.tensor, z: tl.tensor, limit: tl.tensor) -> tl.tensor:
    """Whether points lie in [-limit, limit]³."""
    return (tl.abs(x) <= limit) & (tl.abs(y) <= limit) & (tl.abs(z) <= limit)


@triton.jit
def activate(
    raw: tl.tensor, x: tl.tensor, y: tl.tensor, z: tl.tensor, scene: Scene, EMPTY: tl.constexpr
) -> tl.tensor:
    """Density from raw density, at world points; all of one shape."""
    sigma = scene.scale * softplus(scene.gain * raw + scene.shift)
    if EMPTY:
        sigma = tl.where(is_inside(x, y, z, scene.limit), sigma, 0.0)
    return sigma


@triton.jit
def query(
    planes: Planes,
    net: Loaded,
    rays: Rays,
    scene: Scene,
    obj: tl.tensor,
    ray: tl.tensor,
    t: tl.tensor,
    live: tl.tensor,
    noise: tl.tensor,
    CHANNELS: tl.constexpr,
    BOUNDED: tl.constexpr,
    EMPTY: tl.constexpr,
    PRECISION: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Colour and density [R,P] of samples at distances t [R,P]."""
    exists = tl.max(live.to(tl.int32), axis=1) > 0
    ox, oy, oz = load_vectors(rays.origins, ray, exists)
    dx, dy, dz = load_vectors(rays.directions, ray, exists)
    x = flat(place(ox, dx, t, live, scene.box))
    y = flat(place(oy, dy, t, live, scene.box))
    z = flat(place(oz, dz, t, live, scene.box))
    c = tl.arange(0, net.hidden.shape[0])
    features = features_at(planes, obj, x, y, z, scene.box, c, CHANNELS)
    red, green, blue, raw = outputs(hidden_units(features, net, PRECISION), net)
    sigma = activate(raw + flat(noise), x, y, z, scene, EMPTY)
    return (
        tl.reshape(colour(red, BOUNDED), t.shape),
        tl.reshape(colour(green, BOUNDED), t.shape),
        tl.reshape(colour(blue, BOUNDED), t.shape),
        tl.where(live, tl.reshape(sigma, t.shape), 0.0),
    )


@triton.jit
def flat(x: tl.tensor) -> tl.tensor:
    """[R,P] as [R·P]."""
    return tl.reshape(x, [x.shape[0] * x.shape[1]])


@triton.jit
def load_noise(noise: tl.tensor, offset: tl.tensor, live: tl.tensor, NOISE: tl.constexpr) -> tl.tensor:
    """Noise [R,P] of the raw density; 0 without."""
    found = tl.zeros(live.shape, tl.float32)
    if NOISE:
        found = tl.load(noise + offset, mask=live, other=0.0)
    return found


@triton.jit
def place_fine(
    rays: Rays,
    scene: Scene,
    ray: tl.tensor,
    live: tl.tensor,
    s: tl.tensor,
    t: tl.tensor,
    sigma: tl.tensor,
    COARSE: tl.constexpr,
    FINE: tl.constexpr,
    R: tl.constexpr,
    P: tl.constexpr,
    METRIC: tl.constexpr,
) -> tl.tensor:
    """Distances [R,P] of the fine samples, where the coarse ones found something."""
    k = positions(R, P)
    guide = t if METRIC else s
    thickness = sigma * intervals(guide, k, scene.last_interval, COARSE, P)
    weights = transmittance(thickness, k, COARSE) * absorb(thickness)
    u = tl.load(rays.u_fine + ray[:, None] * FINE + k, mask=live, other=0.0)
    return scene.near + invert_distribution(s, weights, u, COARSE, R, P) * scene.length


@triton.jit
def interleave(first: tl.tensor, second: tl.tensor) -> tl.tensor:
    """[R,2P] out of twice [R,P]: first, second, first, second, …"""
    return tl.reshape(tl.join(first, second), [first.shape[0], 2 * first.shape[1]])


@triton.jit
def ordered(
    t: tl.tensor, key: tl.tensor, live: tl.tensor, sigma: tl.tensor, last_interval: tl.tensor
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """Rank, thickness and transmittance [R,M] of samples in no order; the key decides between equals.

    Comparing every two of M samples takes M² steps, beside thousands of operations for each sample's look-up.
    """
    near, far = t[:, None, :], t[:, :, None]
    before = (near < far) | ((near == far) & (key[:, None, :] < key[:, :, None]))
    before = before & live[:, None, :]
    behind = live[:, None, :] & (before == 0) & (key[:, None, :] != key[:, :, None])
    after = tl.min(tl.where(behind, near, float("inf")), axis=2)
    thickness = tl.where(live, sigma * tl.where(after == float("inf"), last_interval, after - t), 0.0)
    passed = tl.sum(tl.where(before, thickness[:, None, :], 0.0), axis=2)
    return tl.sum(before.to(tl.int32), axis=2), thickness, tl.exp(-passed)


@triton.jit
def write_rays(
    seen: Seen,
    scene: Scene,
    ray: tl.tensor,
    live: tl.tensor,
    rank: tl.tensor,
    t: tl.tensor,
    weights: tl.tensor,
    red: tl.tensor,
    green: tl.tensor,
    blue: tl.tensor,
    SAMPLES: tl.constexpr,
    BACKGROUND: tl.constexpr,
) -> None:
    """Composites and writes what rays saw."""
    exists = tl.max(live.to(tl.int32), axis=1) > 0
    missing = 1.0 - tl.sum(weights, axis=1)
    if BACKGROUND == "last":
        weights = tl.where(live & (rank == SAMPLES - 1), weights + missing[:, None], weights)
    wall = missing if BACKGROUND == "white" else tl.zeros_like(missing)
    tl.store(seen.rgb + ray * 3, tl.sum(weights * red, axis=1) + wall, mask=exists)
    tl.store(seen.rgb + ray * 3 + 1, tl.sum(weights * green, axis=1) + wall, mask=exists)
    tl.store(seen.rgb + ray * 3 + 2, tl.sum(weights * blue, axis=1) + wall, mask=exists)
    depth = tl.sum(tl.where(live, weights * t, 0.0), axis=1) + wall * scene.far
    tl.store(seen.depth + ray, depth, mask=exists)
    tl.store(seen.opacity + ray, tl.sum(weights, axis=1), mask=exists)
    row = ray[:, None] * SAMPLES + rank
    tl.store(seen.weights + row, weights, mask=live)
    tl.store(seen.t + row, t, mask=live)


@triton.jit
def render_kernel(
    planes: Planes,
    layers: Layers,
    rays: Rays,
    seen: Seen,
    scene: Scene,
    count: int,
    blocks: int,
    COARSE: tl.constexpr,
    FINE: tl.constexpr,
    R: tl.constexpr,
    P: tl.constexpr,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    C: tl.constexpr,
    W: tl.constexpr,
    BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
    BACKGROUND: tl.constexpr,
    EMPTY: tl.constexpr,
    METRIC: tl.constexpr,
    NOISE: tl.constexpr,
) -> None:
    """A block of R rays of one object."""
    obj, first = tl.program_id(0) // blocks, (tl.program_id(0) % blocks) * R
    ray = tl.cast(obj, tl.int64) * count + first + tl.arange(0, R)
    exists = (first + tl.arange(0, R) < count)[:, None]
    net, k = load_layers(layers, CHANNELS, WIDTH, C, W), positions(R, P)
    live, row = exists & (k < COARSE), ray[:, None] * (COARSE + FINE) + k
    s = tl.load(rays.s_coarse + ray[:, None] * COARSE + k, mask=live, other=0.0)
    t = scene.near + s * scene.length
    noise = load_noise(rays.noise, row, live, NOISE)
    red, green, blue, sigma = query(
        planes, net, rays, scene, obj, ray, t, live, noise, CHANNELS, BOUNDED, EMPTY, PRECISION
    )
    rank = k
    if FINE == 0:
        thickness = sigma * intervals(t, k, scene.last_interval, COARSE, P)
        light = transmittance(thickness, k, COARSE)
    else:
        live_fine = exists & (k < FINE)
        t_fine = place_fine(rays, scene, ray, live_fine, s, t, sigma, COARSE, FINE, R, P, METRIC)
        noise_fine = load_noise(rays.noise, row + COARSE, live_fine, NOISE)
        more = query(
            planes,
            net,
            rays,
            scene,
            obj,
            ray,
            t_fine,
            live_fine,
            noise_fine,
            CHANNELS,
            BOUNDED,
            EMPTY,
            PRECISION,
        )
        red, green, blue = interleave(red, more[0]), interleave(green, more[1]), interleave(blue, more[2])
        sigma, t, noise = interleave(sigma, more[3]), interleave(t, t_fine), interleave(noise, noise_fine)
        live = interleave(live.to(tl.int32), live_fine.to(tl.int32)) > 0
        rank, thickness, light = ordered(t, interleave(k, k + P), live, sigma, scene.last_interval)
    weights = light * absorb(thickness)
    write_rays(seen, scene, ray, live, rank, t, weights, red, green, blue, COARSE + FINE, BACKGROUND)
    if NOISE:
        tl.store(seen.noise + ray[:, None] * (COARSE + FINE) + rank, noise, mask=live)
