"""Strawberry: a red heart-shaped berry with seeds and a crown of green leaves."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GREENS, leaf
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, lighter
from synthetic.shapes.parts import Part, lathe, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one berry about 1 unit high, its tip below."""
    red = draw.colour("flesh", ("#d9202c", "#c81a2a", "#e2333a", "#b8162a"))
    wide, tall = draw.uniform("radius", 0.38, 0.47), draw.uniform("height", 0.9, 1.12)
    full = draw.uniform("fullness", 0.55, 0.8)
    outline = [
        (0, 0),
        (0.22 * wide, 0.03),
        (full * wide, 0.36),
        (wide, 0.72),
        (0.9 * wide, 0.9),
        (0.5 * wide, 0.99),
    ]
    curve = spline(np.array([*outline, (0, 0.96)]) * [1, tall], 30)
    squash, bend = draw.uniform("squash", 0.85, 1.0), draw.uniform("bend", -0.1, 0.1)
    berry = lathe(Material("flesh", red, _seeds(draw, red), gloss=0.5), curve, 40)
    parts = [
        berry.warped(lambda v: v + np.outer((1 - v[:, 1] / tall) ** 2 * bend, [1, 0, 0])).scaled(1, 1, squash)
    ]
    green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.2)
    count = draw.integer("leaves", 7, 11)
    length, droop = draw.uniform("leaf_length", 0.3, 0.42), draw.uniform("droop", 0.9, 1.6)
    for k in range(count):
        reach = length * draw.rng.uniform(0.85, 1.15)
        blade = leaf(green, reach, 0.15, droop, 2 * np.pi * k / count + draw.rng.uniform(-0.15, 0.15), 0.55)
        parts.append(blade.moved(y=0.95 * tall))
    lean = draw.uniform("stalk_lean", -0.1, 0.1)
    stalk = [
        (0, 0.94 * tall, 0),
        (0.2 * lean, 1.04 * tall, 0),
        (lean, tall * 1.0 + draw.uniform("stalk", 0.14, 0.28), 0),
    ]
    return [*parts, tube(green, spline(stalk, 8), 0.024, 8)]


def _seeds(draw: Draw, red: Colour) -> Texture:
    """Pale seeds in dark pits, whiter at the shoulder."""
    seed = draw.colour("seeds", ("#f2d36b", "#e8c25a", "#f5e08a"))
    across = draw.integer("seeds_across", 11, 14)
    u, v = textures.places(160, 240)
    i, j = v * draw.integer("seeds_up", 8, 10), u * across
    j = j + 0.5 * (np.floor(i) % 2)
    far = np.hypot((i % 1 - 0.5) * 0.75, j % 1 - 0.5)
    image = np.broadcast_to(red, (160, 240, 3)).copy()
    image += (
        (np.array(lighter(red, 0.45)) - red)
        * np.clip((v - 0.8) / 0.2, 0, 1)[..., None]
        * draw.uniform("pale", 0, 1)
    )
    image[far < 0.3] = darker(red, 0.3)
    image[far < 0.19] = seed
    return textures.painted(image)


FAMILY = Family("strawberry", 949, "n07745940", None, build)
