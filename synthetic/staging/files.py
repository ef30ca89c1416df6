"""The files of a foreign model: looked for below its own folder only, of a sane size, remembered by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import struct
import unicodedata
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.treatment import ModelLimits

# All decoded by Pillow itself: others, such as EPS, are programs, which another program would run.
_FORMATS = {"AVIF", "BMP", "DDS", "DIB", "GIF", "ICO", "JPEG", "JPEG2000"}
_FORMATS |= {"PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"}
_USUAL_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}  # by their first bytes
_GARBLED = (  # what decoders raise on content that contradicts itself
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, RuntimeError, LookupError, ArithmeticError),
    *(struct.error, Image.DecompressionBombError),
)
_EIGHT_BITS = ("L", "LA", "RGB", "RGBA")
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")  # modes whose conversion by Pillow cuts instead of scaling


class ModelFiles:
    """The files that one model may read, and its workspace, where checked copies of its textures go."""

    def __init__(self, path: Path, root: Path, workspace: Path, limits: ModelLimits) -> None:
        """`path` is the mesh file, `root` the folder below which all files lie, `workspace` an empty folder."""
        self.path, self.limits = path, limits
        self.sha256: dict[str, str] = {}
        self._root, self._workspace = Path(os.path.realpath(root)), workspace
        self._textures: dict[str, Path] = {}  # by SHA-256
        self._alphas: dict[Path, npt.NDArray[np.int64] | None] = {}

    def clear(self) -> None:
        """Makes the workspace an empty folder."""
        self._workspace.mkdir(parents=True, exist_ok=True)
        for old in self._workspace.iterdir():
            old.unlink()

    def read(self, path: Path, most_bytes: int | None = None) -> bytes:
        """The content of a file, which is remembered. Raises BrokenModelError where it is missing or too large."""
        if not path.is_file():
            raise BrokenModelError(f"{shown_name(path)} is missing")
        size, most = path.stat().st_size, most_bytes or self.limits.max_megabytes * 2**20
        if size > most:
            raise BrokenModelError(
                f"{shown_name(path)} has {size >> 20} MB, more than the {most >> 20} allowed"
            )
        content = path.read_bytes()
        name = os.path.relpath(os.path.realpath(path), self._root) if path != self.path else path.name
        self.sha256[os.fsencode(Path(name).as_posix()).decode("utf-8", "replace")] = hashlib.sha256(
            content
        ).hexdigest()
        return content

    def find(self, folder: Path, name: str, others: Sequence[Path] = ()) -> Path | None:
        """The file below the model's folder that is meant by `name`, whatever its slashes and capitals, or None.

        `others` are places to look at after `folder`/`name`.
        """
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
                meant = shown_name(path).casefold()
                for entry in sorted(os.scandir(path.parent), key=lambda entry: entry.name):
                    if shown_name(Path(entry.path)).casefold() == meant and entry.is_file(
                        follow_symlinks=False
                    ):
                        return Path(entry.path)
        return None

    def find_texture(self, folder: Path, name: str) -> Path:
        """The picture that a material in `folder` names; also looked for where ShapeNet and Sketchfab keep them.

        Raises BrokenModelError where it is missing from the model's folder.
        """
        base = name.replace("\\", "/").rpartition("/")[2]
        tops = (self.path.parent, self._root)
        others = [top / place / base for place in ("images", "textures") for top in tops]
        others.append(folder / base)
        others += [self.path.parent / name.replace("\\", "/"), self.path.parent / base]
        path = self.find(folder, name, others)
        if path is None and without_comment(name) != name:
            return self.find_texture(folder, without_comment(name))
        if path is None:
            raise BrokenModelError(f"its texture {base or '(no name)'} is missing from the model's folder")
        return path

    def stage_texture(self, content: bytes, what: str) -> Path:
        """An 8-bit PNG in the workspace of a picture in any format; the same content gives the same file.

        No pixel is decoded before the size is known to be sane. Raises BrokenModelError, in which `what` names it.
        """
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._textures:
            target = self._workspace / f"texture{len(self._textures)}.png"
            picture, self._alphas[target] = self._decoded(content, what)
            if picture is None:
                target.write_bytes(content)
            else:
                picture.save(target, compress_level=1)
            self._textures[digest] = target
        return self._textures[digest]

    def alpha_counts(self, texture: Path) -> npt.NDArray[np.int64] | None:
        """[256] how many pixels of a picture that `stage_texture` made have each alpha; None where it has no alpha."""
        return self._alphas[texture]

    def _decoded(self, content: bytes, what: str) -> tuple[Image.Image | None, npt.NDArray[np.int64] | None]:
        """The picture in 8 bits, None where the file is as wanted already; and how often it has each alpha."""
        try:
            with Image.open(BytesIO(content), formats=_formats(content)) as picture:
                size = picture.size
                if max(size) > self.limits.max_texture_side:
                    raise BrokenModelError(
                        f"{what} has {size[0]} x {size[1]} pixels, "
                        f"more than {self.limits.max_texture_side} a side"
                    )
                picture.load()  # cut or garbled ones show now
                ready = None if _is_plain(picture) else _in_eight_bits(picture)
                return ready, _alpha_counts(ready or picture)
        except BrokenModelError:
            raise
        except _GARBLED:
            raise BrokenModelError(f"{what} is missing or unreadable") from None


def _formats(content: bytes) -> list[str]:
    """The formats that a picture may have. The decoders of the two usual ones are there already, others take time."""
    for start, usual in _USUAL_FORMATS.items():
        if content.startswith(start):
            return [usual]
    Image.init()
    return [*_FORMATS & Image.OPEN.keys()]


def without_comment(name: str) -> str:
    """A name without the comment behind it; the blank after the # tells it from names such as `Material #25`."""
    return name.partition(" # ")[0].rstrip()


def shown_name(path: Path) -> str:
    """The name of a file as one reads it, whether its bytes are UTF-8 or, as from old archives, latin-1."""
    raw = os.fsencode(path.name)
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)  # macOS takes é apart


def _is_plain(picture: Image.Image) -> bool:
    """Whether every reader sees the same bytes: no other gamma, profile or transparent colour beside the pixels."""
    plain = not picture.info.keys() & {"gamma", "icc_profile", "srgb", "transparency", "chromaticity"}
    return picture.format == "PNG" and picture.mode in _EIGHT_BITS and plain


def _alpha_counts(picture: Image.Image) -> npt.NDArray[np.int64] | None:
    return np.array(picture.getchannel("A").histogram()) if "A" in picture.mode else None


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP:
        values = np.asarray(picture, dtype=np.float64)
        most = 1.0 if picture.mode == "F" else 65535.0
        return Image.fromarray(np.round(np.clip(values / most, 0, 1) * 255).astype(np.uint8))
    if picture.mode == "P" or "transparency" in picture.info:
        return picture.convert("RGBA")
    if picture.mode in _EIGHT_BITS:
        plain = picture.copy()
        plain.info.clear()  # a gamma or a profile would be written along
        return plain
    return picture.convert("RGBA" if "A" in picture.mode or "a" in picture.mode else "RGB")
