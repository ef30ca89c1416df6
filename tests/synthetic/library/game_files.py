"""Writes the files of the game 0 A.D. by the descriptions of its formats alone, with nothing of the code under test."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

STILL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # a bone at the origin, turned by nothing
CORNERS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -2.0))
FACES = ((0, 2, 1), (0, 3, 2), (0, 1, 3), (1, 2, 3))  # counter-clockwise from outside, where z leads away


def pmd(
    corners: Sequence[Sequence[float]] = CORNERS,
    faces: Sequence[Sequence[int]] = FACES,
    bones: Sequence[Sequence[float]] = (),
    blend: Sequence[tuple[Sequence[int], Sequence[float]]] | None = None,
    points: Mapping[str, tuple[Sequence[float], int]] | None = None,
    *,
    layers: int = 1,
    version: int = 4,
    normals: Sequence[Sequence[float]] | None = None,
) -> bytes:
    """A mesh; UV coordinates of vertex v in layer l are (v/8, l/8)."""
    body = struct.pack("<II", len(corners), layers)
    for number, corner in enumerate(corners):
        owners, weights = blend[number] if blend else ((), ())
        normal = normals[number] if normals else (0.0, 1.0, 0.0)
        body += struct.pack("<3f3f", *corner, *normal)
        for layer in range(layers):
            body += struct.pack("<2f", number / 8, layer / 8)
        body += struct.pack("<4B", *owners, *(255,) * (4 - len(owners)))
        body += struct.pack("<4f", *weights, *(0.0,) * (4 - len(weights)))
    body += struct.pack("<I", len(faces)) + b"".join(struct.pack("<3H", *face) for face in faces)
    body += struct.pack("<I", len(bones)) + b"".join(struct.pack("<7f", *bone) for bone in bones)
    body += struct.pack("<I", len(points or {}))
    for name, (state, bone) in (points or {}).items():
        body += struct.pack("<I", len(name)) + name.encode() + struct.pack("<7fB", *state, bone)
    return b"PSMD" + struct.pack("<II", version, len(body)) + body


def psa(frames: Sequence[Sequence[Sequence[float]]], *, version: int = 1) -> bytes:
    """An animation: of every frame the seven numbers of every bone."""
    body = struct.pack("<I", 4) + b"clip" + struct.pack("<fII", 33.3, len(frames[0]), len(frames))
    body += b"".join(struct.pack("<7f", *bone) for frame in frames for bone in frame)
    return b"PSSA" + struct.pack("<II", version, len(body)) + body


def dds(color: tuple[int, int, int], alpha: int | None = None, blocks: int = 1) -> bytes:
    """A picture of 4 * blocks pixels a side in one colour of 5, 6 and 5 bits: DXT1, or DXT5 with an alpha."""
    red, green, blue = color
    packed = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    block = struct.pack("<HHI", packed, packed, 0)
    if alpha is not None:
        block = struct.pack("<BB6x", alpha, alpha) + block
    side, code = 4 * blocks, b"DXT1" if alpha is None else b"DXT5"
    size = len(block) * blocks * blocks
    header = struct.pack("<7I44x", 124, 0x81007, side, side, size, 0, 1)
    header += struct.pack("<II4s20x", 32, 4, code) + struct.pack("<I16x", 0x1000)
    return b"DDS " + header + block * (blocks * blocks)


def actor(*groups: Sequence[str], material: str = "default.xml") -> bytes:
    """An actor's XML: groups of variants, each as text."""
    inside = "".join(f"<group>{''.join(group)}</group>" for group in groups)
    return f'<?xml version="1.0"?><actor version="1">{inside}<material>{material}</material></actor>'.encode()


def variant(
    mesh: str = "",
    texture: str = "",
    frequency: int | None = None,
    *,
    props: Mapping[str, str] | None = None,
    clips: Mapping[str, str] | None = None,
    file: str = "",
    color: str = "",
    name: str = "",
) -> str:
    """A variant: props by point, clips by action."""
    text = f'<variant name="{name}"' + (f' file="{file}"' if file else "")
    text += ">" if frequency is None else f' frequency="{frequency}">'
    text += f"<mesh>{mesh}</mesh>" if mesh else ""
    text += f'<textures><texture file="{texture}" name="baseTex"/></textures>' if texture else ""
    text += f"<color>{color}</color>" if color else ""
    hung = "".join(f'<prop actor="{other}" attachpoint="{point}"/>' for point, other in (props or {}).items())
    moving = "".join(
        f'<animation file="{clip}" name="{action}" speed="1"/>' for action, clip in (clips or {}).items()
    )
    return text + f"<props>{hung}</props><animations>{moving}</animations></variant>"


MATERIALS = {
    f"art/materials/{name}.xml": f"<material>{''.join(f'<define name={word!r} value={one!r}/>' for word in words)}"
    f"</material>".encode()
    for name, words, one in (
        ("default", (), "1"),
        ("basic_trans", ("USE_TRANSPARENT",), "1"),
        ("player_trans", ("USE_PLAYERCOLOR",), "1"),
        ("objectcolor", ("USE_OBJECTCOLOR",), "1"),
    )
}


def game(path: Path, files: Mapping[str, bytes], version: str = "0.0.26", stored: bool = True) -> Path:
    """A public.zip with materials and mod.json besides the files given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in {
            "mod.json": f'{{"version": "{version}"}}'.encode(),
            **MATERIALS,
            **files,
        }.items():
            archive.writestr(name, content)
    return path


def debian(path: Path, public: bytes) -> Path:
    """A Debian package with a public.zip where 0ad-data has it."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        member = tarfile.TarInfo("./usr/share/games/0ad/mods/public/public.zip")
        member.size = len(public)
        tar.addfile(member, io.BytesIO(public))
    text = b"!<arch>\n"
    for name, content in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(b"")),
        ("data.tar.xz", lzma.compress(inner.getvalue())),
    ):
        text += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        text += content + b"\n" * (len(content) % 2)
    path.write_bytes(text)
    return path
