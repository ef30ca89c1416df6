"""A rendered data set made in the test: ellipsoids of two classes, ray-cast in closed form, with cameras and manifest.

Models 0, 1, 2, … of a class differ in height; of every model there are several views. Meshes of the same shapes can
be written as a library in ShapeNet's layout.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import trimesh

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.rendering.cameras import PARAMETERS, Cameras, sample_cameras, sample_rays
from tests.support.tiny_dataset import CLASSES, COLORS, T_FAR, T_NEAR, save_example

SYNSETS = ("03797390", "07734744")


def radii(label: int, model: int) -> np.ndarray:
    """Half axes of a model: upright ones of the first class, flat ones of the second."""
    height = (0.42 if label == 0 else 0.16) + 0.01 * model
    return np.array([0.25, height, 0.25])


def ellipsoid_distance(rays_o: np.ndarray, rays_d: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Distances [...] along unit rays to an ellipsoid about the origin; infinite where it is missed."""
    o, d = rays_o / axes, rays_d / axes
    a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def write_truth(path: Path, *, models: int = 5, views: int = 3, resolution: int = 24) -> Path:
    """Writes `models` models of each of two classes, `views` views of each; every fifth model is held out."""
    total = 2 * models * views
    cameras = sample_cameras(CAMERAS["shapenet"], total, torch.Generator().manual_seed(7))
    rays_o, rays_d = (
        x.numpy().reshape(total, resolution, resolution, 3) for x in sample_rays(cameras, resolution)
    )
    labels, records, manifest = [], {}, {}
    for index in range(total):
        label, model, view = index // (models * views), index // views % models, index % views
        key = f"{SYNSETS[label]}/model{model:02d}"
        distance = ellipsoid_distance(rays_o[index], rays_d[index], radii(label, model))
        color = np.where(np.isfinite(distance)[..., None], COLORS[label], 255).astype(np.uint8)
        name = f"{CLASSES[label]['wnid']}/model{model:02d}_{view:03d}.png"
        save_example(path / name, color, np.where(np.isfinite(distance), distance, 9.0))
        labels.append([name, label])
        records[name] = {"model": key} | camera_record(cameras[index])
        manifest[key] = {"split": "test" if model % 5 == 4 else "train"}
    header = {"format": "gp3d-dataset", "version": 1, "resolution": resolution, "classes": CLASSES}
    header |= {"labels": sorted(labels), "t_near": T_NEAR, "t_far": T_FAR}
    (path / "dataset.json").write_text(json.dumps(header))
    (path / "cameras.json").write_text(json.dumps({"convention": "gp3d-1", "views": records}))
    (path / "manifest.json").write_text(json.dumps({"models": manifest}))
    return path


def camera_record(camera: Cameras) -> dict:
    """A camera [1] as cameras.json says it."""
    values = dict(zip(PARAMETERS, camera.flat()[0].tolist(), strict=True))
    look_at = [values.pop(f"look_at_{name}") for name in ("yaw", "pitch", "radius")]
    return values | {"look_at": look_at}


def write_models(path: Path, *, models: int = 6) -> Path:
    """Writes the same shapes as OBJ files in ShapeNet's layout, with a texture that is missing."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    for label, synset in enumerate(SYNSETS):
        for model in range(models):
            file = path / synset / f"model{model:02d}" / "models" / "model_normalized.obj"
            file.parent.mkdir(parents=True)
            vertices = ball.vertices * radii(label, model)
            lines = ["mtllib model_normalized.mtl", "usemtl paint"]
            lines += ["v {:.6f} {:.6f} {:.6f}".format(*v) for v in vertices]
            lines += ["f {} {} {}".format(*(f + 1)) for f in ball.faces]
            file.write_text("\n".join(lines) + "\n")
    classes = {
        synset: {"wnid": CLASSES[k]["wnid"], "name": CLASSES[k]["name"]} for k, synset in enumerate(SYNSETS)
    }
    (path / "classes.json").write_text(json.dumps(classes))
    return path
