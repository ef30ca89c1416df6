"""`python -m synthetic.shapes.sheet OUT.png`: the contact sheet, every class beside its name, several models of each.

Rays are cast with Open3D, no Blender needed. The camera stands where the paper's protocol has it, two
units away and within its spread about the front, and looks a little closer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from synthetic.atomic import writing_whole
from synthetic.shapes.family import Family, Model, build_model
from synthetic.shapes.library import FAMILIES, select_families
from synthetic.shapes.material import linear
from synthetic.shapes.normals import corner_normals

VIEWS = (
    (-0.2, 0.15),
    (0.4, 0.05),
    (-0.45, 0.35),
    (0.15, -0.2),
)  # yaw and elevation of the columns in turn, radians
DISTANCE, FIELD_OF_VIEW = 2.0, np.deg2rad(29.0)
SUPERSAMPLING = 3
SUN = np.array([0.45, 0.75, -0.55]) / np.linalg.norm([0.45, 0.75, -0.55])


def model_picture(model: Model, size: int, yaw: float, elevation: float) -> NDArray[np.float64]:
    """Picture [size, size, 3] in sRGB 0 ... 1 on white from `yaw` (towards +X) and `elevation` off the front."""
    import open3d as o3d

    vertices = np.concatenate([part.vertices for part in model.parts])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    place = np.array([np.sin(yaw) * np.cos(elevation), np.sin(elevation), -np.cos(yaw) * np.cos(elevation)])
    forward, right = -place, np.cross(-place, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    span = np.tan(FIELD_OF_VIEW / 2) * np.linspace(-1, 1, size * SUPERSAMPLING)
    x, y = np.meshgrid(span, -span)
    rays = forward + x[..., None] * right + y[..., None] * np.cross(right, forward)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    for part in model.parts:
        points = ((part.vertices - (low + high) / 2) / np.linalg.norm(high - low)).astype(np.float32)
        scene.add_triangles(o3d.core.Tensor(points), o3d.core.Tensor(part.faces.astype(np.uint32)))
    eye = np.broadcast_to(DISTANCE * place, rays.shape)
    answer = scene.cast_rays(o3d.core.Tensor(np.concatenate([eye, rays], axis=-1).astype(np.float32)))
    hits = {key: answer[key].numpy() for key in ("geometry_ids", "primitive_ids", "primitive_uvs", "t_hit")}
    points = eye + rays * np.where(np.isfinite(hits["t_hit"]), hits["t_hit"] - 2e-4, 0)[..., None]
    sun = np.concatenate([points, np.broadcast_to(SUN, points.shape)], axis=-1).astype(np.float32)
    light = _shaded(model, hits, rays, scene.test_occlusions(o3d.core.Tensor(sun)).numpy())
    light = light.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-6) ** (1 / 2.4) - 0.055)


def _shaded(
    model: Model, hits: dict[str, NDArray[np.float32]], rays: NDArray[np.float64], shadow: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Linear light [H, W, 3] of what the rays hit, white where they miss."""
    picture = np.ones((*hits["t_hit"].shape, 3))
    for number, part in enumerate(model.parts):
        here = (hits["geometry_ids"] == number) & np.isfinite(hits["t_hit"])
        if not here.any():
            continue
        face, (b, c) = hits["primitive_ids"][here].astype(np.int64), hits["primitive_uvs"][here].T
        weights = np.stack([1 - b - c, b, c], axis=1)[:, :, None]
        normal = (corner_normals(part.vertices, part.faces)[face] * weights).sum(axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        image = part.material.texture
        if image is None:
            colour = np.broadcast_to(linear(part.material.colour), normal.shape)
        else:
            u, v = (part.uv[face] * weights).sum(axis=1).T
            row = ((1 - v % 1) * len(image)).astype(int) % len(image)
            texel = image[row, (u % 1 * image.shape[1]).astype(int) % image.shape[1]] / 255
            colour = np.where(texel <= 0.04045, texel / 12.92, ((texel + 0.055) / 1.055) ** 2.4)
        sun = np.maximum(normal @ SUN, 0) * ~shadow[here]
        head = np.maximum(-np.einsum("ij,ij->i", normal, rays[here]), 0)
        half = SUN - rays[here]
        shine = np.maximum(
            np.einsum("ij,ij->i", normal, half / np.linalg.norm(half, axis=1, keepdims=True)), 0
        )
        spark = 0.35 * part.material.gloss * shine ** (10 + 90 * part.material.gloss) * ~shadow[here]
        sky = 0.3 + 0.12 * normal[:, 1]
        picture[here] = np.minimum(colour * (sky + 0.4 * head + 0.6 * sun)[:, None] + spark[:, None], 1)
    return picture


def contact_sheet(
    families: Sequence[Family], seed: int, models: int, tile: int, across: int = 3
) -> Image.Image:
    """The classes, `across` beside each other, `models` pictures of `tile` pixels each, under their names."""
    head = 18
    rows = -(-len(families) // across)
    width = across * (models * tile + 12)
    sheet = Image.new("RGB", (width, rows * (tile + head)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, family in enumerate(families):
        x, y = place % across * (models * tile + 12), place // across * (tile + head)
        pen.text((x + 4, y + 2), family.name, "#333333", font)
        for index in range(models):
            picture = model_picture(build_model(family, seed, index), tile, *VIEWS[index % len(VIEWS)])
            pixels = Image.fromarray(np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8))
            sheet.paste(pixels, (x + index * tile, y + head))
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code, 2 for bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m synthetic.shapes.sheet", description="Draw every class of the procedural library."
    )
    parser.add_argument("out", type=Path, help="picture to write, e.g. docs/shapes.png")
    parser.add_argument("--classes", default="all", help="as for python -m synthetic.shapes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the library (default 0)")
    parser.add_argument("--models", type=int, default=4, help="models of each class (default 4)")
    parser.add_argument("--tile", type=int, default=104, help="pixels of one picture (default 104)")
    options = parser.parse_args(arguments)
    try:
        if min(options.models, options.tile - 15) < 1 or options.seed < 0:
            raise ValueError("--models must be at least 1, --tile at least 16, --seed at least 0")
        families = FAMILIES if options.classes == "all" else select_families(options.classes)
        sheet = contact_sheet(families, options.seed, options.models, options.tile)
        with writing_whole(options.out) as file:
            sheet.save(file, "PNG", optimize=True)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
