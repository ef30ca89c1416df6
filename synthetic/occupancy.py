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
THIN = (0.01, 0.1)  # thickness below and above which nothing is drawn more or less often, world units
SHEET = 0.008  # points nearer to a surface are solid, so that a sheet without thickness has one
_OUTSIDE = 2.0  # from so far rays are sent to find what can be seen
_OFF = 1e-5  # so far from a surface a ray through it starts, world units
_BEHIND = 0.012  # so far behind a surface it is outside if that is a sheet
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
    surface: RaySurface, count: int, random: np.random.Generator, thin: float = 0.0
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """[count,3] positions in the world frame and whether they are solid [count].

    The first half lies near what can be seen of the surface, a share `thin` of it drawn by thickness; the second
    uniformly in the cube of `HALF_SIDE`. Solidity is that of the rounded positions. Raises BrokenModelError where there
    is no area to sample.
    """
    near = count // 2
    jitter = np.repeat(JITTER, np.diff(np.linspace(0, near, len(JITTER) + 1).astype(int)))
    around = _spread(surface, near, thin, random).positions + random.normal(size=(near, 3)) * jitter[:, None]
    uniform = random.uniform(-HALF_SIDE, HALF_SIDE, (count - near, 3))
    positions = np.concatenate([around, uniform]).clip(-HALF_SIDE, HALF_SIDE).astype(np.float16)
    return positions, solid(surface, positions.astype(np.float32), random)


def surface_points(
    surface: RaySurface,
    colors: SurfaceColors,
    count: int,
    random: np.random.Generator,
    thin: float = 0.0,
) -> SurfacePoints:
    """`count` points that can be seen of a surface with these colours, in Morton order: neighbours are near.

    They are about evenly spread over it, but for a share `thin` that is drawn by thickness. Raises BrokenModelError
    where there is no area to sample, or none that can be seen.
    """
    seen = _spread(surface, count, thin, random)
    seen = seen[np.argsort(_morton(seen.positions), kind="stable")]
    return SurfacePoints(
        seen.positions.astype(np.float16),
        (-seen.inward).astype(np.float16),
        srgb_bytes(colors.at(seen.triangle, seen.barycentric)[:, :3]),
    )


def thickness(
    surface: RaySurface, points: Array, inward: Array, random: np.random.Generator
) -> npt.NDArray[Any]:
    """How thick [N] a model is behind points [N,3] of its surface, along unit vectors `inward` [N,3], world units.

    It ends at the next surface, whatever that is; a sheet, behind which it is outside, has the thickness 0. Cut to
    THIN.
    """
    depth = surface.first_hits(np.concatenate([points + _OFF * inward, inward], axis=1)).distance
    depth[np.isinf(depth)] = 0
    deep = np.flatnonzero(depth > _BEHIND + _OFF)
    behind = (points[deep] + _BEHIND * inward[deep]).astype(np.float32)
    depth[deep[_free_rays(surface, behind, RAYS[0], random) > 0]] = 0
    return np.asarray(depth.clip(*THIN))


def visible_points(surface: RaySurface, count: int, random: np.random.Generator) -> Array:
    """[count,3] first hits of rays from outside, in all directions, at points uniform on the surface."""
    return _spread(surface, count, 0.0, random).positions


@dataclass(frozen=True)
class _Visible:
    """What N rays from outside with `directions` [N,3] hit first, at `positions` [N,3].

    `inward` [N,3] are the normals there, away from where the ray came from.
    """

    positions: Array
    directions: Array
    inward: Array
    triangle: npt.NDArray[np.int64]
    barycentric: Array

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> _Visible:
        return _Visible(
            self.positions[rows],
            self.directions[rows],
            self.inward[rows],
            self.triangle[rows],
            self.barycentric[rows],
        )


def _spread(surface: RaySurface, count: int, thin: float, random: np.random.Generator) -> _Visible:
    """`count` points that can be seen, in any order: about even, but for a share `thin` drawn by thickness.

    Each of these lies, if it can be seen there, in the triangle of one of the even ones, which is drawn with a weight
    of one over the thickness behind it, any number of times.
    """
    even = _visible(surface, _targets(surface, random, int(count * _SPARE) + 1), random)
    even = even[np.arange(count) % len(even.positions)]
    chosen = round(thin * count)
    if not chosen:
        return even
    weights = np.cumsum(1 / thickness(surface, even.positions, even.inward, random))
    drawn = even[np.searchsorted(weights, random.random(chosen) * weights[-1]).clip(max=count - 1)]
    others = _cast(surface, _within(surface, drawn.triangle, random), drawn.directions)
    others = others[np.arange(chosen) % len(others.positions)]
    parts = zip(vars(even[np.arange(count - chosen)]).values(), vars(others).values(), strict=True)
    return _Visible(*(np.concatenate(part) for part in parts))[random.permutation(count)]


def _targets(surface: RaySurface, random: np.random.Generator, count: int) -> Array:
    """Points [count,3] uniform on a surface."""
    corners = surface.vertices[surface.triangles]
    edges = corners[:, 1:] - corners[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    total = float(areas.sum())
    if not (np.isfinite(total) and total > 0):
        raise BrokenModelError(f"its faces have an area of {total / 2:g}")
    chosen = np.searchsorted(np.cumsum(areas) / total, random.random(count)).clip(max=len(areas) - 1)
    return _within(surface, chosen, random)


def _within(surface: RaySurface, triangle: npt.NDArray[np.int64], random: np.random.Generator) -> Array:
    """A point in each of the triangles [N], uniform."""
    corners = surface.vertices[surface.triangles[triangle]]
    weights = random.random((len(triangle), 2))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1, 1 - weights, weights)
    edges = corners[:, 1:] - corners[:, :1]
    return np.asarray(corners[:, 0] + (weights[:, :, None] * edges).sum(axis=1))


def _visible(surface: RaySurface, targets: Array, random: np.random.Generator) -> _Visible:
    """What rays from outside in all directions hit first that are aimed at `targets` [N,3]."""
    return _cast(surface, targets, _directions(len(targets), random))


def _cast(surface: RaySurface, targets: Array, directions: npt.NDArray[Any]) -> _Visible:
    """What rays from outside hit first that are aimed at `targets` [N,3]; those that slip through are left out."""
    origins = targets - _OUTSIDE * directions
    hits = surface.first_hits(np.concatenate([origins, directions], axis=1))
    hit = np.flatnonzero(np.isfinite(hits.distance))
    if not len(hit):
        raise BrokenModelError("no ray from outside meets it")
    normals, directions = hits.normals[hit], directions[hit]
    return _Visible(
        origins[hit] + hits.distance[hit, None] * directions,
        directions,
        normals * np.sign((normals * directions).sum(axis=1, keepdims=True)),
        hits.triangle[hit],
        hits.barycentric[hit],
    )


def _morton(positions: Array) -> npt.NDArray[np.int64]:
    """Place [N] of points [N,3] on the Morton curve (Z-order) through a grid of 1024³ over the cube of `HALF_SIDE`."""
    cells = ((positions + HALF_SIDE) / (2 * HALF_SIDE) * 1024).clip(0, 1023).astype(np.int64)
    codes = np.zeros(len(cells), dtype=np.int64)
    for bit in range(10):
        for axis in range(3):
            codes |= (cells[:, axis] >> bit & 1) << (3 * bit + axis)
    return codes


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
