"""Where an asset's origin is, and how long a unit is: the frame of the model, or metres and a pivot.

Models know no size: every object of theirs fills the same box. `size` says how large it is in metres, `pivot` what
lies at the origin. Axes stay: y up, front towards +z.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import Pivot

Measure = Literal["longest", "height"]
MEASURES = ("longest", "height")


@dataclass(frozen=True, eq=False)
class Placement:
    """What moves points of a mesh: p ↦ `scale` · (p − `origin`)."""

    scale: float
    origin: NDArray[Any]

    def __call__(self, mesh: Mesh) -> Mesh:
        """`mesh` in its place, the rest as it was; the same mesh where nothing moves."""
        if self.scale == 1 and not self.origin.any():
            return mesh
        moved = (mesh.vertices.astype(np.float64) - self.origin) * self.scale
        return replace(mesh, vertices=moved.astype(np.float32))

    def measured(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """`facts` of a mesh with its area and volume as they are in its place."""
        return {**facts, "area": facts["area"] * self.scale**2, "volume": facts["volume"] * self.scale**3}


def placement_of(
    mesh: Mesh, metres: float | None = None, measure: Measure = "longest", pivot: Pivot = "none"
) -> Placement:
    """The placement in which the `measure` of `mesh`, the longest side of its box or its height, is `metres`.

    None: units stay. `pivot` "bottom" is the middle of the box's lower side, "center" the middle of the box. Raises
    ValueError for a mesh without that extent.
    """
    used = mesh.vertices[np.unique(mesh.faces)].astype(np.float64)
    low, high = used.min(axis=0), used.max(axis=0)
    scale = 1.0
    if metres is not None:
        extent = float((high - low)[1] if measure == "height" else (high - low).max())
        if extent <= 0:
            raise ValueError(f"expected a mesh with a {measure} extent, found a flat one")
        scale = metres / extent
    origin = np.zeros(3) if pivot == "none" else (low + high) / 2
    if pivot == "bottom":
        origin[1] = low[1]
    return Placement(scale, origin)
