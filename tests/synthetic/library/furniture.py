"""Furniture libraries of Sweet Home 3D as tests write them: small boxes, a catalogue, a Debian package around them."""

from __future__ import annotations

import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

# A box of 2 x 4 x 6, whose front (+z) is red and carries a picture; its other faces are green.
BOX = """mtllib box.mtl
v -1 0 -3
v 1 0 -3
v 1 4 -3
v -1 4 -3
v -1 0 3
v 1 0 3
v 1 4 3
v -1 4 3
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl front
f 5/1 6/2 7/3 8/4
usemtl other
f 2 1 4 3
f 1 5 8 4
f 6 2 3 7
f 8 7 3 4
f 1 2 6 5
"""
MTL = """newmtl front
Kd 1 0 0
map_Kd red.png
newmtl other
Kd 0 0.5 0
"""
ENTRY = {
    "name": "Box",
    "category": "Kitchen",
    "width": "20",
    "depth": "60",
    "height": "40",
    "creator": "Somebody",
}
LICENCE = "under http://creativecommons.org/licenses/by/3.0/us/ for all"


def red_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def piece(name: str) -> dict[str, bytes]:
    """The files of a model."""
    return {
        f"boxes/{name}/box.obj": BOX.encode(),
        f"boxes/{name}/box.mtl": MTL.encode(),
        f"boxes/{name}/red.png": red_png(),
    }


def catalogue(*entries: Mapping[str, str | None], version: str = "1.8", licence: str = "") -> str:
    """The text of a catalogue; an entry's None leaves a key out."""
    lines = ["# furniture", f"version={version}", f"license={licence}"]
    for number, entry in enumerate(entries, 1):
        name = entry.get("id") or "piece"
        facts = {"id": f"Tests#{name}", "model": f"/boxes/{name}/box.obj", **ENTRY, **entry}
        facts["id"] = f"Tests#{name}" if entry.get("id", "") is not None else None
        lines += [f"{key}#{number}={text}" for key, text in facts.items() if text is not None]
    return "\n".join(lines) + "\n"


def library(path: Path, text: str, files: Mapping[str, bytes], licence: str = LICENCE) -> Path:
    """A .sh3f file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("PluginFurnitureCatalog.properties", text.encode("latin-1"))
        if licence:
            archive.writestr("LICENSE.TXT", licence)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def package(
    path: Path, files: Mapping[str, bytes], compression: str = "xz", links: Mapping[str, str] | None = None
) -> Path:
    """A Debian package with files below its top."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    data = lzma.compress(tar.getvalue()) if compression == "xz" else tar.getvalue()
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar.{compression}": data}
    content = b"!<arch>\n"
    for name, body in members.items():
        content += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode()
            + body
            + b"\n" * (len(body) % 2)
        )
    path.write_bytes(content)
    return path
