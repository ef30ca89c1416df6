"""Balls: a round part whose picture is a function of direction."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.draw import Draw
from synthetic.shapes.material import Material, Texture
from synthetic.shapes.parts import Part, sphere

ROWS, COLUMNS = 128, 256


@cache
def directions() -> NDArray[np.float64]:
    """Unit vectors [128, 256, 3] from the centre to the texels of a `sphere`, in the frame of the ball."""
    u, v = textures.places(ROWS, COLUMNS)
    turn, rise = 2 * np.pi * (u - 0.5), np.pi * (v - 0.5)
    return np.stack([-np.cos(rise) * np.sin(turn), np.sin(rise), -np.cos(rise) * np.cos(turn)], axis=-1)


@cache
def seam_distance() -> NDArray[np.float64]:
    """Chord length [128, 256] from each texel to the closed seam of a tennis ball or baseball."""
    t = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    a, b = 0.72, 0.28
    seam = np.stack(
        [
            a * np.cos(t) + b * np.cos(3 * t),
            a * np.sin(t) - b * np.sin(3 * t),
            2 * np.sqrt(a * b) * np.sin(2 * t),
        ],
        axis=1,
    )
    cosine = (directions().reshape(-1, 3) @ seam.T).max(axis=1)
    return np.asarray(np.sqrt(np.maximum(2 - 2 * cosine, 0)).reshape(ROWS, COLUMNS))


def ball(draw: Draw, name: str, image: Texture, gloss: float, tilt: float = np.pi) -> Part:
    """A ball of radius 0.5 lying on the ground, turned at random by up to `tilt`, a little flat where it lies."""
    part = sphere(Material(name, (0.5, 0.5, 0.5), image, gloss=gloss), 0.5, 44)
    part = part.turned("y", draw.uniform("turn_y", -tilt, tilt)).turned(
        "x", draw.uniform("turn_x", -tilt, tilt)
    )
    part = part.turned("z", draw.uniform("turn_z", -tilt, tilt))
    ground = draw.uniform("sink", 0.0, 0.08) - 0.5
    squash = draw.uniform("squash", 0.0, 0.05)

    def lie(v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Presses what is below the ground nearly flat."""
        height = np.maximum(v[:, 1], ground + 0.15 * (v[:, 1] - ground))
        return np.column_stack([v[:, 0], height, v[:, 2]])

    return part.warped(lie).scaled(1 + squash, 1, 1 + squash)
