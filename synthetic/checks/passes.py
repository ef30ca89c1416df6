"""Passes of a view (position, instance, roughness, metallic) compared with what Open3D's rays hit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.checks.models import Truth
from synthetic.checks.pixels import depth_edges, inside_triangles, pixel_centres, pixel_rays, wide_enough
from synthetic.checks.rays import Array, Hits
from synthetic.dataset import ViewRecord
from synthetic.staging.surface import instances

_NEAR = 1e-5  # of the camera's radius, or of the distance where that is more: two places that are one
_CENTRED = (
    1e-3  # pixels, by which the renderer's rays miss the centres: on a slanting face that is farther along it
)
_GRAZING = 0.1  # cosine of the steepest slant that is allowed for
_HALF_A_BYTE = 0.5 / 255  # of roughness and metal


def score_passes(
    asked: Sequence[str],
    arrays: Mapping[str, npt.NDArray[Any]],
    record: ViewRecord,
    truth: Truth,
    hits: Hits,
) -> dict[str, float]:
    """By name, the share of a view's pixels off all edges in which a pass is not the truth; 1 where it is missing.

    Empty where the view shows too little to tell.
    """
    sure = np.isfinite(hits.distance) & inside_triangles(hits)
    sure &= ~depth_edges(hits.distance, truth.is_ground(hits))
    sure &= wide_enough(hits, truth.rays.vertices, truth.rays.triangles, record["intrinsics"][0][0])
    if not sure.any():
        return {}
    off = {
        name: _off(name, arrays[name][sure], record, truth, hits, sure) for name in asked if name in arrays
    }
    return {name: float(off[name].mean()) if name in off else 1.0 for name in asked}


def _off(
    name: str,
    found: npt.NDArray[Any],
    record: ViewRecord,
    truth: Truth,
    hits: Hits,
    sure: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Which of the sure pixels [N] are not as they should be."""
    triangle = hits.triangle[sure]
    if name == "position":
        origin, directions = pixel_rays(record, pixel_centres(len(sure)))
        away = directions[sure] * hits.distance[sure][:, None]
        length = np.linalg.norm(away, axis=1)
        facing = np.abs((hits.normals[sure] * away).sum(axis=1)) / length
        near = _NEAR * np.maximum(record["radius"], length)
        aslant = _CENTRED * length / record["intrinsics"][0][0] / np.maximum(facing, _GRAZING)
        return np.asarray(~(np.linalg.norm(found - (origin + away), axis=1) <= near + aslant))
    if name == "instance":
        return np.asarray(found != instances(truth.surface)[0][triangle])
    expected: Array = truth.colors.roughness_metallic(triangle, hits.barycentric[sure])
    return np.asarray(~(np.abs(found - expected[:, 0 if name == "roughness" else 1]) <= _HALF_A_BYTE))
