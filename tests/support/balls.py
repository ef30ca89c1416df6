"""Spheres of two classes and many sizes with everything known: views, cameras, points (docs/dataset.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.rendering.cameras import PARAMETERS, sample_cameras, sample_rays
from tests.support.tiny_dataset import CLASSES, COLORS, save_example, sphere_view, write_header

BOX = 0.55


UPPER = (40, 200, 90)  # base colour of a sphere above its middle, which its pictures do not show


def radius_of(model: int, models: int) -> float:
    """From 0.2 to 0.45."""
    return 0.2 + 0.25 * model / max(models - 1, 1)


def write_balls(
    path: Path,
    *,
    models: int = 6,
    views: int = 3,
    resolution: int = 16,
    points: int = 512,
    surface: int = 0,
) -> Path:
    """Writes `models` spheres, alternately red and blue, each seen `views` times; returns `path`.

    With `surface` points on each sphere come their base colour and that of the views, whose upper half is UPPER.
    """
    cameras = sample_cameras(CAMERAS["shapenet"], models * views, torch.Generator().manual_seed(5))
    rays_o, rays_d = (
        x.numpy().reshape(models, views, resolution, resolution, 3) for x in sample_rays(cameras, resolution)
    )
    flat = cameras.flat().reshape(models, views, 8).tolist()
    draw = np.random.default_rng(3)
    labels, seen = [], {}
    for model in range(models):
        label, radius = model % 2, radius_of(model, models)
        for view in range(views):
            name = f"{CLASSES[label]['wnid']}/ball{model:02d}_{view:03d}.png"
            image, distance = sphere_view(rays_o[model, view], rays_d[model, view], radius, COLORS[label])
            save_example(path / name, image, distance)
            if surface:
                hit = rays_o[model, view] + distance[..., None] * rays_d[model, view]
                base = np.where(hit[..., 1:2] > 0, UPPER, COLORS[label]).astype(np.uint8)
                np.savez(path / f"{name.removesuffix('.png')}_geometry.npz", albedo=base)
            labels.append([name, label])
            camera = dict(zip(PARAMETERS, flat[model][view], strict=True))
            look_at = [camera.pop(f"look_at_{part}") for part in ("yaw", "pitch", "radius")]
            seen[name] = camera | {"look_at": look_at, "model": f"ball/ball{model:02d}"}
        near = draw.normal(size=(points // 2, 3))
        near *= (radius + draw.normal(scale=0.02, size=(points // 2, 1))) / np.linalg.norm(
            near, axis=1, keepdims=True
        )
        positions = np.concatenate([near, draw.uniform(-BOX, BOX, (points - points // 2, 3))]).astype(
            np.float16
        )
        inside = np.linalg.norm(positions.astype(np.float32), axis=1) < radius
        (path / "points" / "ball").mkdir(parents=True, exist_ok=True)
        arrays = {"positions": positions, "occupied": inside}
        if surface:
            normals = draw.normal(size=(surface, 3))
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            arrays |= {
                "surface_positions": (normals * radius).astype(np.float16),
                "surface_normals": normals.astype(np.float16),
                "surface_albedo": np.where(normals[:, 1:2] > 0, UPPER, COLORS[label]).astype(np.uint8),
            }
        np.savez(path / "points" / "ball" / f"ball{model:02d}.npz", **arrays)
    write_header(path, resolution, labels)
    (path / "cameras.json").write_text(json.dumps({"convention": "gp3d-1", "views": seen}))
    return path
