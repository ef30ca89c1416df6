"""The rays of a view's pixels, and the pixels of which two programs may think differently and both be right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.checks.rays import Array, Hits
from synthetic.dataset import ViewRecord

_INNER = 1e-3  # weight of every corner, off the edges of a triangle
_ASIDE = (
    0.005  # pixels, as far as the renderer's ray may pass beside a pixel's centre (half of its narrow filter)
)
_EDGE = 0.02  # neighbours farther apart than this are the two sides of a depth edge


def pixel_rays(record: ViewRecord, places: npt.NDArray[np.floating | np.integer]) -> tuple[Array, Array]:
    """Origin [3] and directions [...,3] of z-depth 1 of a view's rays, from its entry in cameras.json.

    `places` [...,2] are row and column, pixel centres at integers.
    """
    matrix, pose = np.array(record["intrinsics"]), np.array(record["cam2world"])
    row, column = np.moveaxis(places, -1, 0)
    local = np.stack(
        [
            (column - matrix[0, 2]) / matrix[0, 0],
            -(row - matrix[1, 2]) / matrix[1, 1],
            -np.ones(row.shape),
        ],
        axis=-1,
    )
    return pose[:3, 3], local @ pose[:3, :3].T


def pixel_centres(resolution: int) -> npt.NDArray[np.int64]:
    """[R,R,2] row and column of every pixel."""
    row, column = np.indices((resolution, resolution))
    return np.stack([row, column], axis=-1)


def inside_triangles(hits: Hits) -> npt.NDArray[np.bool_]:
    """[...] rays that hit a triangle off its edges; where triangles meet, two programs may see either of them."""
    inner = np.minimum(hits.barycentric.min(axis=-1), 1 - hits.barycentric.sum(axis=-1)) > _INNER
    return np.asarray(inner)


def wide_enough(
    hits: Hits, vertices: Array, triangles: npt.NDArray[np.int64], focal: float
) -> npt.NDArray[np.bool_]:
    """[...] hits of which the renderer's ray, which may pass beside the pixel's centre, meets the same triangle.

    Of wires seen from afar triangles are narrower than that. `vertices` [V,3] and `triangles` [F,3] are those that
    were hit, `focal` the focal length in pixels.
    """
    corners = vertices[triangles[np.maximum(hits.triangle, 0)]]
    opposite = np.linalg.norm(np.roll(corners, -1, axis=-2) - np.roll(corners, 1, axis=-2), axis=-1)
    edges = corners[..., 1:, :] - corners[..., :1, :]
    area = np.linalg.norm(np.cross(edges[..., 0, :], edges[..., 1, :]), axis=-1)[..., None]
    weights = np.concatenate([1 - hits.barycentric.sum(axis=-1, keepdims=True), hits.barycentric], axis=-1)
    away = (weights * np.divide(area, opposite, out=np.zeros_like(opposite), where=opposite > 0)).min(axis=-1)
    return np.asarray((hits.triangle >= 0) & (away * focal > _ASIDE * hits.distance))


def depth_edges(depth: Array, ground: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.bool_]:
    """[R,R] pixels beside another surface or the background: there a ray may fall to either side.

    None is where a flat `ground` [R,R] alone is seen, whose depth runs fast towards the horizon.
    """
    around = _around(np.where(np.isfinite(depth), depth, 1e3))
    edges = np.abs(around - around[4]).max(axis=0) > _EDGE
    if ground is not None:
        edges &= ~_around(ground).all(axis=0)
    return np.asarray(edges)


def _around(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[9,R,R] every pixel's neighbours and, as the fifth, itself."""
    padded, side = np.pad(values, 1, mode="edge"), len(values)
    return np.stack([padded[y : y + side, x : x + side] for y in range(3) for x in range(3)])
