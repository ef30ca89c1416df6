"""A GLB file as a tree of JSON and a chunk of numbers, and back."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from gp3d_core.meshing.mesh import MeshError


def pack(tree: dict[str, Any], content: bytes) -> bytes:
    """A GLB file: a header, and chunks of JSON and of numbers on multiples of four bytes."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    content += b"\0" * (-len(content) % 4)
    length = 12 + 8 + len(text) + 8 + len(content)
    head = struct.pack("<4sII", b"glTF", 2, length) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(content), b"BIN\0") + content


def unpack(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The tree and the numbers of a GLB file, of its first buffer's own address or else its chunk; none where it has
    neither. Raises MeshError if it is none, or truncated.
    """
    if len(content) < 12 or content[:4] != b"glTF":
        raise MeshError("not a GLB file")
    announced = struct.unpack("<I", content[8:12])[0]
    if announced != len(content):
        raise MeshError(f"truncated: it announces {announced} bytes, found {len(content)}")
    end = 20 + struct.unpack("<I", content[12:16])[0]
    tree = json.loads(content[20:end])
    if inline := _taken_from(tree):
        return tree, inline
    if content[end + 4 : end + 8] != b"BIN\0":
        return tree, b""
    return tree, content[end + 8 : end + 8 + struct.unpack("<I", content[end : end + 4])[0]]


def _taken_from(tree: dict[str, Any]) -> bytes:
    """The numbers that the tree's first buffer has in its address, as Open3D 0.20.0 writes them; they are taken out."""
    buffer: dict[str, Any] = next(iter(tree.get("buffers", ())), {})
    head, _, numbers = buffer.get("uri", "").partition(",")
    if not (head.startswith("data:") and head.endswith(";base64")):
        return b""
    del buffer["uri"]
    return base64.b64decode(numbers)
