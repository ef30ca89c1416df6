"""Textures of a glTF file: their pictures in the workspace, and how they lie on a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.staging.gltf.document import Document
from synthetic.staging.gltf.fields import (
    Json,
    entry,
    extension,
    integer,
    number,
    numbers,
    required_integer,
    text,
)
from synthetic.staging.surface import Floats, Wrap

_WRAPS: dict[int | None, Wrap] = {None: "repeat", 10497: "repeat", 33071: "clamp", 33648: "mirror"}
_NEAREST = 9728
_READABLE = ("EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds")  # formats that the decoder knows


@dataclass(frozen=True)
class UvLayer:
    """The coordinates that a texture lies by: a TEXCOORD set, and the transform (offset, turn, scale) it is to have."""

    texcoord: int
    transform: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 1.0, 1.0)

    def apply(self, uv: Floats) -> Floats:
        """[V,2] as stored (v down from the upper left corner) to [V,2] transformed, v up from the lower left.

        KHR_texture_transform turns counter-clockwise as the picture is seen: v pointing down, its matrix is
        (cos, sin; -sin, cos), as its example and its test model show, and not the one in its GLSL.
        """
        shift_u, shift_v, angle, scale_u, scale_v = self.transform
        cos, sin = math.cos(angle), math.sin(angle)
        u, v = uv[:, 0] * scale_u, uv[:, 1] * scale_v
        return np.stack([cos * u + sin * v + shift_u, 1 - (cos * v - sin * u + shift_v)], axis=1)


@dataclass(frozen=True)
class Placed:
    """A picture, the layer it lies by, and how it goes on beyond its edges."""

    path: Path
    layer: UvLayer
    wrap: tuple[Wrap, Wrap]
    nearest: bool


class Textures:
    """The textures of one file; each picture is checked and copied once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._pictures: dict[int, Path] = {}

    def find(self, owner: Json, key: str) -> Placed | None:
        """The texture that a material names by `key`; None where it names none, or where it cannot be given.

        Raises BrokenModelError in the latter case where the treatment says so.
        """
        info = entry(owner, key)
        if info is None:
            return None
        texture = self._document.at("textures", required_integer(info, "index"))
        try:
            path = self._picture(texture)
        except BrokenModelError as error:
            self._document.miss(str(error))
            return None
        sampler = integer(texture, "sampler")
        settings = {} if sampler is None else self._document.at("samplers", sampler)
        wrap = tuple(_WRAPS.get(integer(settings, name), "repeat") for name in ("wrapS", "wrapT"))
        nearest = integer(settings, "magFilter") == _NEAREST
        return Placed(path, _uv_layer(info), (wrap[0], wrap[1]), nearest)

    def mean_red(self, placed: Placed) -> float:
        """The mean of the red channel, from 0 to 1."""
        with Image.open(placed.path) as picture:
            return float(np.asarray(picture.convert("RGB"))[..., 0].mean() / 255)

    def _picture(self, texture: Json) -> Path:
        source = integer(texture, "source")  # what a file gives who doesn't know the extensions
        for name in _READABLE:
            source = integer(extension(texture, name) or {}, "source") if source is None else source
        if source is None:
            if extension(texture, "KHR_texture_basisu") is not None:
                raise BrokenModelError(
                    "a texture of it is a KTX2 file (KHR_texture_basisu), which is not read here: "
                    "export it again with PNG or JPEG"
                )
            raise BrokenModelError("a texture of it names no picture")
        if source not in self._pictures:
            self._pictures[source] = self._stage(self._document.at("images", source))
        return self._pictures[source]

    def _stage(self, image: Json) -> Path:
        document, uri, view = self._document, text(image, "uri"), integer(image, "bufferView")
        if view is not None:
            content, what = bytes(document.view(view)[0]), "a texture of it"
        elif uri is None:
            raise BrokenModelError("a texture of it names no picture")
        elif uri[:5].lower() == "data:":
            content, what = document.content(uri), "a texture of it"
        else:
            content, what = self._file(uri)
        return document.files.stage_texture(content, what)

    def _file(self, uri: str) -> tuple[bytes, str]:
        files = self._document.files
        folder = files.path.parent
        path = files.find(folder, uri)  # a name with a percent sign of its own
        if path is None:
            path = files.find_texture(folder, "" if "://" in uri else unquote(uri))
        return files.read(path), f"its texture {path.name}"


def _uv_layer(info: Json) -> UvLayer:
    texcoord = integer(info, "texCoord") or 0
    moved = extension(info, "KHR_texture_transform")
    if moved is None:
        return UvLayer(texcoord)
    other = integer(moved, "texCoord")
    shift_u, shift_v = numbers(moved, "offset", (0.0, 0.0))
    scale_u, scale_v = numbers(moved, "scale", (1.0, 1.0))
    transform = (shift_u, shift_v, number(moved, "rotation", 0.0), scale_u, scale_v)
    return UvLayer(texcoord if other is None else other, transform)
