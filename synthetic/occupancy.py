"""Points of space and whether they belong to a model, for meshes that are not watertight.

A point is outside when one of 24 random rays from it meets nothing, and solid when none does or when a surface is
nearer than half a sheet's thickness. No repair and no winding numbers: a model may be any pile of triangles. What is
closed all around counts as solid, whatever is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.checks.rays import RaySurface
from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.sampling import SurfaceColors, srgb_bytes

Array = npt.NDArray[np.float64]

HALF_SIDE = 0.55  # of the cube that points are drawn from
JITTER = (0.004, 0.015, 0.04)  # standard deviations of the three thirds near the surface, world units
RAYS = (4, 20, 168)  # cast until enough are free; most points outside show with the first ones
FREE = 3  # rays that meet nothing make a point an outer one
SHEET = 0.008  # points nearer to a surface are solid, so that a sheet without thickness has one
_OUTSIDE = 2.0  # from so far rays are sent to find what can be seen
_SPARE = 1.1  # rays a point, as a few slip through between triangles


@dataclass(frozen=True)
class SurfacePoints:
    """Points that can be seen of a surface: `positions` [N,3] in the world frame, `normals` [N,3], `albedo` [N,3].

    Normals are unit vectors of the flat triangles towards the side that is seen; albedo is the base colour at the very
    point, without any light, 8-bit sRGB.
    """

    positions: npt.NDArray[np.float16]
    normals: npt.NDArray[np.float16]
    albedo: npt.NDArray[np.uint8]


def sample_points(
    surface: RaySurface, count: int, random: np.random.Generator
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """[count,3] positions in the world frame and whether they are solid [count].

    The first half lies near what can be seen of the surface, the second uniformly in the cube of `HALF_SIDE`.
    Solidity is that of the rounded positions. Raises BrokenModelError where there is no area to sample.
    """
    near = count // 2
    jitter = np.repeat(JITTER, np.diff(np.linspace(0, near, len(JITTER) + 1).astype(int)))
    around = _visible(surface, near, random).positions + random.normal(size=(near, 3)) * jitter[:, None]
    uniform = random.uniform(-HALF_SIDE, HALF_SIDE, (count - near, 3))
    positions = np.concatenate([around, uniform]).clip(-HALF_SIDE, HALF_SIDE).astype(np.float16)
    return positions, solid(surface, positions.astype(np.float32), random)


def surface_points(
    surface: RaySurface, colors: SurfaceColors, count: int, random: np.random.Generator
) -> SurfacePoints:
    """`count` points that can be seen of a surface with these colours, about evenly spread over it.

    Raises BrokenModelError where there is no area to sample, or none that can be seen.
    """
    seen = _visible(surface, count, random)
    facing = np.sign((seen.normals * seen.directions).sum(axis=1, keepdims=True))
    return SurfacePoints(
        seen.positions.astype(np.float16),
        (-facing * seen.normals).astype(np.float16),
        srgb_bytes(colors.at(seen.triangle, seen.barycentric)[:, :3]),
    )


def visible_points(surface: RaySurface, count: int, random: np.random.Generator) -> Array:
    """[count,3] first hits of rays from outside, in all directions, at points uniform on the surface."""
    return _visible(surface, count, random).positions


@dataclass(frozen=True)
class _Visible:
    """Where `count` rays from outside with `directions` [N,3] hit first, and what."""

    positions: Array
    directions: Array
    triangle: npt.NDArray[np.int64]
    barycentric: Array
    normals: Array


def _visible(surface: RaySurface, count: int, random: np.random.Generator) -> _Visible:
    corners = surface.vertices[surface.triangles]
    edges = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    total = float(areas.sum())
    if not (np.isfinite(total) and total > 0):
        raise BrokenModelError(f"its faces have an area of {total / 2:g}")
    rays = int(count * _SPARE) + 1
    chosen = np.searchsorted(np.cumsum(areas) / total, random.random(rays)).clip(max=len(areas) - 1)
    weights = random.random((rays, 2))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    targets = corners[chosen, 0] + (weights[:, :, None] * edges[chosen]).sum(axis=1)
    directions = _directions(rays, random)
    origins = targets - _OUTSIDE * directions
    hits = surface.first_hits(np.concatenate([origins, directions], axis=1))
    hit = np.flatnonzero(np.isfinite(hits.distance))
    if not len(hit):
        raise BrokenModelError("no ray from outside meets it")
    kept = hit[np.arange(count) % len(hit)]
    return _Visible(
        origins[kept] + hits.distance[kept, None] * directions[kept],
        directions[kept],
        hits.triangle[kept],
        hits.barycentric[kept],
        hits.normals[kept],
    )


def solid(
    surface: RaySurface, points: npt.NDArray[np.float32], random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Whether points [N,3] belong to the model [N]."""
    sheet = np.zeros(len(points), dtype=bool)
    beside = np.flatnonzero(_beside(surface, points))
    sheet[beside] = surface.distance(points[beside]) < SHEET
    free = np.zeros(len(points), dtype=int)
    left = np.flatnonzero(~sheet)
    for rays in RAYS:
        free[left] += _free_rays(surface, points[left], rays, random)
        left = left[free[left] < FREE]
    inside = sheet
    inside[left] = True
    return inside


def _free_rays(
    surface: RaySurface, points: npt.NDArray[np.float32], rays: int, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """How many of so many random rays from each of the points [N,3] meet nothing."""
    starts = np.repeat(points, rays, axis=0)
    blocked = surface.blocked(np.concatenate([starts, _directions(len(starts), random)], axis=1))
    return np.asarray((~blocked.reshape(-1, rays)).sum(axis=1))


def _beside(surface: RaySurface, points: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which points lie near enough to the box around the surface for a distance to matter."""
    used = surface.vertices[surface.triangles.reshape(-1)]
    low, high = used.min(axis=0) - SHEET, used.max(axis=0) + SHEET
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def _directions(count: int, random: np.random.Generator) -> npt.NDArray[Any]:
    """[count,3] unit vectors, uniform on the sphere."""
    normal = random.standard_normal((count, 3), dtype=np.float32)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))
