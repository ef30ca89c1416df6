"""A data set of boxes, ray-cast in closed form, and the library of the same boxes: what exports are held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull

from synthetic import dataset, dataset_index
from synthetic.dataset import ModelSource, RenderedView, Settings
from synthetic.export import main
from synthetic.layouts.licences import Credit, licence_lines
from synthetic.layouts.shapenet import Model, load_library
from synthetic.staging.stage import stage_model
from synthetic.staging.treatment import ModelLimits, Treatment
from synthetic.viewpoints import Viewpoint
from tests.synthetic import small_library as library

SIDE = 40
GROUNDED = 4  # the view behind whose box something else is seen: depth everywhere, a mask of the box alone
CREDIT = Credit("nobody", "CC0-1.0", "these tests", "none")
SETTINGS = Settings(resolution=SIDE, normals=True)
# lowest and highest corner in our world frame; of no symmetry, and not about the origin
BOXES = {
    "02876657/high": ((-0.1, -0.3, -0.12), (0.16, 0.38, 0.2)),
    "03797390/wide": ((-0.35, -0.1, -0.05), (0.3, 0.12, 0.25)),
    "04379243/slab.2": ((-0.3, -0.02, -0.3), (0.34, 0.09, 0.2)),
}
VIEWPOINTS = [Viewpoint(yaw=0.7 * k - 1, pitch=1.2 + 0.15 * k, fov=40.0) for k in range(5)]


def write_library(root: Path) -> Path:
    """The boxes in ShapeNet's layout."""
    library.write_facts(root)
    for key, (low, high) in BOXES.items():
        mesh = library.trimesh.creation.box(bounds=[low, high])
        library.write_model(root, key, [library.Part(mesh, library.RED)])
    (root / "licences.jsonl").write_text(licence_lines(dict.fromkeys(BOXES, CREDIT)))
    return root


def write_boxes(folder: Path, models: Path, scratch: Path) -> Path:
    """A data set of the library's boxes, seen from VIEWPOINTS; arrays that nobody knows lie among the others."""
    for model in load_library(models):
        staged = stage_model(model.path, model.folder, scratch, ModelLimits(), Treatment())
        source = ModelSource(staged.sha256, staged.faces, staged.to_world)
        for number, viewpoint in enumerate(VIEWPOINTS):
            _write_view(folder, model, number, viewpoint, source)
    dataset_index.write_index(folder, SETTINGS, {}, {"name": "test"}, "CC0 1.0")
    (folder / "points").mkdir()
    (folder / "points/points.json").write_text("{}")
    return folder


def _write_view(folder: Path, model: Model, number: int, viewpoint: Viewpoint, source: ModelSource) -> None:
    z_depth = box_depth(viewpoint, *BOXES[model.key])
    mask = np.isfinite(z_depth)
    color = np.where(mask[..., None], (200, 30, 10 + number), 255).astype(np.uint8)
    normals = np.where(mask[..., None], (0.0, 1.0, 0.0), 0.0).astype(np.float32)
    z_depth = np.where(mask | (number != GROUNDED), z_depth, 3.0)
    seen = RenderedView(color, z_depth.astype(np.float32), mask, normals)
    dataset.write_view(folder, model, number, viewpoint, seen, SETTINGS, source)


def box_depth(viewpoint: Viewpoint, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    """[SIDE,SIDE] z-depth of a box by its slabs (docs/dataset.md: pixel centres at integers), inf beside it."""
    centre = (SIDE - 1) / 2
    focal = centre / np.tan(np.radians(viewpoint.fov) / 2)
    v, u = np.mgrid[:SIDE, :SIDE]
    pose = viewpoint.cam2world()
    rays = np.stack([(u - centre) / focal, -(v - centre) / focal, -np.ones(u.shape)], -1) @ pose[:3, :3].T
    near, far = ((np.array(corner) - pose[:3, 3]) / rays for corner in (low, high))
    first, last = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    return np.where(first <= last, first, np.inf)


def corners(key: str) -> np.ndarray:
    """[8,3] of a box, world."""
    low, high = BOXES[key]
    return np.array([[(low, high)[k >> axis & 1][axis] for axis in range(3)] for k in range(8)])


def distance_to_box(points: np.ndarray, key: str) -> np.ndarray:
    """[N] of world points [N,3] from the surface of a box."""
    low, high = (np.array(corner) for corner in BOXES[key])
    outside = np.maximum(np.maximum(low - points, points - high), 0)
    inside = np.minimum(points - low, high - points).min(-1).clip(0)
    return np.linalg.norm(outside, axis=-1) + inside


def inside_outline(outline: np.ndarray, pixels: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Which of `pixels` [N,2] lie in the convex hull of `outline` [8,2] by more than `margin`; which beyond it."""
    equations = ConvexHull(outline).equations
    beyond = (pixels @ equations[:, :2].T + equations[:, 2]).max(-1)
    return beyond < -margin, beyond > margin


def export(*arguments: object) -> int:
    """Runs `python -m synthetic.export`; the exit status."""
    return main([str(argument) for argument in arguments])


def files_in(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
