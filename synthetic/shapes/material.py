"""Materials: a colour or an image, and how much it shines. Colours are sRGB triples in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Texture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Material:
    """What a part is made of; parts that share one object share one entry of the material file."""

    name: str
    colour: Colour
    texture: Texture | None = None  # [H, W, 3] sRGB, first row on top; replaces `colour` on the surface
    gloss: float = 0.15  # 0 is chalk, 1 is polished


def from_hex(text: str) -> Colour:
    """Colour of a "#rrggbb" string."""
    return int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255


def to_hex(colour: Colour) -> str:
    """The "#rrggbb" string nearest to a colour."""
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colour)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Colour between two: `share` 0 gives the first, 1 the second."""
    blend = (1 - share) * np.asarray(first) + share * np.asarray(second)
    return float(blend[0]), float(blend[1]), float(blend[2])


def darker(colour: Colour, share: float) -> Colour:
    """The colour mixed with black by `share`."""
    return mix(colour, (0.0, 0.0, 0.0), share)


def lighter(colour: Colour, share: float) -> Colour:
    """The colour mixed with white by `share`."""
    return mix(colour, (1.0, 1.0, 1.0), share)


def linear(colour: Colour) -> Colour:
    """Linear-light value of an sRGB colour (IEC 61966-2-1)."""
    srgb = np.asarray(colour, dtype=np.float64)
    value = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(value[0]), float(value[1]), float(value[2])
