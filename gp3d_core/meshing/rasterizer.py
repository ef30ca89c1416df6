"""Pictures of meshes by z-buffer, on a CPU: what a mesh looks like from the cameras of the field it came from.

Unlit: colours are the mesh's own. Pixel centres and distances are those of `cameras.sample_rays`, so that pictures
of mesh and field can be compared pixel by pixel. V vertices, h picture size, C candidates (face, pixel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gp3d_core.meshing.colors import sample_texture
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.texture.texels import (
    barycentric,
    candidate_count,
    candidates,
    centres,
    face_batches,
    weighted,
)
from gp3d_core.rendering.cameras import Cameras, cam2world

_NEAREST = 1e-6  # what is closer to the camera's plane is not drawn
_MOST_CANDIDATES = 10**7  # of a picture of a stranger's mesh: some seconds; few meshes have a fifth of it
_SMALLEST = 16  # pixels a side of it
_AT_ONCE = 2**19  # candidates, of which the last of several at the same distance is seen
_SLACK = 0.01  # of the distance: how far behind the nearest surface a vertex may lie and still be seen


@dataclass(frozen=True, eq=False)
class MeshView:
    """rgb uint8 [h,h,3], white where nothing is; depth float64 [h,h], the distance along the ray, else infinity."""

    rgb: NDArray[Any]
    depth: NDArray[Any]

    @property
    def mask(self) -> NDArray[Any]:
        """Whether there is a surface, bool [h,h]."""
        return np.isfinite(self.depth)


def render_mesh(mesh: Mesh, camera: Cameras, size: int) -> MeshView:
    """The picture of `mesh` that one camera [1] sees, `size` pixels wide and high; grey without colours."""
    pixel, ahead, _ = project(mesh.vertices, camera, size)
    depth = np.full(size * size, np.inf)
    rgb = np.full((size * size, 3), 255, np.uint8)
    in_front = ahead > _NEAREST
    drawn = mesh.faces if in_front.all() else mesh.faces[in_front[mesh.faces].all(axis=1)]
    for some in face_batches(pixel[drawn], size, bleed=0.0, most=_AT_ONCE):
        corners = drawn[some]
        face, place = candidates(pixel[corners], size, bleed=0.0)
        corners = corners[face]
        weights, inside = barycentric(centres(place, size), pixel[corners])
        hit = inside >= -1e-9
        corners, place = corners[hit], place[hit]
        weights = weights[hit] / ahead[corners]
        weights /= weights.sum(axis=1, keepdims=True)
        points = weighted(weights, mesh.vertices, corners)
        distance = np.linalg.norm(points - _origin(camera), axis=1)
        nearer = np.flatnonzero(distance < depth[place])
        nearer = nearer[
            np.argsort(-distance[nearer], kind="stable")
        ]  # of several, the nearest is written last
        depth[place[nearer]] = distance[nearer]
        rgb[place[nearer]] = _colors(mesh, corners[nearer], weights[nearer])
    return MeshView(rgb.reshape(size, size, 3), depth.reshape(size, size))


def affordable_size(mesh: Mesh, camera: Cameras, size: int) -> int:
    """Pixels a side, at most `size`, of a picture of `mesh` that takes seconds.

    There are fewer where thousands of faces that each fill the picture lie over one another, as in files of strangers.
    """
    pixel, ahead, _ = project(mesh.vertices, camera, size)
    drawn = mesh.faces[(ahead[mesh.faces] > _NEAREST).all(axis=1)]
    share = _MOST_CANDIDATES / max(candidate_count(pixel[drawn], size, bleed=0.0), 1)
    return size if share >= 1 else max(_SMALLEST, int(size * share**0.5))


def seen_vertices(mesh: Mesh, cameras: Cameras, size: int = 96) -> NDArray[Any]:
    """Which vertices at least one of the cameras [B] sees, bool [V]: in the picture and not behind a surface."""
    seen = np.zeros(len(mesh.vertices), bool)
    bare = Mesh(mesh.vertices, mesh.faces)
    for index in range(len(cameras)):
        camera = cameras[index]
        depth = render_mesh(bare, camera, size).depth
        pixel, ahead, distance = project(mesh.vertices, camera, size)
        shown = (ahead > _NEAREST) & (pixel >= 0).all(axis=1) & (pixel <= size - 1).all(axis=1)
        column, row = np.clip(np.floor(pixel), 0, size - 2).astype(int).T
        around = [depth[row + i, column + j] for i in (0, 1) for j in (0, 1)]
        farthest = np.max(np.where(np.isfinite(around), around, -np.inf), axis=0)
        edge = ~np.isfinite(around).all(axis=0)  # at the silhouette a vertex may lie between empty pixels
        seen |= shown & ((distance <= farthest * (1 + _SLACK)) | (edge & (farthest == -np.inf)))
    return seen


def project(
    vertices: NDArray[Any], camera: Cameras, size: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Pixel positions [V,2] (column, row), distances [V] in front of the camera's plane and from the camera."""
    pose = cam2world(camera)[0].double().numpy()
    local = (vertices - pose[:3, 3]) @ pose[:3, :3]
    ahead = -local[:, 2]
    half = np.tan(np.deg2rad(float(camera.fov[0])) / 2) * np.where(np.abs(ahead) > _NEAREST, ahead, np.inf)
    plane = local[:, :2] / half[:, None]
    pixel = np.stack([plane[:, 0] + 1, 1 - plane[:, 1]], axis=1) * (size - 1) / 2
    return pixel, ahead, np.linalg.norm(local, axis=1)


def _origin(camera: Cameras) -> NDArray[Any]:
    origin: NDArray[Any] = cam2world(camera)[0, :3, 3].to(torch.float64).numpy()
    return origin


def _colors(mesh: Mesh, corners: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Colours uint8 [C,3] at points with barycentric `weights` [C,3] in faces with vertices `corners` [C,3]."""
    if mesh.texture is not None and mesh.uv is not None:
        uv = weighted(weights, mesh.uv, corners)
        return sample_texture(
            mesh.texture, np.where((uv < 0) | (uv > 1), uv % 1, uv)
        )  # as files mean: repeated
    if mesh.vertex_colors is not None:
        mixed = weighted(weights, mesh.vertex_colors, corners)
        return np.round(mixed).astype(np.uint8)
    return np.full((len(corners), 3), 204, np.uint8)
