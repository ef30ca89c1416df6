"""A fresh Blender mesh of a staged surface, and nothing else: no importer, no modifier, no helper object.

Blender's world is z up; `WORLD_TO_BLENDER` is the one rotation between our world frame (y up, front +z) and it.
"""

from __future__ import annotations

from collections.abc import Collection

import bpy
import numpy as np
import numpy.typing as npt

from synthetic.staging.surface import Floats, Surface, face_normals, instances

WORLD_TO_BLENDER: Floats = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
COLORS = "colors"  # the attribute with the colours of the corners
INSTANCE = "instance"  # the attribute with the instances of the faces
_FIELDS = {
    "INT": ("value", np.int32),
    "FLOAT": ("value", np.float32),
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
    surface: Surface, slots: npt.NDArray[np.integer], uv_layers: Collection[int], with_instances: bool = False
) -> bpy.types.Mesh:
    """A mesh of all triangles, with their material slots [F] and, of the surface's uv layers, those that are used.

    With `with_instances` every face knows the number of its instance.
    """
    mesh, count = bpy.data.meshes.new("model"), len(surface)
    positions, triangles = surface.positions, surface.triangles
    flat: npt.NDArray[np.bool_] = np.ones(count, dtype=bool)
    normals = None  # of the vertices, where anything is shaded smoothly
    if surface.normals is not None:
        flat, of_corners = _shading(surface.normals, face_normals(positions, triangles))
        if not flat.all():
            first, triangles = _split(triangles, of_corners)
            positions = positions.take(surface.triangles.ravel()[first], axis=0)
            normals = of_corners.reshape(-1, 3).take(first, axis=0) @ WORLD_TO_BLENDER.T
    mesh.vertices.add(len(positions))
    mesh.loops.add(3 * count)
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    # By name: the same by way of vertices, loops and polygons takes ten times longer and more.
    _set(mesh, "position", "FLOAT_VECTOR", "POINT", positions @ WORLD_TO_BLENDER.T)
    _set(mesh, ".corner_vert", "INT", "CORNER", triangles)
    _set(mesh, "material_index", "INT", "FACE", slots)
    _set(mesh, "sharp_face", "BOOLEAN", "FACE", flat)
    for layer in sorted(set(uv_layers) & set(range(len(surface.uvs)))):
        _set(mesh, uv_name(layer), "FLOAT2", "CORNER", surface.uvs[layer])
    if surface.colors is not None:
        _set(mesh, COLORS, "FLOAT_COLOR", "CORNER", surface.colors)
    if with_instances:
        _set(mesh, INSTANCE, "FLOAT", "FACE", instances(surface)[0])
    mesh.update(calc_edges=True)
    if normals is not None:
        # Blender takes twice as long for an array instead of a list, and for corners instead of vertices.
        mesh.normals_split_custom_set_from_vertices(normals.tolist())
    return mesh


def _set(mesh: bpy.types.Mesh, name: str, kind: str, domain: str, values: npt.NDArray[np.generic]) -> None:
    """Fills an attribute, which is made where the mesh has none of that name."""
    field, dtype = _FIELDS[kind]
    attribute = mesh.attributes.get(name) or mesh.attributes.new(name, kind, domain)
    attribute.data.foreach_set(field, np.ascontiguousarray(values, dtype=dtype).ravel())


def _split(
    triangles: npt.NDArray[np.int64], normals: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Vertices that have one normal each: the first corner [V] of every one, and the triangles [F,3] of them.

    Normals that differ by less than 1/4096 count as one; Blender keeps no more of them.
    """
    x, y, z = np.round((np.ascontiguousarray(normals.reshape(-1, 3).T) + 1) * 4095).astype(np.int64)
    corner, code = triangles.ravel(), x << 26 | y << 13 | z
    some = np.full(corner.max() + 1, -1)  # a corner of every vertex, whose normal is the vertex's own
    some[corner[::-1]] = np.arange(len(corner))[::-1]
    apart = np.flatnonzero(code != code[some[corner]])
    _, first, others = np.unique(corner[apart] << 39 | code[apart], return_index=True, return_inverse=True)
    used = some >= 0
    vertices = (np.cumsum(used) - 1)[corner]
    vertices[apart] = np.count_nonzero(used) + others
    return np.concatenate([some[used], apart[first]]), vertices.reshape(-1, 3)


def _shading(
    normals: npt.NDArray[np.float32], faces: Floats
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Which faces are flat [F], and the normals [F,3,3] of all corners on the side that their faces show."""
    along, across = np.ascontiguousarray(normals.transpose(1, 2, 0)), np.ascontiguousarray(faces.T)
    cosines = (along * across).sum(axis=1)  # [3,F]: ten times as fast as with the corners last
    flat, turned = np.abs(cosines).min(axis=0) >= _FLAT, np.flatnonzero(cosines.sum(axis=0) < 0)
    shown = normals.copy()
    shown[turned] *= -1
    shown[flat] = faces[flat, None]
    return flat, shown
