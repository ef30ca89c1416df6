"""Surfaces by marching cubes over a whole grid at once, to compare with."""

from __future__ import annotations

from typing import Any

import mcubes
import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.isosurface import place_corners
from gp3d_core.meshing.mesh import Mesh


def surface_of_grid(sigma: NDArray[Any], *, box: float, level: float) -> Mesh:
    """The surface of `sigma` [N,N,N] > `level` over [-box, box]³, which the box's faces close."""
    padded = np.pad(sigma, 1, constant_values=min(level, float(sigma.min())) - 1)
    vertices, faces = place_corners(*mcubes.marching_cubes(padded, level), box, sigma.shape[0])
    return Mesh(vertices, faces.astype(np.int32))
