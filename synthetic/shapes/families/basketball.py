"""Basketball: orange, pebbled, with black channels."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.balls import COLUMNS, ROWS, ball, directions
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import darker, from_hex
from synthetic.shapes.parts import Part


def build(draw: Draw) -> list[Part]:
    """One ball; its channels stay near upright, as in every picture of one."""
    skin = draw.colour("skin", ("#d9692a", "#c95a20", "#e0782f", "#b5522a"))
    second = draw.colour("second", ("#d9692a", "#f1ead8", "#2a3f7a", "#7a2530"))
    x, y, _ = np.moveaxis(directions(), -1, 0)
    wide = draw.uniform("channel", 0.022, 0.034)
    at, bow = draw.uniform("channel_at", 0.5, 0.58), draw.uniform("channel_bow", 0.25, 0.4)
    arcs = np.abs(np.abs(x) - at - bow * y**2)
    pebbles = textures.noise(draw.rng, (ROWS, COLUMNS), (1.0, 1.0))[..., None]
    two_tone = draw.chance("two_tone", 0.2)
    field = (np.abs(x) < at + bow * y**2)[..., None] & two_tone
    image = np.where(field, second, skin) * (0.88 + 0.2 * pebbles)
    image[np.minimum(np.minimum(np.abs(x), np.abs(y)), arcs) < wide] = darker(from_hex("#2a2320"), 0.2)
    return [ball(draw, "rubber", textures.painted(image), 0.25, 0.35)]


FAMILY = Family("basketball", 430, "n02802426", None, build)
