"""What the fake engine puts into its files: a box with a nose, and pictures."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def arrays(color: str, seed: int, grid: int) -> dict[str, np.ndarray]:
    """A box with a nose at +z (the front), 1 wide, 2 high, 0.5 deep without the nose; vertices repeated per face."""
    half = np.array([0.5, 1.0, 0.25], np.float32) * np.float32(0.4)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * half
    quads = [
        (1, 5, 7, 3),
        (4, 0, 2, 6),
        (5, 4, 6, 7),
        (0, 1, 3, 2),
        (3, 7, 6, 2),
        (0, 4, 5, 1),
    ]  # front first
    nose = np.array([[0, 0.1 * (1 + seed % 3), 0.3]], np.float32)
    vertices, faces, uv = [], [], []
    for side, quad in enumerate(quads):
        first = 4 * side
        vertices.append(corners[list(quad)])
        uv.append(
            np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) / 3 + np.array([side % 3, side // 3]) / 3
        )
        if side:
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    faces += [(0, 1, 24), (1, 2, 24), (2, 3, 24), (3, 0, 24)]
    vertices.append(nose)
    uv.append(np.array([[0.16, 0.16]]))
    made = {
        "vertices": np.concatenate(vertices).astype(np.float32),
        "faces": np.array(faces, np.int32),
        "normals": np.zeros((25, 3), np.float32),
    }
    if color == "texture":
        texture = np.zeros((8, 16, 3), np.uint8)
        texture[:4], texture[4:] = (200, 30, 10), (10, 60, 220)  # top row first: red above, blue below
        made |= {"uv": np.concatenate(uv).astype(np.float32), "texture": texture}
    elif color == "vertex":
        colors = np.full((25, 3), (20, 40, 200), np.uint8)
        colors[made["vertices"][:, 1] > 0] = (220, 120, 10)
        made["vertex_colors"] = colors
    return made


def picture(path: Path, size: int, seed: int) -> None:
    """A PNG that is red above and of a grey that depends on the seed below."""
    rows = np.full((size, size, 3), 40 + seed % 100, np.uint8)
    rows[: size // 2] = (250, 0, 0)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
