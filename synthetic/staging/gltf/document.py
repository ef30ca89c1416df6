"""A glTF file as it was read: its JSON, its buffers, and what is said when a promise of colour is not kept."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections import Counter
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.files import ModelFiles
from synthetic.staging.gltf.fields import Json, entries, entry, integer, required_integer, text
from synthetic.staging.treatment import Treatment

_JSON, _BIN = 0x4E4F534A, 0x004E4942
_MAX_VALUES = (
    4_000_000  # of the JSON: each takes about 100 bytes of memory, and a hundred primitives have 3000
)
_MESHOPT = ("EXT_meshopt_compression", "KHR_meshopt_compression", "MESHOPT_compression")
_MESHOPT_REASON = (
    "it is packed with meshopt ({name}), which is not unpacked here: unpack it with "
    "'gltfpack -noq -i IN.glb -o OUT.glb', or export it again without compression"
)


class Document:
    """The content of one file; lists of it are asked for with `at`, buffers are read when they are first asked for."""

    def __init__(self, files: ModelFiles, treatment: Treatment, scene: Json, binary: bytes | None) -> None:
        """`scene` is the JSON, `binary` the second chunk of a GLB."""
        self.files, self.treatment, self.json = files, treatment, scene
        self.notes: Counter[str] = Counter()
        self._binary = binary
        self._lists: dict[str, list[Json]] = {}
        self._buffers: dict[int, bytes] = {}

    def every(self, kind: str) -> list[Json]:
        """All entries of a top-level list ("nodes", "meshes", ...)."""
        if kind not in self._lists:
            self._lists[kind] = entries(self.json, kind)
        return self._lists[kind]

    def at(self, kind: str, number: int) -> Json:
        """Entry `number` of a top-level list. Raises BrokenModelError where there is none."""
        found = self.every(kind)
        if number >= len(found):
            raise BrokenModelError(f"its glTF names entry {number} of {kind}, of which it has {len(found)}")
        return found[number]

    def miss(self, reason: str) -> None:
        """Says that a colour of the file cannot be given: raises BrokenModelError, or notes it, by the treatment."""
        if self.treatment.missing_textures == "fail":
            raise BrokenModelError(reason)
        self.notes[reason] += 1

    def view(self, number: int) -> tuple[memoryview, int]:
        """The bytes of a buffer view, and its stride (0: none said)."""
        view = self.at("bufferViews", number)
        buffer = memoryview(self._buffer(required_integer(view, "buffer"), view))
        start, length = integer(view, "byteOffset") or 0, required_integer(view, "byteLength")
        if start + length > len(buffer):
            raise BrokenModelError(
                f"its glTF has a view of {length} bytes from byte {start} on of a buffer of {len(buffer)}"
            )
        return buffer[start : start + length], integer(view, "byteStride") or 0

    def content(self, uri: str) -> bytes:
        """The bytes that a data URI holds, or those of the file it names below the model's folder."""
        if uri[:5].lower() == "data:":
            return _data(uri)
        path = self._find(uri)
        if path is None:
            raise BrokenModelError(f"{_name(uri)} is missing from the model's folder")
        return self.files.read(path)

    def _find(self, uri: str) -> Path | None:
        if "://" in uri:
            return None  # nothing is fetched from elsewhere
        folder = self.files.path.parent
        return self.files.find(folder, unquote(uri)) or self.files.find(folder, uri)

    def _buffer(self, number: int, view: Json) -> bytes:
        if number not in self._buffers:
            buffer = self.at("buffers", number)
            uri = text(buffer, "uri")
            if uri is not None:
                content = self.content(uri)
            elif number == 0 and self._binary is not None:
                content = self._binary
            else:
                refuse_meshopt(entry(view, "extensions") or {})
                raise BrokenModelError(f"its glTF names no bytes for buffer {number}")
            length = required_integer(buffer, "byteLength")
            if length > len(content):
                raise BrokenModelError(
                    f"buffer {number} of it is cut short: {len(content)} bytes of {length}"
                )
            self._buffers[number] = content
        return self._buffers[number]


def refuse_meshopt(names: Json | list[str]) -> None:
    """Raises BrokenModelError with the way out where a compression that is not unpacked here is among the names."""
    for name in _MESHOPT:
        if name in names:
            raise BrokenModelError(_MESHOPT_REASON.format(name=name))


def split_glb(content: bytes, name: str) -> tuple[bytes, bytes | None]:
    """The JSON text and the binary chunk (None: there is none) of a GLB file."""
    if len(content) < 20 or content[:4] != b"glTF":
        raise BrokenModelError(f"{name} is no GLB file")
    version, length = struct.unpack_from("<2I", content, 4)
    _check_version(version, name)
    if length > len(content):
        raise BrokenModelError(f"{name} is cut short: {len(content)} bytes of {length}")
    chunks: dict[int, bytes] = {}
    start = 12
    while start + 8 <= length:
        size, kind = struct.unpack_from("<2I", content, start)
        if start + 8 + size > length:
            raise BrokenModelError(f"{name} is cut short or garbled")
        if not chunks and kind != _JSON:
            raise BrokenModelError(f"{name} is no GLB file: its first chunk is not JSON")
        if kind in (_JSON, _BIN):
            chunks.setdefault(kind, content[start + 8 : start + 8 + size])
        start += 8 + size
    if _JSON not in chunks:
        raise BrokenModelError(f"{name} is cut short or garbled")
    return chunks[_JSON], chunks.get(_BIN)


def parse(content: bytes, name: str) -> Json:
    """The JSON of a file, an object of glTF 2. Raises BrokenModelError."""
    if sum(content.count(mark) for mark in b",[{") > _MAX_VALUES:
        raise BrokenModelError(f"{name} has more than {_MAX_VALUES} values in its JSON")
    try:
        words = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        words = content.decode("latin-1")
    try:
        scene = json.loads(words.rstrip("\0 \t\r\n"))
    except (ValueError, RecursionError):
        raise BrokenModelError(f"{name} is cut short or garbled") from None
    if not isinstance(scene, dict):
        raise BrokenModelError(f"{name} is no glTF scene")
    version = (entry(scene, "asset") or {}).get("version", "2.0")
    _check_version(1 if str(version).startswith("1") else 2, name)
    return scene


def _check_version(version: int, name: str) -> None:
    if version != 2:
        raise BrokenModelError(f"{name} is glTF {version}, expected glTF 2: export it again as glTF 2.0")


def _data(uri: str) -> bytes:
    """The bytes of a data URI; they are fewer than those of the file that holds it."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise BrokenModelError("its glTF has a data URI without data")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        packed = (unquote(body) if "%" in body else body).encode("ascii").strip()
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), altchars=_altchars(packed))
    except (binascii.Error, UnicodeEncodeError):
        raise BrokenModelError("its glTF has a data URI that is garbled") from None


def _altchars(packed: bytes) -> bytes | None:
    return b"-_" if b"-" in packed or b"_" in packed else None


def _name(uri: str) -> str:
    """What a message calls a file: its own name, no folder."""
    return unquote(uri).replace("\\", "/").rstrip("/").rpartition("/")[2][:80] or "a file without a name"
