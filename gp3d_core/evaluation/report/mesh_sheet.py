"""The sheet of evaluated meshes: each class above models of the library that it was compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import affordable_size, render_mesh
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.visualization import sheet

CLASSES, COLUMNS = 12, 8  # that are shown at most
_TILE = 128
_FOV = 30.0  # degrees
_YAW, _PITCH = 0.5, 1.2  # from the front, a little from its side and from above
_LIGHT = np.array([-0.6, 0.7, 0.4]) / np.linalg.norm([-0.6, 0.7, 0.4])  # over the camera's left shoulder
_DARK, _BRIGHT = 60, 235


def draw_meshes(groups: Mapping[str, tuple[Sequence[Mesh], Sequence[Mesh]]]) -> Image.Image:
    """Two rows for each class by name: the first of its meshes, and the first of the library's, in the GP3D frame."""
    rows = []
    for name, (made, real) in list(groups.items())[:CLASSES]:
        rows.append((f"{name}: meshes", [picture(mesh) for mesh in made[:COLUMNS]]))
        rows.append((f"{name}: models of the library", [picture(mesh) for mesh in real[:COLUMNS]]))
    return sheet(rows, tile=_TILE)


def picture(mesh: Mesh) -> NDArray[Any]:
    """The mesh in grey, its faces lit by where they point, as large as fits: uint8 [128,128,3], white around."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    corners -= (low + high) / 2
    corners /= max(float(np.linalg.norm(corners, axis=-1).max()), 1e-12)  # now within the unit ball
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-30)
    shade = _DARK + (_BRIGHT - _DARK) * ((1 + normals @ _LIGHT) / 2) ** 2
    lit = Mesh(
        corners.reshape(-1, 3).astype(np.float32),
        np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3),
        vertex_colors=np.repeat(np.rint(shade).astype(np.uint8), 9).reshape(-1, 3),
    )
    radius = 1 / math.sin(math.radians(_FOV / 2))  # the ball touches the edges
    camera = Cameras(
        torch.tensor([[_YAW, _PITCH, 0.0]]), torch.tensor([_FOV]), torch.tensor([radius]), torch.zeros(1, 3)
    )
    seen = Image.fromarray(render_mesh(lit, camera, affordable_size(lit, camera, _TILE)).rgb)
    return np.asarray(seen.resize((_TILE, _TILE), Image.Resampling.NEAREST))
