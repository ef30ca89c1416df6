"""Surfaces made by hand, for tests of rays and colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from synthetic.checks.models import Truth
from synthetic.staging.surface import Material, Surface, Texture

SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float64)
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


def squares(
    sides: Sequence[float], heights: Sequence[float], materials: Sequence[Material], smooth: bool = False
) -> Surface:
    """Squares around the z axis, each with its side, height and material; textures lie on them upright."""
    count = len(sides)
    positions = [SQUARE * (side / 2) + [0, 0, height] for side, height in zip(sides, heights, strict=True)]
    normals = np.tile(np.array([0, 0, 1], np.float32), (2 * count, 3, 1))
    return Surface(
        np.concatenate(positions),
        np.concatenate([HALVES + 4 * number for number in range(count)]),
        np.repeat(np.arange(count, dtype=np.int32), 2),
        tuple(materials),
        np.zeros(2 * count, dtype=np.int32),
        (np.concatenate([CORNERS[HALVES]] * count),),
        None,
        normals if smooth else None,
    )


def texture(path: Path, pixels: np.ndarray) -> Texture:
    """A texture of pixels [H,W,C], the first row on top, whose texels have no blur between them."""
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return Texture(path, nearest=True)


def truth_of(surface: Surface) -> Truth:
    """A surface as checks see it."""
    return Truth(surface)
