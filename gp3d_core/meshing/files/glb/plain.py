"""GLB files of others with plain numbers in place of those that trimesh reads wrongly.

trimesh 5.2.0 takes shares of 8 and 16 bits for the whole numbers that they are written as and cuts those of colours to
8 bits, forgets sparse changes, what moves a texture and what a material multiplies colours by, reads the first set of
coordinates whichever is shown, and leaves out fans of triangles:
findings/trimesh_and_open3d_misread_valid_gltf.sh. glTF 2.0 is at registry.khronos.org.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.meshing.files.formats import library_of
from gp3d_core.meshing.files.glb.packing import pack
from gp3d_core.meshing.files.glb.quantized import MESHOPT, QUANTIZATION
from gp3d_core.meshing.mesh import MeshError

_TRANSFORM = "KHR_texture_transform"
READABLE = (QUANTIZATION, MESHOPT, _TRANSFORM)  # extensions that are undone here
_READ_ATTRIBUTES = {"POSITION", "NORMAL", "TEXCOORD_0", "COLOR_0"}
_NUMBERS: dict[int, np.dtype[Any]] = {
    5120: np.dtype("<i1"),
    5121: np.dtype("<u1"),
    5122: np.dtype("<i2"),
    5123: np.dtype("<u2"),
    5125: np.dtype("<u4"),
    5126: np.dtype("<f4"),
}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_WHOLE, _FLOAT = 5125, 5126
_TRIANGLES, _FAN = 4, 6  # how a primitive joins its corners
_MOST = 2**31  # bytes of numbers, all together
_MOST_DECODED = 2**30  # bytes of a view, which meshopt's encoding may announce in a few


@dataclass
class _File:
    """A GLB file whose numbers are made plain: its tree, which is changed, and its chunk, to which they are added."""

    tree: dict[str, Any]
    chunk: bytearray
    made: dict[int, int] = field(default_factory=dict)  # accessors by those that they stand for

    def decode_views(self) -> bool:
        """Replaces the views that meshopt has encoded by their rows; whether there were any."""
        found = False
        for number, view in enumerate(self.tree.get("bufferViews", ())):
            encoded = view.get("extensions", {}).get(MESHOPT)
            if encoded is None:
                continue
            found = True
            count, stride = int(encoded["count"]), int(encoded["byteStride"])
            if not 0 < count * stride <= _MOST_DECODED:
                raise MeshError(
                    f"view {number} has {count} rows of {stride} bytes, at most {_MOST_DECODED} bytes are read"
                )
            content = self._bytes(encoded)
            rows = library_of("meshopt").decode_gltf_buffer(
                content, count, stride, encoded["mode"], encoded.get("filter")
            )
            self.tree["bufferViews"][number] = self._append(np.ascontiguousarray(rows).tobytes()) | {
                key: view[key] for key in ("byteStride", "target") if key in view
            }
        return found

    def mend(self, primitive: dict[str, Any]) -> bool:
        """Points the primitive to plain numbers wherever others would be read wrongly; whether it did."""
        attributes, before = primitive["attributes"], json.dumps(primitive)
        self._place_texture(primitive)
        for name in _READ_ATTRIBUTES & set(attributes):
            if self._is_coded(attributes[name]):
                attributes[name] = self._plain(attributes[name])
        if "indices" in primitive and "sparse" in self.tree["accessors"][primitive["indices"]]:
            primitive["indices"] = self._plain(primitive["indices"])
        if primitive.get("mode", _TRIANGLES) == _FAN:
            self._spread(primitive)
        return json.dumps(primitive) != before

    def color(self, primitive: dict[str, Any]) -> bool:
        """Gives a primitive without a texture its material's colour as that of its vertices; whether it changed."""
        number = primitive.get("material")
        about = {} if number is None else self.tree["materials"][number].get("pbrMetallicRoughness", {})
        factor = np.array(about.get("baseColorFactor", (1, 1, 1, 1)), np.float64)[:3]
        attributes = primitive["attributes"]
        plain = number is not None or "COLOR_0" not in attributes
        if "baseColorTexture" in about or (plain and (factor == 1).all()):
            return False
        if "COLOR_0" in attributes:
            colors = self._values(attributes["COLOR_0"])[:, :3] * factor
        else:
            colors = np.tile(factor, (self._count(attributes["POSITION"]), 1))
        attributes["COLOR_0"] = self._add(colors.astype(np.float32), "VEC3")
        primitive["material"] = len(self.tree.setdefault("materials", []))
        self.tree["materials"].append({})  # trimesh cuts colours that no material is beside to 8 bits
        return True

    def file(self) -> bytes:
        """The whole file again."""
        kept = [
            buffer
            for buffer in self.tree.get("buffers", ())
            if not buffer.get("extensions", {}).get(MESHOPT, {}).get("fallback")
        ]
        kept[:1] = [{"byteLength": len(self.chunk)}]
        return pack(self.tree | {"buffers": kept}, bytes(self.chunk))

    def _is_coded(self, number: int) -> bool:
        accessor = self.tree["accessors"][number]
        return "sparse" in accessor or accessor["componentType"] != _FLOAT

    def _plain(self, number: int) -> int:
        if number not in self.made:
            self.made[number] = self._add(self._values(number), self.tree["accessors"][number]["type"])
        return self.made[number]

    def _add(self, values: NDArray[Any], kind: str) -> int:
        self.tree.setdefault("bufferViews", []).append(self._append(values.tobytes()))
        about = {"bufferView": len(self.tree["bufferViews"]) - 1, "count": len(values), "type": kind}
        self.tree["accessors"].append(
            about | {"componentType": _FLOAT if values.dtype == np.float32 else _WHOLE}
        )
        return len(self.tree["accessors"]) - 1

    def _append(self, data: bytes) -> dict[str, Any]:
        if len(self.chunk) + len(data) > _MOST:  # small files may show the same numbers a thousand times
            raise MeshError(f"its numbers come to more than {_MOST} bytes, at most so many are read")
        self.chunk += b"\0" * (-len(self.chunk) % 4)
        self.chunk += data
        return {"buffer": 0, "byteOffset": len(self.chunk) - len(data), "byteLength": len(data)}

    def _count(self, number: int) -> int:
        """How many rows the accessor has. Raises MeshError where it announces more than there are."""
        accessor = self.tree["accessors"][number]
        count = int(accessor["count"])
        if "bufferView" in accessor:  # else `load_glb` has looked
            self._rows(accessor, _NUMBERS[accessor["componentType"]], count, _WIDTHS[accessor["type"]])
        return count

    def _values(self, number: int) -> NDArray[Any]:
        """The accessor's numbers [N,C] as they are meant: float32, or uint32 of indices."""
        accessor = self.tree["accessors"][number]
        dtype, width, count = (
            _NUMBERS[accessor["componentType"]],
            _WIDTHS[accessor["type"]],
            accessor["count"],
        )
        if "bufferView" in accessor:
            rows = self._rows(accessor, dtype, count, width).copy()
        else:
            rows = np.zeros((count, width), dtype)
        if sparse := accessor.get("sparse"):
            places = _NUMBERS[sparse["indices"]["componentType"]]
            changed = self._rows(sparse["indices"], places, sparse["count"], 1)[:, 0]
            rows[changed] = self._rows(sparse["values"], dtype, sparse["count"], width)
        if accessor["type"] == "SCALAR" and not accessor.get("normalized"):
            return rows.astype(np.uint32)
        if not accessor.get("normalized") or dtype.kind == "f":
            return rows.astype(np.float32)
        return np.maximum(
            rows.astype(np.float64) / (2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1), -1
        ).astype(np.float32)

    def _rows(self, place: dict[str, Any], dtype: np.dtype[Any], count: int, width: int) -> NDArray[Any]:
        """Rows [N,C] of a view, from the offset at `place`. Raises MeshError where they reach beyond it."""
        view = self.tree["bufferViews"][place["bufferView"]]
        content, offset = self._bytes(view), int(place.get("byteOffset", 0))
        stride = int(view.get("byteStride", width * dtype.itemsize))
        end = offset + (count - 1) * stride + width * dtype.itemsize
        if count < 1 or offset < 0 or stride < 1 or end > len(content):
            raise MeshError(f"view {place['bufferView']} has {len(content)} bytes, its numbers need {end}")
        strides = (stride, dtype.itemsize)
        return np.ndarray((count, width), dtype, content, offset, strides)

    def _bytes(self, view: dict[str, Any]) -> bytes:
        """What a view holds. Raises MeshError where that is not in the file."""
        number, start, length = view.get("buffer"), int(view.get("byteOffset", 0)), int(view["byteLength"])
        if number != 0 or "uri" in self.tree["buffers"][0]:
            raise MeshError("coded numbers in another file are not read; write everything into the GLB file")
        if start < 0 or length < 0 or start + length > len(self.chunk):
            raise MeshError(
                f"a view ends at {start + length}, the file has {len(self.chunk)} bytes of numbers"
            )
        return bytes(self.chunk[start : start + length])

    def _place_texture(self, primitive: dict[str, Any]) -> None:
        """Makes the first set of coordinates the one that shows the texture, moved as its material says."""
        materials, attributes = self.tree.get("materials", ()), primitive["attributes"]
        if primitive.get("material") is None:
            return
        shown = materials[primitive["material"]].get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if shown is None:
            return
        moved = shown.get("extensions", {}).get(_TRANSFORM, {})
        name = f"TEXCOORD_{moved.get('texCoord', shown.get('texCoord', 0))}"
        if name not in attributes or (name == "TEXCOORD_0" and not moved):
            return
        angle, scale = float(moved.get("rotation", 0)), np.array(moved.get("scale", (1, 1)), np.float64)
        turned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        uv = (self._values(attributes[name]) * scale) @ turned.T + np.array(moved.get("offset", (0, 0)))
        attributes["TEXCOORD_0"] = self._add(uv.astype(np.float32), "VEC2")

    def _spread(self, primitive: dict[str, Any]) -> None:
        """Makes the triangles of a fan, which share its first corner."""
        if "indices" in primitive:
            corners = self._values(primitive["indices"])[:, 0]
        else:
            corners = np.arange(self._count(primitive["attributes"]["POSITION"]))
        faces = [np.broadcast_to(corners[0], len(corners) - 2), corners[1:-1], corners[2:]]
        indices = np.stack(faces, axis=1).astype(np.uint32).reshape(-1, 1)
        primitive["indices"] = self._add(indices, "SCALAR")
        primitive["mode"] = _TRIANGLES


def plain_glb(tree: dict[str, Any], chunk: bytes) -> bytes | None:
    """A GLB file with plain numbers for those of the tree and chunk that trimesh reads wrongly, None if it reads all.

    Raises MeshError for numbers that are not there, LibraryError without meshopt's library.
    """
    file = _File(tree, bytearray(chunk))
    changed = file.decode_views()
    for mesh in tree.get("meshes", ()):
        for primitive in mesh["primitives"]:
            changed |= file.mend(primitive)
            changed |= file.color(primitive)
    return file.file() if changed else None
