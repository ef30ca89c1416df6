"""PNG files written by hand, for what Pillow does not write."""

from __future__ import annotations

import struct
import zlib


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, bits: int, color: int, data: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand; `data` are the rows, each with its filter byte."""
    head = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
