"""Meshes packed with Draco (KHR_draco_mesh_compression), unpacked after their header has claimed sane sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.document import Document
from synthetic.staging.gltf.fields import Json, entry, required_integer

_GARBLED = "its Draco data is cut short or garbled"
_HEADER_BYTES = 11
_METADATA = 0x8000
_SEQUENTIAL = 0
_VERTICES_PER_FACE = 3


@dataclass(frozen=True)
class DracoMesh:
    """Triangles [F,3], and by name ("POSITION", ...) the values [V,C] of their vertices as they were stored."""

    triangles: npt.NDArray[np.int64]
    attributes: dict[str, npt.NDArray[Any]]


def unpack(document: Document, packed: Json) -> DracoMesh:
    """What the extension of a primitive holds. Raises BrokenModelError."""
    import DracoPy

    content = bytes(document.view(required_integer(packed, "bufferView"))[0])
    _check_claims(content, document.files.limits.max_faces)
    try:
        mesh = DracoPy.decode(content)
    except (DracoPy.FileTypeException, ValueError, RuntimeError, MemoryError, OverflowError, IndexError):
        raise BrokenModelError(_GARBLED) from None
    faces = getattr(mesh, "faces", None)
    if faces is None:
        raise BrokenModelError("its Draco data holds points, expected triangles")
    by_id = {each["unique_id"]: each["data"] for each in mesh.attributes}
    names = entry(packed, "attributes") or {}
    attributes = {}
    for name in names:
        number = required_integer(names, name)
        if number not in by_id:
            raise BrokenModelError(f"its Draco data has no {name[:40]}, which its glTF promises")
        data = np.asarray(by_id[number])
        attributes[name] = data[:, None] if data.ndim == 1 else data
    return DracoMesh(np.asarray(faces, dtype=np.int64).reshape(-1, 3), attributes)


def _check_claims(content: bytes, most: int) -> None:
    """Reads the sizes that the header claims (Draco bitstream 2.2), before anything is allocated for them."""
    if len(content) < _HEADER_BYTES or content[:5] != b"DRACO":
        raise BrokenModelError(_GARBLED)
    try:
        first, second = _claims(content)
    except IndexError:
        raise BrokenModelError(_GARBLED) from None
    faces, vertices = (first, second) if content[8] == _SEQUENTIAL else (second, first)
    if faces > most or vertices > _VERTICES_PER_FACE * most:
        raise BrokenModelError(f"its Draco data has {faces} faces, more than the {most} allowed")


def _claims(content: bytes) -> tuple[int, int]:
    reader = _Bytes(content, _HEADER_BYTES)
    if int.from_bytes(content[9:11], "little") & _METADATA:
        for _ in range(reader.varint()):
            reader.varint()  # the attribute it is of
            reader.skip_metadata()
        reader.skip_metadata()
    if content[8] != _SEQUENTIAL:
        reader.byte()  # how the triangles are walked
    return reader.varint(), reader.varint()


class _Bytes:
    """Bytes read one after another. Raises IndexError at the end."""

    def __init__(self, content: bytes, start: int) -> None:
        self._content, self._at = content, start

    def byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            part = self.byte()
            value |= (part & 127) << shift
            if part < 128:
                break
        return value

    def skip_metadata(self) -> None:
        """Passes one element and all that lie inside it, each of which begins with its name."""
        self._skip_entries()
        inside = self.varint()
        while inside:
            self._skip(self.byte())
            self._skip_entries()
            inside += self.varint() - 1

    def _skip_entries(self) -> None:
        for _ in range(self.varint()):
            self._skip(self.byte())
            self._skip(self.varint())

    def _skip(self, count: int) -> None:
        self._at += count
