"""Textures of the game: DDS pictures (DXT1, DXT5) in which alpha means what the actor's material says.

"opaque": nothing. "cut": whether there is a surface, from one half on; the half-transparent edges of leaves and hair
are no glass. "colored": how much of the picture's colour is its own; where alpha is 0, it is multiplied by the colour
of the player that the thing belongs to, or of the object.
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.package import Package

Alpha = Literal["opaque", "cut", "colored"]
Color = tuple[int, int, int]

_UNREADABLE = (  # what Pillow says of files that are none
    OSError,
    ValueError,
    NotImplementedError,
    SyntaxError,
    struct.error,
    EOFError,
    IndexError,
    Image.DecompressionBombError,
)
_WIDEST = 8192
_HALF = 128


def texture_member(package: Package, file: str) -> str:
    """The name in the package of a texture that actors call FILE; as released it has a `.cached.dds` behind it.

    Raises BrokenModelError where there is none.
    """
    asked = f"art/textures/skins/{file}"
    stem = PurePosixPath(asked).with_suffix("")
    for name in (f"{asked}.cached.dds", asked, f"{stem}.dds.cached.dds", f"{stem}.png.cached.dds"):
        if name in package.names:
            return name
    raise BrokenModelError(f"{asked}: this texture is missing in the package")


def write_texture(package: Package, member: str, alpha: Alpha, color: Color, path: Path) -> None:
    """Writes the texture as PNG: RGBA with alpha 0 or 255 where it is "cut" somewhere, else RGB.

    Raises BrokenModelError where the package's file cannot be read.
    """
    pixels = _pixels(package.read(member), member)
    if alpha == "colored":
        own = pixels[..., 3:].astype(np.float32) / 255
        tint = np.asarray(color, np.float32) / 255
        colors = np.rint(pixels[..., :3] * (own + (1 - own) * tint)).astype(np.uint8)
    else:
        colors = pixels[..., :3]
    solid = pixels[..., 3] >= _HALF
    if alpha == "cut" and not solid.all():
        colors = np.dstack([colors, np.where(solid, 255, 0).astype(np.uint8)])
    Image.fromarray(colors).save(path, compress_level=6)


def _pixels(content: bytes, member: str) -> npt.NDArray[np.uint8]:
    """[H,W,4] RGBA of a picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is looked at here
            picture = Image.open(io.BytesIO(content), formats=("DDS", "PNG"))
        if max(picture.size) <= _WIDEST:
            return np.asarray(picture.convert("RGBA"))
    except _UNREADABLE as error:
        raise BrokenModelError(f"{member}: is no readable DDS picture ({error})") from error
    raise BrokenModelError(f"{member}: is {picture.size} pixels, more than {_WIDEST} on a side")
