"""GLB files made by code, valid or broken in one chosen way, for the tests of the glTF reader."""

from __future__ import annotations

import json
import struct
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.staging.files import ModelFiles
from synthetic.staging.gltf.reader import read_glb, read_gltf
from synthetic.staging.surface import ReadModel
from synthetic.staging.treatment import ModelLimits, Treatment

Array = npt.NDArray[Any]

CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
CORNER_UV = np.array([[0, 0], [1, 0], [0, 1]], np.float32)


class Glb:
    """A scene under construction: `json` may be changed at will, `add` appends to its lists and says the number."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": []}],
            "buffers": [{}],
        }
        self.blob = bytearray()

    def add(self, kind: str, **entry: Any) -> int:
        entries: list[Any] = self.json.setdefault(kind, [])
        entries.append(entry)
        return len(entries) - 1

    def view(self, content: bytes, **more: Any) -> int:
        self.blob += bytes(-len(self.blob) % 4)
        start = len(self.blob)
        self.blob += content
        return self.add("bufferViews", buffer=0, byteOffset=start, byteLength=len(content), **more)

    def accessor(self, values: Array, **more: Any) -> int:
        rows = values.reshape(len(values), -1)
        return self.add(
            "accessors",
            bufferView=self.view(rows.tobytes()),
            componentType=CODES[values.dtype.str[1:]],
            count=len(rows),
            type=KINDS[rows.shape[1]],
            **more,
        )

    def mesh(self, primitives: list[dict[str, Any]], **more: Any) -> int:
        return self.add("meshes", primitives=primitives, **more)

    def node(self, shown: bool = True, **entry: Any) -> int:
        number = self.add("nodes", **entry)
        if shown:
            self.json["scenes"][0]["nodes"].append(number)
        return number

    def texture(self, pixels: Array, kind: str = "PNG", **more: Any) -> int:
        image = self.add(
            "images", bufferView=self.view(picture(pixels, kind)), mimeType=f"image/{kind.lower()}"
        )
        return self.add("textures", **({"source": image} | more))

    def content(self) -> bytes:
        self.json["buffers"][0].setdefault("byteLength", len(self.blob))
        text = json.dumps(self.json).encode()
        return pack(text, bytes(self.blob))

    def read(self, folder: Path, limits: ModelLimits | None = None, **treatment: Any) -> ReadModel:
        return read(self.content(), folder, limits, **treatment)


def pack(text: bytes, blob: bytes | None) -> bytes:
    """A GLB of a JSON text and a binary chunk."""
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text
    if blob is not None:
        blob += bytes(-len(blob) % 4)
        chunks += struct.pack("<2I", len(blob), 0x004E4942) + blob
    return struct.pack("<4s2I", b"glTF", 2, 12 + len(chunks)) + chunks


def picture(pixels: Array, kind: str = "PNG") -> bytes:
    """Pixels [H,W,3 or 4] as a file."""
    stream = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, format=kind, lossless=True)
    return stream.getvalue()


def read(
    content: bytes, folder: Path, limits: ModelLimits | None = None, suffix: str = ".glb", **treatment: Any
) -> ReadModel:
    """What the reader makes of a file in `folder`, whose other files it may refer to."""
    path, workspace = folder / f"model{suffix}", folder.parent / f"{folder.name}-workspace"
    folder.mkdir(exist_ok=True)
    workspace.mkdir(exist_ok=True)
    path.write_bytes(content)
    files = ModelFiles(path, folder, workspace, limits or ModelLimits())
    return (read_glb if suffix == ".glb" else read_gltf)(files, Treatment(**treatment))


def single(positions: Array = TRIANGLE, material: dict[str, Any] | None = None, **attributes: Array) -> Glb:
    """A scene of one node, whose mesh has one primitive without indices."""
    glb = Glb()
    named = {"POSITION": glb.accessor(positions)}
    for name, values in attributes.items():
        named[name] = glb.accessor(
            values, normalized=values.dtype.kind == "u" and not name.startswith("JOINTS")
        )
    primitive: dict[str, Any] = {"attributes": named}
    if material is not None:
        primitive["material"] = glb.add("materials", **deepcopy(material))
    glb.node(mesh=glb.mesh([primitive]))
    return glb


def primitive_of(glb: Glb) -> dict[str, Any]:
    """The first primitive, to be changed."""
    primitive: dict[str, Any] = glb.json["meshes"][0]["primitives"][0]
    return primitive
