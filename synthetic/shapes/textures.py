"""Image textures made by numpy: uint8 [H, W, 3] sRGB, first row on top (v = 1), all of them tile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from synthetic.shapes.material import Colour, Texture, darker, lighter

LEVELS = 24  # shades of a noise ramp: enough for the eye, few enough for PNG to pack well


def ramp(values: NDArray[np.float64], low: Colour, high: Colour) -> Texture:
    """Image [H, W, 3] that runs from `low` at 0 to `high` at 1, in a few steps."""
    share = np.round(np.clip(values, 0, 1) * LEVELS)[..., None] / LEVELS
    mixed = (1 - share) * np.asarray(low) + share * np.asarray(high)
    return np.asarray(np.round(255 * mixed), dtype=np.uint8)


def noise(
    rng: np.random.Generator, shape: tuple[int, int], spread: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth periodic noise [H, W] in [0, 1] with the given blur (rows, columns) in pixels."""
    field = gaussian_filter(rng.standard_normal(shape), spread, mode="wrap")
    return np.asarray(np.clip(0.5 + field / (4 * field.std()), 0, 1))


def wood(rng: np.random.Generator, colour: Colour, contrast: float = 0.22) -> Texture:
    """Grain running along u: fine fibres over broad bands."""
    fibres = noise(rng, (128, 128), (0.8, 14.0))
    bands = noise(rng, (128, 128), (5.0, 34.0))
    grain = 0.5 * fibres + 0.5 * (0.5 + 0.5 * np.sin(9 * np.pi * bands))
    return ramp(grain, darker(colour, contrast), lighter(colour, 0.4 * contrast))


def staves(rng: np.random.Generator, colour: Colour, count: int) -> Texture:
    """Boards standing side by side around a barrel: `count` across u, grain along v, dark joints."""
    grain = noise(rng, (64, 256), (12.0, 0.8))
    board = np.arange(256) * count // 256
    shade = rng.uniform(-0.25, 0.25, count)[board]
    position = np.arange(256) * count / 256 % 1
    joint = np.where(np.minimum(position, 1 - position) < 0.5 * count / 256, 0.0, 1.0)
    return ramp((0.35 * grain + 0.4 + shade) * joint, darker(colour, 0.6), lighter(colour, 0.12))


def rows(bands: Sequence[tuple[float, Colour]]) -> Texture:
    """Horizontal bands [256, 4]: (top of the band in v, colour), from the bottom up; the last top must be 1."""
    tops = np.array([top for top, _ in bands])
    v = 1 - (np.arange(256) + 0.5) / 256
    index = np.minimum(np.searchsorted(tops, v), len(bands) - 1)
    colours = np.array([colour for _, colour in bands])[index]
    return np.repeat(np.round(255 * colours).astype(np.uint8)[:, None], 4, axis=1)


def columns(colours: Sequence[Colour], repeats: int) -> Texture:
    """Vertical stripes [4, W]: the colours in turn, `repeats` times around."""
    stripes = np.round(255 * np.array(list(colours) * repeats)).astype(np.uint8)
    return np.repeat(np.repeat(stripes, max(1, 256 // len(stripes)), axis=0)[None], 4, axis=0)


def checks(first: Colour, second: Colour, across: int, up: int) -> Texture:
    """Chequered image with an even number of squares `across` and `up`."""
    i, j = np.meshgrid(np.arange(up * 8) // 8, np.arange(across * 8) // 8, indexing="ij")
    return ramp(((i + j) % 2).astype(np.float64), first, second)


def dots(ground: Colour, spot: Colour, across: int, up: int, size: float = 0.28) -> Texture:
    """Staggered round spots, `across` x `up` of them; `size` is their radius as a share of the spacing."""
    cell = 24
    i, j = np.meshgrid(np.arange(up * cell) / cell, np.arange(across * cell) / cell, indexing="ij")
    j = j + 0.5 * (np.floor(i) % 2)
    distance = np.hypot(i % 1 - 0.5, j % 1 - 0.5)
    return ramp(np.clip((size - distance) * cell + 0.5, 0, 1), ground, spot)


def speckle(rng: np.random.Generator, colour: Colour, contrast: float = 0.15) -> Texture:
    """Fine-grained clay, stone or plaster."""
    grain = 0.5 * noise(rng, (128, 128), (1.0, 1.0)) + 0.5 * noise(rng, (128, 128), (9.0, 9.0))
    return ramp(grain, darker(colour, contrast), lighter(colour, 0.6 * contrast))


def waffle(colour: Colour, across: int, up: int) -> Texture:
    """Diagonal grid of dark grooves, as on an ice-cream cone."""
    i, j = np.meshgrid(np.arange(192) / 192 * up, np.arange(192) / 192 * across, indexing="ij")
    grooves = np.minimum(np.abs((i + j) % 1 - 0.5), np.abs((i - j) % 1 - 0.5))
    return ramp(np.clip(grooves / 0.16, 0, 1), darker(colour, 0.38), lighter(colour, 0.1))


def stacked(bottom: Texture, top: Texture) -> Texture:
    """One image: `bottom` in its lower half, `top` in its upper, both resampled to the larger of the two."""
    height = max(len(bottom), len(top))
    width = max(bottom.shape[1], top.shape[1])
    halves = [
        image[np.arange(height) * len(image) // height][:, np.arange(width) * image.shape[1] // width]
        for image in (top, bottom)
    ]
    return np.concatenate(halves)


def plain(colour: Colour) -> Texture:
    """Image [4, 4] of one colour."""
    return np.full((4, 4, 3), np.round(255 * np.asarray(colour)), dtype=np.uint8)


def painted(colours: NDArray[np.float64]) -> Texture:
    """Image of colours [H, W, 3] in [0, 1]."""
    return np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8)


def places(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(u, v) [rows, columns] of the texel centres, for pictures that are formulas."""
    v, u = np.meshgrid(
        1 - (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
    )
    return u, v
