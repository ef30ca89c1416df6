"""Environment maps: pictures of all directions that give light, as radiance, in EXR or Radiance HDR files.

A map is a lat-long picture, twice as wide as high; its first row is up, and its columns run to the right as for one who
stands inside. Turned by `rotation` its middle lies in the direction in which a camera of that yaw would stand.
"""

from __future__ import annotations

import importlib.util
import os
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from synthetic.atomic import opened
from synthetic.surroundings.settings import MEAN_RADIANCE, SurroundingsError
from synthetic.viewpoints import Array

SUFFIXES = (".exr", ".hdr")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear RGB (ITU-R BT.709)
_NEGATIVE = -0.1  # times the mean: more than lossy compression makes of black
_MOST_FOR_LIGHT = 1024  # pixels along the horizon
_HEAD = 65536  # bytes of a file, which hold its size


def bundled_worlds() -> dict[str, Path]:
    """The maps that come along with Blender's wheel, by name, without importing Blender."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise SurroundingsError(
            "the maps of --light hdri come along with Blender (bpy), which is not installed"
        )
    found = Path(spec.origin).parent.glob("*/datafiles/studiolights/world/*.exr")
    return {path.stem: path for path in sorted(found)}


@dataclass(frozen=True)
class World:
    """An environment map: linear RGB radiance `pixels` [H,2H,3], none negative, the first row up."""

    pixels: npt.NDArray[np.float32]

    @cached_property
    def mean(self) -> float:
        """Mean luminance over all directions."""
        return float(_weights(len(self.pixels)) @ (self.pixels @ LUMINANCE).mean(axis=1))

    @property
    def strength(self) -> float:
        """The factor by which the mean becomes that of the usual light."""
        return MEAN_RADIANCE / self.mean

    def radiance(self, directions: Array, rotation: float) -> Array:
        """[...,3] from `directions` [...,3] in our world frame, interpolated between pixels."""
        height, width = self.pixels.shape[:2]
        x, y, z = np.moveaxis(directions, -1, 0)
        turn = np.arctan2(-x, z) - rotation
        column = (0.5 + turn / (2 * np.pi)) * width - 0.5
        row = np.arctan2(np.hypot(x, z), y) / np.pi * height - 0.5
        left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
        right, down = (column - left)[..., None], (row - top)[..., None]

        def texel(across: int, below: int) -> Array:
            rows = (top + below).clip(0, height - 1)
            return np.asarray(self.pixels[rows, (left + across) % width], np.float64)

        upper = texel(0, 0) * (1 - right) + texel(1, 0) * right
        lower = texel(0, 1) * (1 - right) + texel(1, 1) * right
        return np.asarray(upper * (1 - down) + lower * down)


def _weights(height: int) -> Array:
    """[H] shares of all directions that lie in each row."""
    edges: Array = np.cos(np.linspace(0, np.pi, height + 1))
    return np.asarray((edges[:-1] - edges[1:]) / 2, np.float64)


def read_world(path: Path, most_side: int) -> World:
    """The map in a file. Raises SurroundingsError where it is none, or more than `most_side` pixels wide."""
    width, height = _size(path)
    if width != 2 * height:
        raise SurroundingsError(
            f"{path}: expected an environment map, which is twice as wide as high, found {width} x {height} pixels"
        )
    if width > most_side:
        raise SurroundingsError(
            f"{path}: is {width} pixels wide, at most {most_side} are allowed (--max-texture)"
        )
    pixels = _decoded(path)
    if not np.isfinite(pixels).all():
        raise SurroundingsError(f"{path}: has pixels that are no finite number")
    found = World(pixels.clip(0))
    if not found.mean > 0:
        raise SurroundingsError(f"{path}: is all black and gives no light")
    if pixels.min() < _NEGATIVE * found.mean:
        raise SurroundingsError(f"{path}: has negative radiance, down to {pixels.min():.3g}")
    return found


def _decoded(path: Path) -> npt.NDArray[np.float32]:
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    import cv2  # who needs no map needs none of it

    try:
        pixels = cv2.imread(str(path), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.float32:
        raise SurroundingsError(f"{path}: cannot be read as a picture of red, green and blue radiance")
    return np.ascontiguousarray(pixels[..., 2::-1])


def write_world(world: World, path: Path) -> None:
    """Writes a map as an uncompressed EXR that Blender reads fast, at most 1024 pixels wide: enough for light.

    Half floats, where they hold its brightest pixel: light within 0.05 %.
    """
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
    import cv2

    pixels = world.pixels[..., ::-1]
    if pixels.shape[1] > _MOST_FOR_LIGHT:
        pixels = cv2.resize(pixels, (_MOST_FOR_LIGHT, _MOST_FOR_LIGHT // 2), interpolation=cv2.INTER_AREA)
    half = float(pixels.max()) < float(np.finfo(np.float16).max)
    kind = cv2.IMWRITE_EXR_TYPE_HALF if half else cv2.IMWRITE_EXR_TYPE_FLOAT
    how = [cv2.IMWRITE_EXR_TYPE, kind, cv2.IMWRITE_EXR_COMPRESSION, cv2.IMWRITE_EXR_COMPRESSION_NO]
    if not cv2.imwrite(str(path), pixels, how):
        raise OSError(f"{path}: cannot be written")


def _size(path: Path) -> tuple[int, int]:
    """Width and height that the head of a file states, before all of it is decoded."""
    try:
        with opened(path) as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise SurroundingsError(f"{path}: cannot be read ({error.strerror})") from None
    if head[:4] == b"\x76\x2f\x31\x01":
        place = head.find(b"dataWindow\0box2i\0\x10\0\0\0")
        if 0 <= place <= len(head) - 37:
            left, top, right, bottom = struct.unpack_from("<4i", head, place + 21)
            return right - left + 1, bottom - top + 1
    if head.startswith(b"#?"):
        found = re.search(rb"\n-Y (\d{1,9}) \+X (\d{1,9})\n", head)
        if found:
            return int(found[2]), int(found[1])
    raise SurroundingsError(f"{path}: is no EXR or Radiance HDR picture")
