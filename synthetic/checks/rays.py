"""Rays at a surface, by Open3D: what they hit first, whether anything is in their way, how far points are from it.

A place where a material cuts the surface away (alpha "mask") is no surface here, as in the renderer: rays go through
it, and nothing is near to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d

from synthetic.staging.sampling import SurfaceColors
from synthetic.staging.surface import Surface

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Alpha = Callable[[Indices, Array], Array]  # alpha less the cutoff at places of triangles [N]

_RAYS_AT_ONCE = 8192  # of those whose hits are all listed, so that a dense tree stays within memory
_PIECE, _MOST_PIECES = 0.004, 200_000  # longest side of what a cut-out is divided into, world units


@dataclass(frozen=True)
class Hits:
    """Where rays [...] hit first: `distance` in multiples of their directions (inf: nowhere), `triangle` (-1: none).

    `barycentric` [...,2] are the weights of its corners 1 and 2, `normals` [...,3] those of the flat triangles.
    """

    distance: Array
    triangle: Indices
    barycentric: Array
    normals: Array


class RaySurface:
    """Triangles that rays can be cast at."""

    def __init__(
        self,
        vertices: Array,
        triangles: Indices,
        cutouts: npt.NDArray[np.bool_] | None = None,
        alpha: Alpha | None = None,
    ) -> None:
        """`vertices` [V,3] in the world frame, `triangles` [F,3].

        `cutouts` [F] are the triangles of which `alpha` says where they are: where it is below 0 there is nothing.
        """
        self.vertices, self.triangles = vertices, triangles
        self._cutouts = np.zeros(len(triangles), dtype=bool) if cutouts is None else cutouts
        self._alpha = alpha if self._cutouts.any() else None
        self._scene = _scene(vertices, triangles)

    @classmethod
    def of(cls, surface: Surface, colors: SurfaceColors | None = None) -> RaySurface:
        """A staged surface, cut where its materials say so; `colors` are those of the same surface."""
        looked_up = colors or SurfaceColors(surface)
        cutoffs = np.array([material.cutoff for material in surface.materials])
        cutouts = np.array([material.alpha == "mask" for material in surface.materials])[surface.material]

        def above_cutoff(triangle: Indices, barycentric: Array) -> Array:
            alpha = looked_up.alpha(triangle, barycentric)
            return np.asarray(alpha - cutoffs[surface.material[triangle]])

        return cls(surface.positions, surface.triangles, cutouts, above_cutoff)

    def cast(self, origin: Array, directions: Array) -> Hits:
        """What rays from `origin` ([3] or [...,3]) in `directions` [...,3] hit first."""
        rays = np.concatenate([np.broadcast_to(origin, directions.shape), directions], axis=-1)
        hits = self._cast(rays.reshape(-1, 6).astype(np.float32), threads=0)
        shape = directions.shape[:-1]
        return Hits(
            hits.distance.reshape(shape),
            hits.triangle.reshape(shape),
            hits.barycentric.reshape(*shape, 2),
            hits.normals.reshape(*shape, 3),
        )

    def first_hits(self, rays: npt.NDArray[Any]) -> Hits:
        """What rays [N,6] (origin, direction) hit first, by one thread."""
        return self._cast(rays.astype(np.float32), threads=1)

    def blocked(self, rays: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Whether rays [N,6] (origin, direction) hit anything."""
        rays = rays.astype(np.float32)
        blocked = np.asarray(self._scene.test_occlusions(open3d.core.Tensor(rays), nthreads=1).numpy())
        if self._alpha is not None and blocked.any():
            blocked = blocked.copy()
            blocked[blocked] = np.isfinite(self._cast(rays[blocked], threads=1).distance)
        return blocked

    def distance(self, points: npt.NDArray[Any]) -> Array:
        """How far points [N,3] are from the surface; beside a cut within about half a `_PIECE` (inf: all is cut)."""
        query = open3d.core.Tensor(points.astype(np.float32))
        if self._alpha is None or not len(points):
            return np.asarray(self._scene.compute_distance(query, nthreads=1).numpy(), dtype=np.float64)
        near = self._scene.compute_closest_points(query, nthreads=1)
        closest = _doubles(near["points"])
        distance: Array = np.linalg.norm(points.astype(np.float32) - closest, axis=1)
        gone = self._cut(near["primitive_ids"].numpy().astype(np.int64), _doubles(near["primitive_uvs"]))
        if gone.any():
            left = open3d.core.Tensor(points[gone].astype(np.float32))
            pieces = self._pieces
            distance[gone] = pieces.compute_distance(left, nthreads=1).numpy() if pieces else np.inf
        return distance

    def _cast(self, rays: npt.NDArray[np.float32], threads: int) -> Hits:
        found = self._scene.cast_rays(open3d.core.Tensor(rays), nthreads=threads)
        distance = _doubles(found["t_hit"])
        triangle = np.where(np.isfinite(distance), found["primitive_ids"].numpy().astype(np.int64), -1)
        hits = Hits(
            distance,
            triangle,
            _doubles(found["primitive_uvs"]),
            _doubles(found["primitive_normals"]),
        )
        through = np.flatnonzero(self._cut(triangle, hits.barycentric))
        for start in range(0, len(through), _RAYS_AT_ONCE):
            self._go_on(rays, through[start : start + _RAYS_AT_ONCE], hits, threads)
        return hits

    def _go_on(self, rays: npt.NDArray[np.float32], through: Indices, hits: Hits, threads: int) -> None:
        """Sets the hits of those rays that go through a first hole, by all there is on their way."""
        found = self._scene.list_intersections(open3d.core.Tensor(rays[through]), nthreads=threads)
        ray, distance = found["ray_ids"].numpy().astype(np.int64), _doubles(found["t_hit"])
        triangle, places = found["primitive_ids"].numpy().astype(np.int64), _doubles(found["primitive_uvs"])
        order = np.lexsort((distance, ray))
        order = order[~self._cut(triangle[order], places[order])]
        which, first = np.unique(ray[order], return_index=True)
        first = order[first]
        hits.distance[through], hits.triangle[through] = np.inf, -1
        hits.barycentric[through], hits.normals[through] = 0, 0
        rows = through[which]
        hits.distance[rows], hits.triangle[rows] = distance[first], triangle[first]
        hits.barycentric[rows] = places[first]
        a, b, c = self.vertices[self.triangles[triangle[first]]].transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        hits.normals[rows] = normals / np.linalg.norm(normals, axis=1, keepdims=True)

    def _cut(self, triangle: Indices, barycentric: Array) -> npt.NDArray[np.bool_]:
        """Whether there is no surface at places [N] of triangles (-1: none, not cut)."""
        cut = np.zeros(len(triangle), dtype=bool)
        if self._alpha is None:
            return cut
        rows = np.flatnonzero((triangle >= 0) & self._cutouts[triangle])
        cut[rows] = self._alpha(triangle[rows], barycentric[rows]) < 0
        return cut

    @cached_property
    def _pieces(self) -> open3d.t.geometry.RaycastingScene | None:
        """The whole triangles and, divided small, of the others what is not cut away; None where nothing is."""
        if self._alpha is None:
            return self._scene
        whole = np.flatnonzero(~self._cutouts)
        kept = [self.vertices[self.triangles[whole]]]
        rows = np.flatnonzero(self._cutouts)
        corners = self.vertices[self.triangles[rows]]
        longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
        step = max(_PIECE, float(np.sqrt((longest**2).sum() / _MOST_PIECES)))
        parts = np.ceil(longest / step).astype(int).clip(1)
        for count in np.unique(parts):
            weights = _divided(int(count))
            chosen = parts == count
            centres = np.tile(weights.mean(axis=1)[:, 1:], (int(chosen.sum()), 1))
            there = self._alpha(np.repeat(rows[chosen], len(weights)), centres) >= 0
            kept.append((weights[None] @ corners[chosen][:, None]).reshape(-1, 3, 3)[there])
        pieces = np.concatenate(kept).reshape(-1, 3)
        return _scene(pieces, np.arange(len(pieces)).reshape(-1, 3)) if len(pieces) else None


def _scene(vertices: Array, triangles: Indices) -> open3d.t.geometry.RaycastingScene:
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(vertices.astype(np.float32), triangles.astype(np.uint32))
    return scene


def _doubles(values: open3d.core.Tensor) -> Array:
    return np.asarray(values.numpy(), dtype=np.float64)


def _divided(count: int) -> Array:
    """Weights [count²,3,3] of the corners of the triangles that a triangle is divided into, each side in so many."""
    row, column = np.mgrid[: count + 1, : count + 1]
    at = np.stack([count - row - column, row, column], axis=-1) / count
    upright = row + column < count
    upright[-1] = upright[:, -1] = False
    turned = row + column < count - 1
    turned[-1] = turned[:, -1] = False
    pieces = []
    for there, steps in ((upright, ((0, 0), (1, 0), (0, 1))), (turned, ((1, 0), (1, 1), (0, 1)))):
        r, c = np.nonzero(there)
        pieces.append(np.stack([at[r + dr, c + dc] for dr, dc in steps], axis=1))
    return np.concatenate(pieces)
