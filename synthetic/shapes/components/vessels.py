"""Open vessels: a turned wall with an inside, for mugs, vases, buckets and pots."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from synthetic.shapes.curves import arc_lengths
from synthetic.shapes.material import Material
from synthetic.shapes.parts import Part, lathe

OUTSIDE = (
    0.5  # texture rows below this lie on the outer wall (0 is the foot), rows above it on rim and inside
)


def vessel(material: Material, outside: ArrayLike, thickness: float, segments: int = 48) -> Part:
    """Vessel with a wall of the given thickness and a rounded rim, open at the top.

    outside: [P, 2] profile of (radius, height) from the foot up to the rim. Texture rows [0, 0.5] go up the outer wall
    in proportion to its arc length, (0.5, 1] over the rim and down inside. Raises ValueError where the wall leaves no
    room for an inside.
    """
    wall = np.asarray(outside, dtype=np.float64)
    floor = wall[0, 1] + 1.5 * thickness
    inner = wall[wall[:, 1] > floor + 0.25 * thickness][::-1] - np.array([thickness, 0.0])
    rim = wall[-1] + thickness * np.array([[-0.15, 0.35], [-0.5, 0.5], [-0.85, 0.35]])
    bottom = np.array([[radius_at(wall, floor) - thickness, floor], [0.0, floor]])
    down = np.concatenate([rim, inner, bottom])
    if (down[:-1, 0] <= 0).any():
        raise ValueError(
            f"vessel: a wall {thickness} thick does not fit into an outline of radius {wall[:, 0].min()}"
        )
    rows_out = OUTSIDE * arc_lengths(wall) / arc_lengths(wall)[-1]
    rows_in = OUTSIDE + (1 - OUTSIDE) * (1 + np.arange(len(down))) / len(down)
    return lathe(material, np.concatenate([wall, down]), segments, v=np.concatenate([rows_out, rows_in]))


def radius_at(outside: ArrayLike, height: float) -> float:
    """Radius of an outer wall [P, 2] at a height, for handles, bands and fillings."""
    wall = np.asarray(outside, dtype=np.float64)
    return float(np.interp(height, wall[:, 1], wall[:, 0]))
