"""The textures of a material as an OBJ file can say them: pictures that are repeated or end at their borders.

A texture is an array [H, W, C] of bytes, its first row on top. What MTL has no word for is put into the picture: one
that is mirrored becomes one of twice the size, one that ends along one axis only gets as many rows of its border as the
surface reaches beyond it, one whose texels are not interpolated is enlarged.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from synthetic.staging.sampling import linear_of_srgb, srgb_of_linear
from synthetic.staging.surface import Floats, Texture

Bytes = npt.NDArray[np.uint8]
Transform = tuple[float, float, float, float]  # scale and offset of u and v

_SHARPENED = 8  # times as many texels a side where they are not interpolated
_MOST_TEXELS = 4096  # a side, of a picture that is enlarged


@dataclass(frozen=True)
class Picture:
    """A picture and how it lies: (u, v) of the surface times scale plus offset; `clamp` ends it at its borders."""

    pixels: Bytes
    transform: Transform
    clamp: bool

    def option(self) -> str:
        """The options of a texture statement of MTL, each with a blank behind it."""
        su, sv, ou, ov = self.transform
        text = f"-s {su:.9g} {sv:.9g} 1 " if (su, sv) != (1, 1) else ""
        text += f"-o {ou:.9g} {ov:.9g} 0 " if (ou, ov) != (0, 0) else ""
        return text + ("-clamp on " if self.clamp else "")


def read_picture(texture: Texture, uv: npt.NDArray[np.float32], notes: Counter[str]) -> Picture:
    """The picture of a texture for a surface whose corners lie at `uv` [N, 2] of its layer."""
    with Image.open(texture.path) as picture:
        pixels = np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if texture.nearest:
        notes["textures without interpolation enlarged"] += 1
        if max(pixels.shape[:2]) * _SHARPENED <= _MOST_TEXELS:
            pixels = pixels.repeat(_SHARPENED, axis=0).repeat(_SHARPENED, axis=1)
    scale, offset = [1.0, 1.0], [0.0, 0.0]
    clamp = texture.wrap == ("clamp", "clamp")
    for along, wrap in enumerate(texture.wrap):
        axis = 1 - along  # of the array
        size = pixels.shape[axis]
        if wrap == "mirror":
            pixels = np.concatenate([pixels, np.flip(pixels, axis)][:: 1 if along == 0 else -1], axis)
            scale[along] = 0.5
        elif wrap == "clamp" and not clamp:
            before, behind = _beyond(uv[:, along], size)
            if size + before + behind > _MOST_TEXELS:
                notes["textures that end along one axis repeated"] += 1
                continue
            # The array's rows run against v.
            pad = (before, behind) if along == 0 else (behind, before)
            pixels = np.pad(pixels, [pad if one == axis else (0, 0) for one in range(3)], mode="edge")
            scale[along] = size / (size + before + behind)
            offset[along] = before / (size + before + behind)
    return Picture(pixels, (scale[0], scale[1], offset[0], offset[1]), clamp)


def _beyond(places: npt.NDArray[np.float32], size: int) -> tuple[int, int]:
    """How many texels before and behind a picture of `size` a surface sees."""
    low, high = float(places.min(initial=0.0)), float(places.max(initial=1.0))
    return max(1, math.ceil(-low * size) + 1), max(1, math.ceil((high - 1) * size) + 1)


def times(pixels: Bytes, factors: tuple[float, ...], linear: bool) -> Bytes:
    """A picture's channels times factors; `linear` says that the bytes are light already and not sRGB.

    A grey picture becomes a colour picture where factors differ.
    """
    if all(factor == 1 for factor in factors):
        return pixels
    if len(set(factors)) == 1:
        factors = factors[:1] * pixels.shape[2]
    elif pixels.shape[2] < len(factors):
        pixels = np.repeat(pixels[..., :1], len(factors), axis=2)
    table = np.arange(256) / 255
    made = pixels.copy()
    for channel, factor in enumerate(factors):
        light = (table if linear else linear_of_srgb(table)) * factor
        values = light if linear else srgb_of_linear(light)
        made[..., channel] = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)[pixels[..., channel]]
    return made


def split_alpha(pixels: Bytes) -> tuple[Bytes, Bytes | None]:
    """Colour [H, W, 1 or 3] and alpha [H, W], None where the picture has none."""
    if pixels.shape[2] in (2, 4):
        return pixels[..., :-1], pixels[..., -1]
    return pixels, None


def brightness(pixels: Bytes) -> Floats:
    """[H, W] of a colour picture, in its own units: what stands for alpha in a picture without."""
    if pixels.shape[2] == 1:
        return pixels[..., 0].astype(np.float64)
    return np.asarray(pixels[..., :3] @ np.array([0.2126, 0.7152, 0.0722]))


def cut_at_half(alpha: Floats, cutoff: float) -> Bytes:
    """Alpha [H, W] in [0, 1] as bytes that are cut at one half where it was cut at `cutoff`.

    It is hardly ever anything but 0 or 1, which is how a reader of MTL tells a leaf from glass.
    """
    for steepness in (1.0, 4.0, 16.0, 64.0):
        made = np.round(np.clip(0.5 + (alpha - cutoff) * steepness, 0, 1) * 255)
        if ((made <= 12) | (made >= 243)).mean() >= 0.95:
            return made.astype(np.uint8)
    return np.where(alpha >= cutoff, np.uint8(255), np.uint8(0))
