"""Environment maps made by numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from synthetic.surroundings.worlds import World, write_world

HEIGHT = 32
ROW, COLUMN = 9, 22  # of the one bright pixel
BRIGHT = 40.0


def uniform(radiance: float = 3.0) -> World:
    """The same from everywhere."""
    return World(np.full((HEIGHT, 2 * HEIGHT, 3), radiance, np.float32))


def one_pixel(color: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> World:
    """Black but for one pixel."""
    pixels = np.zeros((HEIGHT, 2 * HEIGHT, 3), np.float32)
    pixels[ROW, COLUMN] = BRIGHT * np.array(color)
    return World(pixels)


def direction(rotation: float) -> tuple[np.ndarray, float]:
    """The direction of that pixel's centre, and the solid angle of the pixel."""
    polar = np.pi * (ROW + 0.5) / HEIGHT  # from straight up
    yaw = 2 * np.pi * ((COLUMN + 0.5) / (2 * HEIGHT) - 0.5) + rotation  # of a camera that stands there
    towards = np.array([-np.sin(polar) * np.sin(yaw), np.cos(polar), np.sin(polar) * np.cos(yaw)])
    return towards, (np.pi / HEIGHT) ** 2 * np.sin(polar)


def smooth(seed: int = 0) -> World:
    """A few waves of colour around all directions, from 0.2 to 1."""
    turn = 2 * np.pi * (np.arange(2 * HEIGHT) + 0.5) / (2 * HEIGHT)
    down = np.pi * (np.arange(HEIGHT) + 0.5) / HEIGHT
    waves = [np.cos(turn + 2 * k + seed)[None] * np.sin(down)[:, None] ** 2 for k in range(3)]
    return World(np.stack(waves, axis=-1).astype(np.float32) * 0.4 + 0.6)


def written(world: World, path: Path) -> Path:
    """The map as a file."""
    write_world(world, path)
    return path
