"""Pictures to stand behind a model, each cut to a square."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from synthetic.atomic import opened
from synthetic.surroundings.settings import SurroundingsError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_GLANCE = 64  # pixels a side: enough to see that a file can be decoded to its end


def check_picture(path: Path, most_side: int) -> None:
    """Decodes a picture. Raises SurroundingsError where that fails or a side is longer than `most_side` pixels."""
    try:
        with opened(path) as file, Image.open(file) as picture:
            _check_size(path, picture, most_side)
            picture.draft("RGB", (_GLANCE, _GLANCE))
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, SurroundingsError):
            raise
        raise SurroundingsError(f"{path}: cannot be read as a picture") from None


def _check_size(path: Path, picture: Image.Image, most_side: int) -> None:
    if max(picture.size) > most_side:
        raise SurroundingsError(
            f"{path}: has {picture.width} x {picture.height} pixels, "
            f"at most {most_side} a side are allowed (--max-texture)"
        )


def square(path: Path, place: tuple[float, float], side: int) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """[side,side,3] of a picture and the box (left, top, right, bottom) that was cut out of the upright picture.

    The largest square, at a `place` of the room that it has, from (0, 0) at the left and top to (1, 1).
    """
    with opened(path) as file, Image.open(file) as found:
        picture: Any = ImageOps.exif_transpose(found).convert("RGB")
    short = min(picture.size)
    left, top = (int(share * (length - short + 1)) for share, length in zip(place, picture.size, strict=True))
    box = [left, top, left + short, top + short]
    return np.asarray(picture.crop(tuple(box)).resize((side, side), Image.Resampling.LANCZOS)), box
