"""GLB in fewer bytes: numbers of 8 and 16 bits (KHR_mesh_quantization), and meshopt's encoding of them on top.

Positions are 16-bit shares of the longest side of the bounding box, with the same steps along all axes, and the node
scales and moves them back: equal positions stay equal, so that closed surfaces stay closed. Normals have 8 bits,
texture coordinates and linear colours 16. A reader must know the extensions, which the file says.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.colors import save_texture, srgb_to_linear
from gp3d_core.meshing.files.description import GENERATOR, METALLIC, ROUGHNESS, credit, unit_normals
from gp3d_core.meshing.files.formats import library_of
from gp3d_core.meshing.files.glb.packing import pack
from gp3d_core.meshing.mesh import Mesh

_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF's numbers for vertex data and for indices
_TYPES = {"uint8": 5121, "int8": 5120, "uint16": 5123, "uint32": 5125}
MESHOPT = "EXT_meshopt_compression"
QUANTIZATION = "KHR_mesh_quantization"


@dataclass
class _Buffer:
    """The binary chunk as it grows, with the views and accessors into it; `meshopt` encodes what is added."""

    meshopt: Any  # the library, or None
    content: bytearray = field(default_factory=bytearray)
    plain: int = 0  # bytes that the views have once they are decoded
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def _append(self, data: bytes) -> dict[str, Any]:
        self.content += b"\0" * (-len(self.content) % 4)
        self.content += data
        return {"buffer": 0, "byteOffset": len(self.content) - len(data), "byteLength": len(data)}

    def add_picture(self, png: bytes) -> int:
        """The number of a view of the picture's file."""
        self.views.append(self._append(png))
        return len(self.views) - 1

    def add_rows(self, rows: NDArray[Any], *, normalized: bool = False, limits: bool = False) -> int:
        """The number of an accessor of attributes [V,C]; rows are padded to multiples of four bytes, as glTF wants."""
        width = rows.shape[1]
        padded = np.zeros((len(rows), width + -width % (4 // rows.itemsize)), rows.dtype)
        padded[:, :width] = rows
        stride = padded.shape[1] * padded.itemsize
        self._add_view(padded, stride, "ATTRIBUTES", {"byteStride": stride, "target": _ARRAY_BUFFER})
        kind = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}[width]
        bounds = {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()} if limits else {}
        return self._add_accessor(rows, kind, bounds | ({"normalized": True} if normalized else {}))

    def add_indices(self, faces: NDArray[Any]) -> int:
        """The number of an accessor of the triangles [F,3]."""
        flat = faces.reshape(-1).astype(np.uint16 if faces.max() < 65535 else np.uint32)
        self._add_view(flat, flat.itemsize, "TRIANGLES", {"target": _ELEMENT_ARRAY_BUFFER})
        return self._add_accessor(flat, "SCALAR", {})

    def _add_view(self, rows: NDArray[Any], stride: int, mode: str, about: dict[str, Any]) -> None:
        if self.meshopt is None:
            self.views.append(self._append(rows.tobytes()) | about)
            return
        encoded = self._append(self.meshopt.encode_gltf_buffer(rows, mode))
        encoded |= {"byteStride": stride, "count": len(rows), "mode": mode}
        self.plain += -self.plain % 4
        # a reader that cannot decode would look for the plain data in a second buffer, which has none
        place = {"buffer": 1, "byteOffset": self.plain, "byteLength": rows.nbytes}
        self.plain += rows.nbytes
        self.views.append({**place, **about, "extensions": {MESHOPT: encoded}})

    def _add_accessor(self, rows: NDArray[Any], kind: str, about: dict[str, Any]) -> int:
        accessor = {"bufferView": len(self.views) - 1, "count": len(rows), "type": kind}
        self.accessors.append(accessor | {"componentType": _TYPES[rows.dtype.name]} | about)
        return len(self.accessors) - 1


def quantized(mesh: Mesh, name: str, recipe: dict[str, Any], *, meshopt: bool) -> bytes:
    """The content of a GLB file of `mesh`, whose parts are called `name`. Raises LibraryError without the library."""
    buffer = _Buffer(library_of("meshopt") if meshopt else None)
    order, faces = _drawing_order(mesh, buffer.meshopt)
    low = mesh.vertices[order].astype(np.float64).min(axis=0)
    side = float((mesh.vertices[order] - low).max()) or 1.0
    attributes = {
        "POSITION": buffer.add_rows(_shares(mesh.vertices[order], low, side), normalized=True, limits=True)
    }
    if mesh.normals is not None:
        bent = np.round(unit_normals(mesh.normals[order]) * 127).astype(np.int8)
        attributes["NORMAL"] = buffer.add_rows(bent, normalized=True)
    if mesh.uv is not None:
        flipped = np.array([0, 1]) + mesh.uv[order] * np.array([1, -1])
        attributes["TEXCOORD_0"] = buffer.add_rows(_shares(flipped, 0.0, 1.0), normalized=True)
    if mesh.vertex_colors is not None and mesh.texture is None:
        linear = srgb_to_linear(mesh.vertex_colors[order] / 255)
        attributes["COLOR_0"] = buffer.add_rows(_shares(linear, 0.0, 1.0), normalized=True)
    if mesh.seen is not None:
        attributes["_SEEN"] = buffer.add_rows(mesh.seen[order][:, None])
    primitive = {"attributes": attributes, "indices": buffer.add_indices(faces), "material": 0}
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": GENERATOR, "copyright": credit(recipe)},
        "scene": 0,
        "scenes": [{"nodes": [0], "extras": {"gp3d": recipe}}],
        "nodes": [{"name": name, "mesh": 0, "translation": low.tolist(), "scale": [side] * 3}],
        "meshes": [{"name": name, "primitives": [primitive]}],
        **_material(mesh, name, buffer),
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.content)}],  # the chunk may be up to three bytes longer
    }
    needed = [QUANTIZATION]
    if meshopt:
        needed.append(MESHOPT)
        tree["buffers"].append({"byteLength": buffer.plain, "extensions": {MESHOPT: {"fallback": True}}})
    return pack(tree | {"extensionsUsed": needed, "extensionsRequired": needed}, bytes(buffer.content))


def _drawing_order(mesh: Mesh, meshopt: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which vertex [V] comes at each place, and the faces [F,3] over them: as they are, or as meshopt encodes best."""
    if meshopt is None:
        return np.arange(len(mesh.vertices)), mesh.faces
    indices, place, used = meshopt.reorder_mesh(mesh.faces.reshape(-1), triangles=True, optsize=True)
    return np.argsort(place, kind="stable")[:used], np.asarray(indices).reshape(-1, 3)


def _shares(values: NDArray[Any], low: Any, side: float) -> NDArray[Any]:
    return np.round(np.clip((values - low) / side, 0, 1) * 65535).astype(np.uint16)


def _material(mesh: Mesh, name: str, buffer: _Buffer) -> dict[str, Any]:
    shown: dict[str, Any] = {"roughnessFactor": ROUGHNESS, "metallicFactor": METALLIC}
    tree: dict[str, Any] = {"materials": [{"name": name, "pbrMetallicRoughness": shown}]}
    if mesh.texture is None:
        return tree
    shown["baseColorTexture"] = {"index": 0}
    png = io.BytesIO()
    save_texture(mesh.texture, png)
    picture = {"name": name, "mimeType": "image/png", "bufferView": buffer.add_picture(png.getvalue())}
    return tree | {"textures": [{"name": name, "source": 0}], "images": [picture]}
