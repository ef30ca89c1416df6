"""Surfaces put together again from the depth of many views, to see whether views and cameras fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open3d
import trimesh

from synthetic.checks.rays import RaySurface
from synthetic.dataset import ViewRecord

_SIDE, _VOXELS = 1.2, 150  # of the cube around the unit-diagonal model
_TRUNCATION = 5 * _SIDE / _VOXELS
_POINTS = 20_000


@dataclass(frozen=True)
class Chamfer:
    """Mean distances, world units: from the fused surface to the model, and from the model to the fused surface.

    The second counts inner surfaces that no camera sees.
    """

    fused_to_model: float
    model_to_fused: float


def fuse_views(folder: Path, views: Mapping[str, ViewRecord]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Vertices [V,3] and triangles [F,3] of the surface that the views' z-depth and cameras give (Open3D TSDF).

    `views` are entries of cameras.json of one model.
    """
    integration = open3d.pipelines.integration
    volume = integration.UniformTSDFVolume(
        length=_SIDE,
        resolution=_VOXELS,
        sdf_trunc=_TRUNCATION,
        color_type=integration.TSDFVolumeColorType.NoColor,
        origin=np.full((3, 1), -_SIDE / 2),
    )
    for name, view in views.items():
        with np.load(folder / f"{name.removesuffix('.png')}_geometry.npz", allow_pickle=False) as arrays:
            depth = np.where(arrays["mask"], arrays["z_depth"], 0).astype(np.float32)
        side, matrix = len(depth), np.array(view["intrinsics"])
        pinhole = open3d.camera.PinholeCameraIntrinsic(
            side, side, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        )
        black = open3d.geometry.Image(np.zeros((side, side, 3), np.uint8))
        picture = open3d.geometry.RGBDImage.create_from_color_and_depth(
            black,
            open3d.geometry.Image(depth),
            depth_scale=1.0,
            depth_trunc=100.0,
            convert_rgb_to_intensity=False,
        )
        pose = np.array(view["cam2world"]) @ np.diag([1.0, -1.0, -1.0, 1.0])  # to y down, z forward
        volume.integrate(picture, pinhole, np.linalg.inv(pose))
    mesh = volume.extract_triangle_mesh()
    return np.asarray(mesh.vertices), np.asarray(mesh.triangles)


def chamfer(folder: Path, views: Mapping[str, ViewRecord], surface: RaySurface) -> Chamfer | None:
    """How far the fused surface and the model are apart; None where the views give no surface."""
    vertices, triangles = fuse_views(folder, views)
    if not len(triangles):
        return None
    fused, seed = RaySurface(vertices, triangles.astype(np.int64)), np.random.default_rng(0)
    there = surface.distance(_points_on(fused, seed))
    back = fused.distance(_points_on(surface, seed))
    return Chamfer(float(there.mean()), float(back.mean()))


def _points_on(surface: RaySurface, seed: np.random.Generator) -> npt.NDArray[np.float64]:
    mesh = trimesh.Trimesh(surface.vertices, surface.triangles, process=False)
    points, _ = trimesh.sample.sample_surface(mesh, _POINTS, seed=seed)
    return np.asarray(points)
