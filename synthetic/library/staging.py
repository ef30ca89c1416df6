"""Checked copies of foreign model files, in the plain form that Blender reads.

Blender never opens a file of a library. An OBJ is rewritten to the few statements a surface consists of, with one MTL
of ours beside it; textures are links under names of ours to files that lie in the model's own folder and that were
found to be pictures of a sane size. So no statement of a model makes a program read or write elsewhere. GLB and PLY
files are linked after their headers have shown that they refer to no other file and claim no more than the limits
allow.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from synthetic.library.shapenet import BrokenModelError

_CONTINUED = re.compile(rb"\\\r?\n")
_LEADING_BLANK = re.compile(rb"\n[\x00-\x09\x0b-\x20]+")  # what Blender's reader skips before a statement
_NOT_FINITE = re.compile(rb"\nv[ \t][^\n]*(?:nan|inf)")
_MATERIAL_FILE = re.compile(rb"\nmtllib[ \t]+([^\r\n]+)")
_NO_SURFACE = re.compile(rb"\n(?!(?:v|vt|vn|f|s|usemtl)[ \t])[^\n]*")

_COPIED_NUMBERS = {"ka": 3, "kd": 3, "ks": 3, "ke": 3, "ns": 1, "ni": 1, "d": 1, "tr": 1, "illum": 1}
_COPIED_MAPS = {
    "map_kd": "map_Kd",
    "map_ke": "map_Ke",
    "map_d": "map_d",
}  # the others change gloss and relief only
_MAP_OPTIONS = {
    "-bm": 1,
    "-blendu": 1,
    "-blendv": 1,
    "-boost": 1,
    "-cc": 1,
    "-clamp": 1,
    "-imfchan": 1,
    "-mm": 2,
    "-texres": 1,
    "-type": 1,
    "-s": 3,
    "-o": 3,
    "-t": 3,
}
_BLENDER_READS = {"BMP", "JPEG", "PNG", "TGA", "TIFF"}
_MAX_MATERIAL_BYTES = 16 * 2**20
_PLY_HEADER_BYTES = 65536


@dataclass(frozen=True, kw_only=True)
class ModelLimits:
    """The most faces, megabytes and pixels along a texture that a model may have; more makes it a broken model."""

    max_faces: int = 3_000_000
    max_megabytes: int = 1024
    max_texture_side: int = 8192

    def __post_init__(self) -> None:
        """Checks the numbers once."""
        if min(self.max_faces, self.max_megabytes, self.max_texture_side) < 1:
            raise ValueError("the limits on faces, megabytes and texture sides must be at least 1")


@dataclass(frozen=True)
class StagedModel:
    """A checked copy of a model: the file to open, the faces it claims, and SHA-256 by name of the files read."""

    path: Path
    faces: int
    sha256: dict[str, str]


@dataclass(frozen=True)
class Treatment:
    """What to do with transparent parts and with materials whose texture is missing or no picture."""

    transparent: Literal["remove", "opaque"] = "remove"
    missing_textures: Literal["fail", "color"] = "fail"


def stage_model(
    path: Path, root: Path, workspace: Path, limits: ModelLimits, treatment: Treatment
) -> StagedModel:
    """A checked copy of a mesh file in the folder `workspace`, whose older files are removed.

    Files that the model refers to have to lie below `root`. Raises BrokenModelError with the reason.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    for old in workspace.iterdir():
        old.unlink()
    content = _read(path, limits)
    copy = _Copy(path, Path(os.path.realpath(root)), workspace, limits, treatment)
    return {".glb": copy.glb, ".ply": copy.ply}.get(path.suffix.lower(), copy.obj)(content)


def _statements(text: bytes) -> bytes:
    """An OBJ text with every statement on one line of its own, right after a line break."""
    return _LEADING_BLANK.sub(b"\n", b"\n" + _CONTINUED.sub(b" ", text))


def _read(path: Path, limits: ModelLimits) -> bytes:
    if not path.is_file():
        raise BrokenModelError(f"{path.name} is missing")
    size = path.stat().st_size
    if size > limits.max_megabytes * 2**20:
        raise BrokenModelError(
            f"{path.name} has {size >> 20} MB, more than the {limits.max_megabytes} allowed"
        )
    return path.read_bytes()


def _check_text(path: Path, text: bytes) -> int:
    if not text.strip():
        raise BrokenModelError(f"{path.name} is empty")
    if not _count(text, b"v"):
        raise BrokenModelError(f"{path.name} has no vertices")
    lowered = text.lower()
    if (b"nan" in lowered or b"inf" in lowered) and _NOT_FINITE.search(lowered):
        raise BrokenModelError(f"{path.name} has a vertex that is not finite")
    faces = _count(text, b"f")
    if not faces:
        raise BrokenModelError(f"{path.name} has no faces")
    return faces


def _count(text: bytes, keyword: bytes) -> int:
    return text.count(b"\n" + keyword + b" ") + text.count(b"\n" + keyword + b"\t")


class _Copy:
    """The making of one copy; `obj`, `ply` and `glb` take the content of the mesh file."""

    def __init__(
        self, path: Path, root: Path, workspace: Path, limits: ModelLimits, treatment: Treatment
    ) -> None:
        self._path, self._root, self._workspace = path, root, workspace
        self._limits, self._treatment = limits, treatment
        self._sha256: dict[str, str] = {}
        self._textures: dict[Path, str] = {}

    def obj(self, text: bytes) -> StagedModel:
        self._remember(self._path, text)
        text = _statements(text)
        faces = self._check_faces(_check_text(self._path, text))
        target = self._workspace / "model.obj"
        target.write_bytes(b"mtllib model.mtl" + _NO_SURFACE.sub(b"", text) + b"\n")
        (self._workspace / "model.mtl").write_text("\n".join(self._materials(text)) + "\n", encoding="utf-8")
        return StagedModel(target, faces, self._sha256)

    def ply(self, content: bytes) -> StagedModel:
        self._remember(self._path, content)
        header = content[:_PLY_HEADER_BYTES].partition(b"end_header")[0].decode("latin-1").splitlines()
        counts = dict(
            re.findall(r"^element[ \t]+(vertex|face)[ \t]+(\d{1,12})[ \t]*$", "\n".join(header), re.M)
        )
        if not header or header[0].strip() != "ply" or "face" not in counts or "vertex" not in counts:
            raise BrokenModelError(f"{self._path.name} is no PLY file with vertices and faces")
        vertices, faces = int(counts["vertex"]), self._check_faces(int(counts["face"]))
        if not faces or max(vertices, faces) > len(content):  # each takes more than a byte
            raise BrokenModelError(
                f"{self._path.name} claims {vertices} vertices and {faces} faces in {len(content)} bytes"
            )
        return StagedModel(self._linked(self._path, "model.ply"), faces, self._sha256)

    def glb(self, content: bytes) -> StagedModel:
        self._remember(self._path, content)
        scene, binary = self._glb_chunks(content)
        try:
            for entry in (*scene.get("buffers", ()), *scene.get("images", ())):
                if "uri" in entry and not str(entry["uri"]).startswith("data:"):
                    raise BrokenModelError(
                        f"{self._path.name} refers to another file, {str(entry['uri'])[:80]}"
                    )
            for image in scene.get("images", ()):
                if "bufferView" in image:
                    view = scene["bufferViews"][image["bufferView"]]
                    start = int(view.get("byteOffset", 0))
                    self._check_picture(binary[start : start + int(view["byteLength"])], "a texture of it")
            corners = sum(
                _corners(scene, part) for mesh in scene.get("meshes", ()) for part in mesh["primitives"]
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BrokenModelError):
                raise
            raise BrokenModelError(f"{self._path.name} contradicts the glTF format ({error!r})") from None
        if not corners:
            raise BrokenModelError(f"{self._path.name} has no faces")
        if corners > 4 * len(content) and not scene.get("extensionsRequired"):
            raise BrokenModelError(f"{self._path.name} claims {corners} corners in {len(content)} bytes")
        return StagedModel(
            self._linked(self._path, "model.glb"), self._check_faces(corners // 3), self._sha256
        )

    def _glb_chunks(self, content: bytes) -> tuple[dict[str, Any], bytes]:
        if len(content) < 20 or content[:4] != b"glTF" or content[16:20] != b"JSON":
            raise BrokenModelError(f"{self._path.name} is no GLB file")
        length = struct.unpack_from("<I", content, 12)[0]
        try:
            scene = json.loads(content[20 : 20 + length])
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            raise BrokenModelError(f"{self._path.name} is cut short or garbled") from None
        if not isinstance(scene, dict):
            raise BrokenModelError(f"{self._path.name} is no glTF scene")
        return scene, content[20 + length + 8 :]

    def _check_faces(self, faces: int) -> int:
        if faces > self._limits.max_faces:
            most = self._limits.max_faces
            raise BrokenModelError(f"{self._path.name} has {faces} faces, more than the {most} allowed")
        return faces

    def _remember(self, path: Path, content: bytes) -> None:
        name = os.path.relpath(os.path.realpath(path), self._root) if path != self._path else path.name
        self._sha256[Path(name).as_posix()] = hashlib.sha256(content).hexdigest()

    def _linked(self, path: Path, name: str) -> Path:
        target = self._workspace / name
        target.symlink_to(path.resolve())
        return target

    def _materials(self, text: bytes) -> Iterator[str]:
        for name in dict.fromkeys(match[1].strip() for match in _MATERIAL_FILE.finditer(text)):
            path = self._find(
                self._path.parent, name.decode("utf-8", "replace"), [self._path.with_suffix(".mtl")]
            )
            if path is None:
                continue  # as everywhere: without its materials a model is grey
            if path.stat().st_size > _MAX_MATERIAL_BYTES:
                raise BrokenModelError(
                    f"{path.name} has {path.stat().st_size >> 20} MB, too much for materials"
                )
            content = path.read_bytes()
            self._remember(path, content)
            for line in _CONTINUED.sub(b" ", content).decode("utf-8", "replace").splitlines():
                yield from self._material_line(line, path.parent)

    def _material_line(self, line: str, folder: Path) -> Iterator[str]:
        words = line.split(None, 1)
        if len(words) < 2:
            return
        keyword, rest, values = words[0].lower(), words[1].strip(), words[1].split()
        opaque = self._treatment.transparent == "opaque"
        if keyword == "newmtl":
            yield f"newmtl {rest}"
        elif keyword in _COPIED_NUMBERS and not (opaque and keyword in ("d", "tr")):
            numbers = [value for value in values[: _COPIED_NUMBERS[keyword]] if _is_number(value)]
            if len(numbers) == _COPIED_NUMBERS[keyword]:
                yield f"{words[0]} {' '.join(numbers)}"
        elif keyword in _COPIED_MAPS and not (opaque and keyword == "map_d"):
            options, name = _split_options(values)
            texture = self._texture(folder, name)
            if texture:
                yield " ".join([_COPIED_MAPS[keyword], *options, texture])

    def _texture(self, folder: Path, name: str) -> str | None:
        """Name in the workspace of a picture that a material names; None if it is to be done without."""
        base = name.replace("\\", "/").rpartition("/")[2]
        others = [self._path.parent / "images" / base, self._root / "images" / base, folder / base]
        path = self._find(folder, name, others)
        try:
            if path is None:
                raise BrokenModelError(
                    f"its texture {base or '(no name)'} is missing from the model's folder"
                )
            if path not in self._textures:
                self._textures[path] = self._stage_texture(path, f"texture{len(self._textures)}")
            return self._textures[path]
        except BrokenModelError:
            if self._treatment.missing_textures == "fail":
                raise
            return None

    def _stage_texture(self, path: Path, stem: str) -> str:
        if path.stat().st_size > self._limits.max_megabytes * 2**20:
            raise BrokenModelError(f"its texture {path.name} has {path.stat().st_size >> 20} MB")
        content = path.read_bytes()
        kind = self._check_picture(content, f"its texture {path.name}")
        self._remember(path, content)
        if kind in _BLENDER_READS:
            return self._linked(path, f"{stem}{path.suffix.lower()}").name
        with Image.open(BytesIO(content)) as picture:
            picture.convert("RGBA").save(self._workspace / f"{stem}.png")
        return f"{stem}.png"

    def _check_picture(self, content: bytes, what: str) -> str:
        """Format of a picture, of which no pixel is decoded before its size is known to be sane."""
        try:
            with Image.open(BytesIO(content)) as picture:
                size, kind = picture.size, str(picture.format)
                if max(size) <= self._limits.max_texture_side:
                    picture.load()  # cut or garbled ones show now
        except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
            raise BrokenModelError(f"{what} is missing or unreadable") from None
        if max(size) > self._limits.max_texture_side:
            raise BrokenModelError(
                f"{what} has {size[0]} x {size[1]} pixels, more than {self._limits.max_texture_side} a side"
            )
        return kind

    def _find(self, folder: Path, name: str, others: list[Path]) -> Path | None:
        """The file below the model's folder that is meant by `name`, whatever its slashes and capitals."""
        name = name.strip().strip('"').replace("\\", "/")
        if "\0" in name or not name:
            return None
        for candidate in (folder / name, *others):
            path = Path(os.path.realpath(candidate))
            if not path.is_relative_to(self._root):
                continue
            if os.path.isfile(path):
                return path
            if os.path.isdir(path.parent):
                for entry in sorted(os.scandir(path.parent), key=lambda entry: entry.name):
                    if entry.name.lower() == path.name.lower() and entry.is_file(follow_symlinks=False):
                        return Path(entry.path)
        return None


def _corners(scene: dict[str, Any], part: dict[str, Any]) -> int:
    if part.get("mode", 4) not in (4, 5, 6):  # points and lines
        return 0
    accessor = part["indices"] if "indices" in part else part["attributes"]["POSITION"]
    return int(scene["accessors"][accessor]["count"]) * (1 if part.get("mode", 4) == 4 else 3)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _split_options(words: list[str]) -> tuple[list[str], str]:
    """The options of a texture statement that move it on the surface, and the file's name."""
    kept: list[str] = []
    while words and words[0].lower() in _MAP_OPTIONS:
        option, count = words[0].lower(), 0
        wanted = _MAP_OPTIONS[option]
        while count < wanted and count + 1 < len(words) and (wanted < 3 or _is_number(words[count + 1])):
            count += 1
        if option in ("-s", "-o"):
            kept += [option, *words[1 : count + 1], *["1" if option == "-s" else "0"] * (3 - count)]
        words = words[count + 1 :]
    return kept, " ".join(words)
