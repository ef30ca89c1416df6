"""How well training cameras saw each place of a surface.

Cameras are drawn from the prior that the generator was trained with. A camera counts for a vertex with the cosine
between its normal and the direction to the camera, 1 seen squarely, 0 at a grazing angle, if nothing lies between.
V vertices, F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.config.schema import CameraConfig
from gp3d_core.meshing.cleaning import vertex_normals
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.rasterizer import seen_vertices
from gp3d_core.rendering.cameras import Cameras, cam2world, sample_cameras
from gp3d_core.rng import generator_for

CAMERAS = 24
ENOUGH = 0.125  # of the cameras, seen squarely: from there on a place is well supervised


@dataclass(frozen=True, eq=False)
class Supervision:
    """Of each vertex whether any camera sees it, bool [V], and how well it is supervised, float32 [V] from 0 to 1.

    `weights` float64 [V] are the vertices' shares of the area; their sum is 1.
    """

    seen: NDArray[Any]
    amount: NDArray[Any]
    weights: NDArray[Any]

    @property
    def never_seen(self) -> float:
        """Share of the area that no camera sees."""
        return float(self.weights[~self.seen].sum())

    @property
    def well(self) -> float:
        """Share of the area that is well supervised."""
        return float(self.weights[self.amount >= 1].sum())


def training_cameras(config: CameraConfig, count: int = CAMERAS) -> Cameras:
    """Cameras [count] of the prior of training, always the same."""
    return sample_cameras(config, count, generator_for("supervision"))


def supervision(mesh: Mesh, cameras: Cameras) -> Supervision:
    """What the cameras [B] see of the `mesh`."""
    normals = vertex_normals(mesh)
    vertices = mesh.vertices.astype(np.float64)
    seen = np.zeros(len(vertices), bool)
    squarely = np.zeros(len(vertices))
    for index in range(len(cameras)):
        camera = cameras[index]
        towards = cam2world(camera)[0, :3, 3].double().numpy() - vertices
        towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
        cosine = np.einsum("vd,vd->v", normals, towards)
        found = seen_vertices(mesh, camera)
        seen |= found
        squarely += np.where(found, np.clip(cosine, 0, 1), 0)
    amount = np.minimum(squarely / (ENOUGH * len(cameras)), 1).astype(np.float32)
    return Supervision(seen, amount, area_weights(mesh))


def area_weights(mesh: Mesh) -> NDArray[Any]:
    """Every vertex's share [V] of the area: a third of the faces that meet there; even for a mesh without area."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weights = np.bincount(mesh.faces.reshape(-1), np.repeat(area, 3), len(mesh.vertices))
    total = float(weights.sum())
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
