"""A data set made in the test: spheres of two classes, ray-cast in closed form, in the layout of docs/dataset.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gp3d_core.config.cameras import CAMERAS
from gp3d_core.rendering.cameras import sample_cameras, sample_rays

CLASSES = [
    {"label": 0, "name": "coffee mug", "imagenet_index": 504, "wnid": "n03063599", "synset": "03797390"},
    {"label": 1, "name": "mushroom", "imagenet_index": 947, "wnid": "n07734744", "synset": None},
]
COLORS = np.array([[200, 60, 40], [40, 90, 200]], dtype=np.float32)
T_NEAR, T_FAR = 1.45, 2.55


def write_dataset(path: Path, *, images: int = 8, resolution: int = 16) -> Path:
    """Writes `images` pictures of a red or blue sphere of radius 0.3 to 0.45; returns `path`."""
    stream = torch.Generator().manual_seed(5)
    cameras = sample_cameras(CAMERAS["shapenet"], images, stream)
    rays_o, rays_d = (
        x.numpy().reshape(images, resolution, resolution, 3) for x in sample_rays(cameras, resolution)
    )
    labels = []
    for i in range(images):
        label = i % 2
        name = f"{CLASSES[label]['wnid']}/ball{i:02d}_000.png"
        image, distance = sphere_view(rays_o[i], rays_d[i], 0.3 + 0.15 * i / images, COLORS[label])
        save_example(path / name, image, distance)
        labels.append([name, label])
    write_header(path, resolution, labels)
    return path


def write_header(path: Path, resolution: int, labels: list[list]) -> None:
    """The dataset.json of pictures of CLASSES, with `labels` of [name, label]."""
    header = {
        "format": "gp3d-dataset",
        "version": 1,
        "resolution": resolution,
        "classes": CLASSES,
        "labels": sorted(labels),
        "t_near": T_NEAR,
        "t_far": T_FAR,
    }
    (path / "dataset.json").write_text(json.dumps(header))


def sphere_view(
    rays_o: np.ndarray, rays_d: np.ndarray, radius: float, color: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shaded picture uint8 [H,W,3] on white and distance [H,W], T_FAR where the sphere is missed."""
    along = -(rays_o * rays_d).sum(-1)
    inside = radius**2 - ((rays_o**2).sum(-1) - along**2)
    hit = inside > 0
    distance = np.where(hit, along - np.sqrt(np.maximum(inside, 0)), T_FAR)
    normal = (rays_o + distance[..., None] * rays_d) / radius
    shade = 0.6 + 0.4 * np.clip(normal[..., 1:2], 0, 1)
    return np.where(hit[..., None], color * shade, 255).astype(np.uint8), distance


def save_example(path: Path, image: np.ndarray, distance: np.ndarray) -> None:
    """Writes an image and its 16-bit depth map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    normalised = 2 * (distance - (T_NEAR + T_FAR) / 2) / (T_FAR - T_NEAR)
    depth = np.clip(np.rint((normalised + 1) / 2 * 65536), 0, 65535).astype(np.uint16)
    Image.fromarray(depth).save(path.with_name(f"{path.stem}_depth.png"))
