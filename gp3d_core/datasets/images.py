"""Images and depth maps of a data set, decoded and held to its size and kinds (docs/dataset.md)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gp3d_core.datasets.archive import Archive, DatasetError, depth_name, mask_name
from gp3d_core.hashing import DAMAGE

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # none of those for which Pillow starts another program
_NPY_HEADER = 1024  # bytes, at most
_DEPTH_MODES = ("I;16", "I;16B", "I", "L", "RGB", "RGBA")
WIDE_DEPTH = "has several channels of 16 bits, of which eight would be lost; save it as 16-bit grey"


class Pixels:
    """Decodes what lies in `archive`; everything must be square of `resolution` pixels a side."""

    def __init__(self, archive: Archive, resolution: int) -> None:
        self._archive = archive
        self._resolution = resolution

    def image(self, name: str) -> NDArray[Any]:
        """Image uint8 [R,R,3]; raises DatasetError when unfit."""
        content = self._archive.read(name)
        image = _open(self._archive, name, content)
        where = f"{self._archive.path}: {name}"
        if image.mode != "RGB":
            raise DatasetError(f"{where} is {image.mode}, expected 8-bit RGB; convert it first")
        if loses_bits(image, content):
            raise DatasetError(f"{where} is 16-bit RGB, expected 8-bit RGB; convert it first")
        return self._decode(name, image)

    def depth(self, name: str) -> NDArray[Any]:
        """Depth uint16 [R,R] of the image `name`, larger = farther; raises DatasetError when unfit."""
        name = depth_name(name)
        content = self._archive.read(name)
        image = _open(self._archive, name, content)
        if image.mode not in _DEPTH_MODES:
            raise DatasetError(
                f"{self._archive.path}: {name} is {image.mode}, expected a 16-bit or 8-bit depth map"
            )
        if loses_bits(image, content):
            raise DatasetError(f"{self._archive.path}: {name} {WIDE_DEPTH}")
        depth = self._decode(name, image)
        depth = depth[..., 0] if depth.ndim == 3 else depth
        return depth.astype(np.uint16) * (256 if depth.dtype == np.uint8 else 1)

    def mask(self, name: str) -> NDArray[Any]:
        """Subject mask uint8 [R,R] of the image `name`, 255 = subject; raises DatasetError when unfit."""
        name = mask_name(name)
        where, side = f"{self._archive.path}: {name}", self._resolution
        content = io.BytesIO(self._archive.read(name))
        try:
            with zipfile.ZipFile(content) as arrays:
                unpacked = arrays.getinfo("mask.npy").file_size
            if unpacked > side * side + _NPY_HEADER:  # nothing larger is unpacked
                raise DatasetError(f"{where} unpacks to {unpacked} bytes, expected {side}x{side} numbers")
            content.seek(0)
            mask = np.load(content, allow_pickle=False)["mask"]
        except DAMAGE as error:
            raise (
                error
                if isinstance(error, DatasetError)
                else DatasetError(f"{where} cannot be read ({error}); `gp3d data mask` makes it again")
            ) from error
        if mask.dtype != np.uint8 or mask.shape != (side, side):
            shape = "x".join(map(str, mask.shape))
            raise DatasetError(
                f"{where} is {mask.dtype} {shape}, expected uint8 {side}x{side} like the image"
            )
        return mask

    def _decode(self, name: str, image: Image.Image) -> NDArray[Any]:
        """Pixels [R,R,...] of an image that has the data set's size."""
        side = self._resolution
        if image.size != (side, side):
            raise DatasetError(
                f"{self._archive.path}: {name} is {image.width}x{image.height} px, "
                f"expected {side}x{side} like the rest"
            )
        with _decoding(self._archive, name):
            image.load()
            return np.asarray(image)


def width_of(archive: Archive, name: str) -> int:
    """Pixels across of the image `name`, by its header."""
    return _open(archive, name, archive.read(name)).width


def _open(archive: Archive, name: str, content: bytes) -> Image.Image:
    """The image, of which only the header has been read."""
    with _decoding(archive, name):
        return Image.open(io.BytesIO(content), formats=_FORMATS)


@contextmanager
def _decoding(archive: Archive, name: str) -> Iterator[None]:
    """Turns what Pillow raises for a damaged file into a DatasetError."""
    try:
        yield
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{archive.path}: {name} cannot be read ({error}); render or copy it again"
        ) from error


def loses_bits(image: Image.Image, content: bytes) -> bool:
    """Whether `image`, whose file begins with these 25 bytes or more, has 16 bits a channel, and Pillow gives eight.

    So it is for PNG files of several channels, without a word.
    """
    png = content[:8] == b"\x89PNG\r\n\x1a\n" and content[12:16] == b"IHDR"
    return png and content[24] == 16 and not image.mode.startswith("I")
