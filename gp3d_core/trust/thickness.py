"""How thick a body is where its surface is: the way straight inwards until the field is thin again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.meshing.cleaning import vertex_normals
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.rendering.volume import Field
from gp3d_core.rng import generator_for
from gp3d_core.trust.supervision import area_weights

POINTS = 1024
STEPS = 128
THIN = 0.02  # of the longest side of the box
_CHUNK = 2**16  # points at a time


@torch.no_grad()
def thickness(
    mesh: Mesh,
    field: Field,
    raw_level: float,
    *,
    points: int = POINTS,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
) -> NDArray[Any]:
    """Thickness float64 [points] at vertices drawn by area, as shares of the longest side of the mesh's box.

    From a vertex the field's raw density is followed against the normal in `steps` steps of a longest side in all,
    until it falls below `raw_level`; between two steps it is taken as linear. A field that stays dense to the end has
    the whole side. Where a vertex lies so far outside that not even the first two steps are dense, it is 0.
    """
    vertices, normals = mesh.vertices.astype(np.float64), vertex_normals(mesh)
    longest = float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    chosen = _drawn(mesh, points)
    way = np.linspace(0, longest, steps + 1)[1:]
    along = vertices[chosen, None] - way[None, :, None] * normals[chosen, None]
    raw = _density(field, along.reshape(-1, 3), device).reshape(points, steps)
    inside = raw > raw_level
    begun = np.where(inside[:, 0], 0, 1)  # a vertex may lie a little outside
    hollow = ~inside & (np.arange(steps) >= begun[:, None])
    end = np.where(hollow.any(axis=1), hollow.argmax(axis=1), steps)
    last = np.clip(end - 1, 0, steps - 1)
    following = np.clip(end, 0, steps - 1)
    rows = np.arange(points)
    fall = raw[rows, last] - raw[rows, following]
    share = np.where(fall > 0, (raw[rows, last] - raw_level) / np.where(fall > 0, fall, 1), 0)
    found = way[last] + np.clip(share, 0, 1) * (longest / steps) * (end < steps)
    nothing = ~inside[:, :2].any(axis=1)
    return np.where(nothing, 0.0, found / longest)


def _drawn(mesh: Mesh, count: int) -> NDArray[Any]:
    """`count` vertices, drawn by their share of the area."""
    draws = torch.rand(count, generator=generator_for("thickness"), dtype=torch.float64).numpy()
    return np.minimum(np.searchsorted(np.cumsum(area_weights(mesh)), draws), len(mesh.vertices) - 1)


def _density(field: Field, places: NDArray[Any], device: torch.device | str) -> NDArray[Any]:
    parts = torch.from_numpy(places.astype(np.float32)).split(_CHUNK)
    return torch.cat([field(part[None].to(device))[1][0, :, 0].cpu() for part in parts]).double().numpy()
