"""Closed surfaces with pictures, for tests of variants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from synthetic.staging.surface import Material, Surface, Texture, face_normals


def surface_of(mesh: trimesh.Trimesh, *materials: Material, scale: float = 1.0) -> Surface:
    """A mesh as a surface: uv are x and y times a scale, materials take turns, normals are smooth."""
    positions = np.asarray(mesh.vertices, np.float64)
    triangles = np.asarray(mesh.faces, np.int64)
    return Surface(
        positions,
        triangles,
        (np.arange(len(triangles)) % len(materials)).astype(np.int32),
        materials,
        np.zeros(len(triangles), np.int32),
        ((positions[triangles][..., :2] * scale).astype(np.float32),),
        None,
        np.asarray(mesh.vertex_normals, np.float32)[triangles],
    )


def box_surface(sides: tuple[float, float, float], fine: int, *materials: Material) -> Surface:
    """A box on the ground y = 0, cut fine, with flat normals."""
    mesh = trimesh.creation.box(sides)
    for _ in range(fine):
        mesh = mesh.subdivide()
    mesh.apply_translation((0, sides[1] / 2, 0))
    surface = surface_of(mesh, *(materials or (Material("plain"),)))
    flat = face_normals(surface.positions, surface.triangles).astype(np.float32)
    return Surface(
        surface.positions,
        surface.triangles,
        surface.material,
        surface.materials,
        surface.part,
        surface.uvs,
        None,
        np.repeat(flat[:, None], 3, axis=1),
    )


def picture(path: Path, pixels: np.ndarray) -> Texture:
    """A texture of pixels [H,W] or [H,W,C]."""
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return Texture(path)


def stripes(path: Path) -> Texture:
    """Black and white in turn, as of a zebra, with an eye and a ramp of greys."""
    pixels = np.full((32, 32, 3), 255, np.uint8)
    pixels[:, ::4] = pixels[:, 1::4] = 0
    pixels[:8] = np.linspace(0, 255, 8 * 32).reshape(8, 32, 1)
    pixels[30:, 30:] = (90, 50, 20)
    return picture(path, pixels)


def volume(positions: np.ndarray, triangles: np.ndarray) -> float:
    """The signed volume that a closed surface encloses, positive where its normals point outwards."""
    a, b, c = (positions[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)
