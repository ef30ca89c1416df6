"""The engine's grids of density and colour (npz, docs/serve.md) as arrays in Blender's frame. numpy only, no bpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .mesh_bundle import BundleError, read_arrays

FORMAT, VERSION = "gp3d-volume", 1

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Grids:
    """density float32 [N,N,N] and color float32 [N,N,N,3] (linear light): samples at −`box` + `step` · (i, j, k)."""

    density: Array
    color: Array
    box: float

    @property
    def step(self) -> float:
        """How far samples are apart."""
        return 2 * self.box / (len(self.density) - 1)

    def bounds(self, level: float) -> tuple[Array, Array]:
        """The corners of what is denser than `level`, to half a step; of all that is not empty if nothing is."""
        dense = self.density > (level if (self.density > level).any() else 0.0)
        index = np.argwhere(dense) if dense.any() else np.array([[0, 0, 0], np.subtract(dense.shape, 1)])
        low, high = index.min(axis=0), index.max(axis=0)
        return (low - 0.5) * self.step - self.box, (high + 0.5) * self.step - self.box


def read_grids(path: Path) -> Grids:
    """The grids at `path`. Raises BundleError if they are missing, damaged, gigantic, or inconsistent."""
    arrays = read_arrays(path, FORMAT, VERSION)
    try:
        density, color, box = arrays["density"], arrays["color"], float(arrays["box"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path.name} is no readable volume ({type(error).__name__})") from None
    cube = density.ndim == 3 and len(set(density.shape)) == 1 and len(density) > 1
    if not (cube and color.shape == (*density.shape, 3) and color.dtype == np.uint8 and box > 0):
        raise BundleError(f"{path.name} is inconsistent")
    if not (np.isfinite(density).all() and (density >= 0).all()):
        raise BundleError(f"{path.name} has densities that are none")
    return Grids(_turned(density.astype(np.float32)), _turned(_linear(color)), box)


def _turned(values: Array) -> Array:
    """Values at (x, y, z) of the engine, y up, front +z, at (x, −z, y), which is where Blender has them."""
    return np.ascontiguousarray(np.swapaxes(values, 1, 2)[:, ::-1])


def _linear(color: Array) -> Array:
    table = np.arange(256) / 255
    table = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return table[color]
