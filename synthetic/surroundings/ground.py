"""A flat ground beneath a model, as more triangles of its surface."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthetic.staging.surface import Material, Surface
from synthetic.surroundings.settings import Color

RADIUS = 10.0  # of the round ground, world units
GAP = 1e-3  # below the lowest point, so that a sheet that lies there is seen
_CORNERS = 64


def with_ground(surface: Surface, color: Color) -> Surface:
    """The surface and a round ground of a matte `color` (linear RGB), whose triangles are of part -1."""
    height = float(surface.positions[:, 1].min()) - GAP
    turn = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    rim = np.column_stack([RADIUS * np.sin(turn), np.full(_CORNERS, height), RADIUS * np.cos(turn)])
    ring = np.arange(_CORNERS)
    first = len(surface.positions)
    triangles = first + np.column_stack([np.zeros_like(ring), 1 + ring, 1 + (ring + 1) % _CORNERS])
    return replace(
        surface,
        positions=np.concatenate([surface.positions, [[0, height, 0]], rim]),
        triangles=np.concatenate([surface.triangles, triangles]),
        material=np.concatenate([surface.material, np.full(_CORNERS, len(surface.materials), np.int32)]),
        materials=(*surface.materials, Material("ground", color)),
        part=np.concatenate([surface.part, np.full(_CORNERS, -1, np.int32)]),
        uvs=tuple(np.concatenate([layer, np.zeros((_CORNERS, 3, 2), np.float32)]) for layer in surface.uvs),
        colors=None
        if surface.colors is None
        else np.concatenate([surface.colors, np.ones((_CORNERS, 3, 4), np.float32)]),
        normals=None
        if surface.normals is None
        else np.concatenate([surface.normals, np.tile(np.array([0, 1, 0], np.float32), (_CORNERS, 3, 1))]),
    )
