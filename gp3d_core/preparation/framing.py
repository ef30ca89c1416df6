"""How a picture becomes a square of the data set's size: the one definition, for images and for what lies over them.

Conventions. A box is (left, top, right, bottom) in pixels of the upright source. Resizing is Lanczos (three lobes,
widened by the factor of reduction, so that nothing aliases) on sRGB-encoded values, as the papers' data were made
(3DGP App. A); values that overshoot are clamped. Each picture is cut first and then resized once, straight from its
full size: nothing outside the cut bleeds in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image

Fit = Literal["crop", "letterbox"]
Box = tuple[int, int, int, int]
WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Frame:
    """Which part `source` of a picture comes to lie where (`target`) in the square of `resolution` pixels a side."""

    source: Box
    target: Box
    resolution: int

    @property
    def scale(self) -> float:
        """Target pixels for each source pixel, along the longer side; above 1 the picture was enlarged."""
        return max(
            (self.target[2] - self.target[0]) / (self.source[2] - self.source[0]),
            (self.target[3] - self.target[1]) / (self.source[3] - self.source[1]),
        )


def frame(width: int, height: int, resolution: int, fit: Fit) -> Frame:
    """The frame of a picture of `width` × `height` pixels.

    crop: the square in the middle (of an odd rest the right and lower half is larger). letterbox: the whole picture,
    its longer side on the edges, in the middle of white.
    """
    if fit == "letterbox":
        return onto((0, 0, width, height), resolution)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return onto((left, top, left + side, top + side), resolution)


def onto(box: Box, resolution: int) -> Frame:
    """The frame that takes the `box` of a picture: its longer side on the edges, in the middle."""
    width, height = box[2] - box[0], box[3] - box[1]
    longer = max(width, height)
    inner_width, inner_height = (
        max(1, (2 * n * resolution + longer) // (2 * longer)) for n in (width, height)
    )
    left, top = (resolution - inner_width) // 2, (resolution - inner_height) // 2
    return Frame(box, (left, top, left + inner_width, top + inner_height), resolution)


def place(image: Image.Image, where: Frame) -> Image.Image:
    """The RGB picture `image` cut, resized and laid on white as `where` says: `resolution` × `resolution` pixels."""
    left, top, right, bottom = where.target
    inner = resize(image, right - left, bottom - top, where.source)
    if inner.size == (where.resolution, where.resolution):
        return inner
    canvas = Image.new("RGB", (where.resolution, where.resolution), WHITE)
    canvas.paste(inner, (left, top))
    return canvas


def resize(image: Image.Image, width: int, height: int, box: Box | None = None) -> Image.Image:
    """`image` (mode RGB, L or F), or its part `box`, in `width` × `height` pixels: the data set's only resampling."""
    part = image if box is None else image.crop(box)  # Pillow's own box would let the outside bleed in
    return part.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=None)
