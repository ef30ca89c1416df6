"""A photograph and its distances to a relief: two textured meshes and the camera that took the picture.

The relief stands upright in the GP3D frame, with the point on the camera's axis at the median depth in the origin: the
camera is on +z and looks along −z, so views turn it as any object. Where depth is in metres, so is the relief; else the
longer side of the picture is 2 units wide at the origin, as wide as the world of generated objects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.lifting.distances import Distances
from gp3d_core.lifting.layers import STRIP, LayeredDepth, layer
from gp3d_core.lifting.options import BORDER, GRID, Edges
from gp3d_core.lifting.photograph import Photograph
from gp3d_core.lifting.surface import Surface, triangulate
from gp3d_core.meshing.colors import unit_to_bytes
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.signals import Progress, no_progress

_FLAT = 1e-6  # of the nearest: depth that differs less is a plane


@dataclass(frozen=True, eq=False)
class Relief:
    """seen: the mesh of what the camera saw, its texture the photograph itself. filled: that of what it did not see,
    None where nothing is hidden and no border was asked for. The camera is at (0, 0, distance) and looks along −z;
    `fov` is that of the longer side of the picture, in degrees; `size` is (width, height) of the photograph.
    """

    seen: Mesh
    filled: Mesh | None
    fov: float
    distance: float
    size: tuple[int, int]
    revealed: float
    """Share of the picture's cells that have something hidden behind them."""

    @property
    def faces(self) -> int:
        """Triangles of both parts."""
        return len(self.seen.faces) + (0 if self.filled is None else len(self.filled.faces))


def grid_of(width: int, height: int, longest: int = GRID) -> tuple[int, int]:
    """(h, w): cells of a picture of `width` × `height` pixels, about square, no more than pixels."""
    cells = min(longest, max(width, height))
    return max(2, round(cells * height / max(width, height))), max(
        2, round(cells * width / max(width, height))
    )


def lift(
    photograph: Photograph,
    distances: Distances,
    *,
    border: float = BORDER,
    strip: float = STRIP,
    keep: NDArray[Any] | None = None,
    edges: Edges = "sharpened",
    progress: Progress = no_progress,
) -> Relief:
    """The relief of a `photograph` whose `distances` are on a grid of cells; with `border` also around the picture.

    `border`, `strip`, `keep` and `edges` as in `layers.layer`. `progress` hears of the stages edges, filling and
    triangles.
    """
    grid = distances.t.shape
    inverse = 1 / distances.t
    low, high = float(inverse.min()), float(inverse.max())
    span = high - low if high - low > _FLAT * high else high
    height, width = photograph.rgb.shape[:2]
    colors = _cell_colors(photograph.rgb, grid)
    layers = layer(
        (inverse - low) / span, colors, border=border, strip=strip, keep=keep, edges=edges, progress=progress
    )
    progress("triangles", 0, 1)
    surface = triangulate(layers)
    pivot = float(np.median(distances.t if keep is None else distances.t[keep]))
    scale = 1.0 if distances.metric else 1 / (pivot * math.tan(math.radians(photograph.fov) / 2))
    # a filled surface or a corner that carries a slope on may lie beyond the farthest, yet not behind the camera
    t = 1 / np.clip(low + span * surface.q, 0.5 * low, 2 * high)
    in_picture = (surface.place - layers.border) / (grid[1], grid[0])  # from 0 to 1 (column, row)
    plane = at_depth_one(in_picture, (width, height), photograph.fov)
    vertices = np.column_stack([plane * t[:, None], pivot - t]) * scale
    progress("triangles", 1, 1)
    return Relief(
        _part(vertices, surface.seen, in_picture, photograph.rgb),
        _filled_part(vertices, surface, layers),
        photograph.fov,
        pivot * scale,
        (width, height),
        float(layers.revealed.sum() / layers.seen.mask.sum()),
    )


def at_depth_one(in_picture: NDArray[Any], size: tuple[int, int], fov: float) -> NDArray[Any]:
    """Where lines of sight are at depth 1, [...,2] (to the right, upwards), of places [...,2] in a picture of `size`
    (width, height) from 0 to 1 (column, row); `fov` is that of its longer side, in degrees.
    """
    width, height = size
    half = math.tan(math.radians(fov) / 2) / max(size)  # half the width of a pixel
    return (in_picture * 2 - 1) * (width, -height) * half


def _cell_colors(rgb: NDArray[Any], grid: tuple[int, ...]) -> NDArray[Any]:
    """Mean colours [h,w,3] in [0, 1] of the cells of a picture."""
    small = Image.fromarray(rgb).resize((grid[1], grid[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64) / 255


def _filled_part(vertices: NDArray[Any], surface: Surface, layers: LayeredDepth) -> Mesh | None:
    if len(surface.filled) == 0:
        return None
    height, width = layers.filled.mask.shape
    texture = unit_to_bytes(layers.filled.colors_everywhere())
    return _part(vertices, surface.filled, surface.place / (width, height), texture)


def _part(vertices: NDArray[Any], faces: NDArray[Any], place: NDArray[Any], texture: NDArray[Any]) -> Mesh:
    """The mesh of some `faces`, with those of all vertices [V,3] that they use; `place` [V,2] from the upper left."""
    used, renamed = np.unique(faces, return_inverse=True)
    uv = np.column_stack([place[used, 0], 1 - place[used, 1]])
    return Mesh(
        vertices[used].astype(np.float32),
        renamed.reshape(-1, 3).astype(np.int32),
        uv=uv.astype(np.float32),
        texture=np.ascontiguousarray(texture),
    )
