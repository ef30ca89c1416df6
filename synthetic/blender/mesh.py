"""A fresh Blender mesh of a staged surface, and nothing else: no importer, no modifier, no helper object.

Blender's world is z up; `WORLD_TO_BLENDER` is the one rotation between our world frame (y up, front +z) and it.
"""

from __future__ import annotations

from collections.abc import Collection

import bpy
import numpy as np
import numpy.typing as npt

from synthetic.staging.surface import Floats, Surface, face_normals

WORLD_TO_BLENDER: Floats = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
COLORS = "colors"  # the attribute with the colours of the corners
_FIELDS = {
    "INT": ("value", np.int32),
    "BOOLEAN": ("value", np.bool_),
    "FLOAT2": ("vector", np.float32),
    "FLOAT_VECTOR": ("vector", np.float32),
    "FLOAT_COLOR": ("color", np.float32),
}
_FLAT = np.cos(np.radians(0.5))  # normals that differ less from the face's are the face's


def uv_name(layer: int) -> str:
    """The attribute with the texture coordinates of a layer of Surface.uvs."""
    return f"uv{layer}"


def build_mesh(
    surface: Surface, slots: npt.NDArray[np.integer], uv_layers: Collection[int]
) -> bpy.types.Mesh:
    """A mesh of all triangles, with their material slots [F] and, of the surface's uv layers, those that are used."""
    mesh, count, normals = bpy.data.meshes.new("model"), len(surface), _smooth_normals(surface)
    flat = np.ones(count, dtype=bool) if normals is None else (normals == 0).all(axis=(1, 2))
    mesh.vertices.add(len(surface.positions))
    mesh.loops.add(3 * count)
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    # By name: the same by way of vertices, loops and polygons takes ten times longer and more.
    _set(mesh, "position", "FLOAT_VECTOR", "POINT", surface.positions @ WORLD_TO_BLENDER.T)
    _set(mesh, ".corner_vert", "INT", "CORNER", surface.triangles)
    _set(mesh, "material_index", "INT", "FACE", slots)
    _set(mesh, "sharp_face", "BOOLEAN", "FACE", flat)
    for layer in sorted(set(uv_layers) & set(range(len(surface.uvs)))):
        _set(mesh, uv_name(layer), "FLOAT2", "CORNER", surface.uvs[layer])
    if surface.colors is not None:
        _set(mesh, COLORS, "FLOAT_COLOR", "CORNER", surface.colors)
    mesh.update(calc_edges=True)
    if normals is not None:
        mesh.normals_split_custom_set((normals @ WORLD_TO_BLENDER.T).reshape(-1, 3))
    return mesh


def _set(mesh: bpy.types.Mesh, name: str, kind: str, domain: str, values: npt.NDArray[np.generic]) -> None:
    """Fills an attribute, which is made where the mesh has none of that name."""
    field, dtype = _FIELDS[kind]
    attribute = mesh.attributes.get(name) or mesh.attributes.new(name, kind, domain)
    attribute.data.foreach_set(field, np.ascontiguousarray(values, dtype=dtype).ravel())


def _smooth_normals(surface: Surface) -> npt.NDArray[np.float32] | None:
    """[F,3,3] normals of the corners on the side of their faces, 0 for flat faces; None where all faces are flat."""
    if surface.normals is None:
        return None
    flat = face_normals(surface.positions, surface.triangles)
    cosines = np.einsum("fci,fi->fc", surface.normals, flat)
    normals = np.where(cosines.sum(axis=1)[:, None, None] < 0, -surface.normals, surface.normals)
    curved = np.abs(cosines).min(axis=1) < _FLAT
    return np.where(curved[:, None, None], normals, np.float32(0)) if curved.any() else None
