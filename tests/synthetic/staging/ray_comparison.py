"""Whether a model that was read has the shape that a second reader sees, by rays of another library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import open3d

from synthetic.staging.surface import ReadModel, merge
from tests.synthetic.staging.gltf_reference import read_reference

SMALLEST_OVERLAP, LARGEST_ERROR = 0.995, 1e-4

Array = npt.NDArray[Any]


class Rays:
    """Triangles [F,3,3] seen from six sides, all in units of the box around the triangles of the truth."""

    def __init__(self, triangles: Array, low: Array, size: float) -> None:
        self._scene = open3d.t.geometry.RaycastingScene()
        points = ((triangles - low) / size).astype(np.float32).reshape(-1, 3)
        self._scene.add_triangles(points, np.arange(len(points), dtype=np.uint32).reshape(-1, 3))

    def cast(self, axis: int, side: int) -> tuple[Array, Array]:
        """How far parallel rays [64 x 64] go, and the normals of the corners' order where they hit."""
        grid = (np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1).reshape(-1, 2) + 0.37) / 64
        origins = np.insert(grid, axis, -1.0 if side else 2.0, axis=1)
        directions = np.zeros_like(origins)
        directions[:, axis] = 1 if side else -1
        rays = np.concatenate([origins, directions], axis=1).astype(np.float32)
        found = self._scene.cast_rays(open3d.core.Tensor(rays), nthreads=1)
        return found["t_hit"].numpy(), found["primitive_normals"].numpy()


def assert_same_shape(model: ReadModel, content: bytes) -> None:
    """The model has the shape that the second reader finds in the content of a GLB."""
    assert_same_triangles(model, np.array(read_reference(content).triangles))


def assert_same_triangles(model: ReadModel, truth: Array) -> None:
    """The model has the shape of triangles [F,3,3], seen from six sides."""
    low, high = truth.min(axis=(0, 1)), truth.max(axis=(0, 1))
    size = float(np.linalg.norm(high - low))
    surface = merge(model.parts, model.materials)
    read_triangles = surface.positions[surface.triangles]
    assert len(read_triangles) == len(truth) == model.faces
    seen, expected = Rays(read_triangles, low, size), Rays(truth, low, size)
    for axis in range(3):
        for side in range(2):
            depth, normals = seen.cast(axis, side)
            true_depth, true_normals = expected.cast(axis, side)
            mask, true_mask = np.isfinite(depth), np.isfinite(true_depth)
            both = mask & true_mask
            assert true_mask.sum() > 40
            assert both.sum() / (mask | true_mask).sum() >= SMALLEST_OVERLAP
            assert np.median(np.abs(depth[both] - true_depth[both])) <= LARGEST_ERROR
            assert (
                np.mean((normals * true_normals)[both].sum(axis=1) > 0) >= 0.97
            )  # rays along a wall may hit either side
