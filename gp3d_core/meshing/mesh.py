"""A triangle mesh as arrays.

Conventions. Vertices are in the GP3D frame (right-handed, y up, front towards +z, world units), which is the
frame of glTF and of OBJ: Blender's default import turns both upright with the front at -Y. Faces are
counter-clockwise seen from outside. `uv` has its origin at the lower left of the picture, v up, as in OBJ.
Colours are sRGB bytes. V vertices, F faces.

A textured mesh repeats a vertex on both sides of an atlas seam; `merge_positions` closes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.errors import GP3DError


class MeshError(GP3DError):
    """A mesh or mesh file that cannot be used; the message says what was expected and what was found."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh, coloured by a texture, by vertex colours, by both or not at all.

    vertices float32 [V,3], faces int32 [F,3], uv float32 [V,2], texture uint8 [H,W,3], vertex_colors uint8
    [V,3], normals float32 [V,3], seen uint8 [V]: 1 where training cameras looked, 0 where nothing was learnt.
    quads int32 [Q,2]: pairs of faces (a, b, c) and (a, c, d) that are the halves of a quadrilateral (a, b, c, d).
    Raises MeshError if an array has another type or shape, if a face names a vertex that does not exist, or a quad
    a face, or one whose halves do not share the positions of a and c, if a coordinate is not finite, or if a texture
    comes without uv.
    """

    vertices: NDArray[Any]
    faces: NDArray[Any]
    uv: NDArray[Any] | None = None
    texture: NDArray[Any] | None = None
    vertex_colors: NDArray[Any] | None = None
    normals: NDArray[Any] | None = None
    seen: NDArray[Any] | None = None
    quads: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        """Checks types, shapes and indices."""
        count = len(self.vertices)
        _check_array("vertices", self.vertices, np.float32, (None, 3))
        _check_array("faces", self.faces, np.int32, (None, 3))
        _check_array("uv", self.uv, np.float32, (count, 2))
        _check_array("texture", self.texture, np.uint8, (None, None, 3))
        _check_array("vertex_colors", self.vertex_colors, np.uint8, (count, 3))
        _check_array("normals", self.normals, np.float32, (count, 3))
        _check_array("seen", self.seen, np.uint8, (count,))
        _check_array("quads", self.quads, np.int32, (None, 2))
        if len(self.faces) == 0:
            raise MeshError("a mesh needs at least one face, found none")
        if self.faces.min() < 0 or self.faces.max() >= count:
            raise MeshError(
                f"faces name vertices {self.faces.min()} to {self.faces.max()}, there are {count}"
            )
        if self.quads is not None:
            self._check_quads(self.quads)
        if not np.isfinite(self.vertices).all():
            raise MeshError("vertices must be finite, found NaN or infinity")
        if self.texture is not None and self.uv is None:
            raise MeshError("a texture needs uv coordinates, found none")

    def _check_quads(self, quads: NDArray[Any]) -> None:
        """Raises MeshError unless each of them is two faces that share the ends of a diagonal."""
        if len(quads) and (quads.min() < 0 or quads.max() >= len(self.faces)):
            raise MeshError(f"quads name faces {quads.min()} to {quads.max()}, there are {len(self.faces)}")
        first, second = self.faces[quads[:, 0]], self.faces[quads[:, 1]]
        if not np.array_equal(self.vertices[first[:, [0, 2]]], self.vertices[second[:, [0, 1]]]):
            raise MeshError("the halves of a quad must be (a, b, c) and (a, c, d), found other corners")


def merge_positions(mesh: Mesh) -> tuple[NDArray[Any], NDArray[Any]]:
    """Vertices float32 [U,3], every position once, and faces int32 [F,3] over them: seams of an atlas are closed."""
    first, inverse = unique_rows(mesh.vertices)
    return mesh.vertices[first], inverse[mesh.faces].astype(np.int32)


def unique_rows(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Indices [U] of the first occurrence of each float32 row, in order, and for each row its place [V] among them."""
    rows = np.ascontiguousarray(rows, np.float32) + np.float32(0)  # -0 is 0
    bits = rows.view(np.uint32).astype(np.uint64)
    group = bits[:, 0]
    for column in bits[:, 1:].T:
        found, group = np.unique((group << np.uint64(32)) | column, return_inverse=True)
        if len(found) == len(rows):  # whatever the other columns hold
            return np.arange(len(rows)), np.arange(len(rows))
        group = group.astype(np.uint64)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


def _check_array(name: str, array: NDArray[Any] | None, dtype: type, shape: tuple[int | None, ...]) -> None:
    if array is None:
        return
    fits = array.ndim == len(shape) and all(s in (None, a) for s, a in zip(shape, array.shape, strict=True))
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if s is None else str(s) for s in shape)
        raise MeshError(
            f"{name} must be {np.dtype(dtype)} [{wanted}], found {array.dtype} {list(array.shape)}"
        )
