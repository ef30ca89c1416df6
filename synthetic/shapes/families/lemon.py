"""Lemon: a yellow fruit with two tips lying across, with a leaf or beside a half that shows its segments."""

import numpy as np

from synthetic.shapes.components.citrus import half, peel
from synthetic.shapes.components.leaves import GREENS, leaf
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, from_hex, lighter
from synthetic.shapes.parts import Part, lathe


def build(draw: Draw) -> list[Part]:
    """Parts of one fruit, about 1.3 units long, tips towards ±X, perhaps with a half in front."""
    skin = draw.colour("skin", ("#f6d92e", "#f2cf22", "#f8e048", "#e9d02a"))
    radius, long = draw.uniform("radius", 0.4, 0.47), draw.uniform("length", 0.56, 0.68)
    nib = draw.uniform("nib", 0.06, 0.12)
    side = [(0, -long), (0.28 * radius, -long + 0.05), (0.75 * radius, -0.55 * long), (radius, 0)]
    other = [
        (0.78 * radius, 0.55 * long),
        (0.3 * radius, long - 0.05),
        (0.2 * radius, long + 0.4 * nib),
        (0, long + nib),
    ]
    fruit = lathe(peel(draw, skin), spline([*side, *other], 30), 40).turned("z", np.pi / 2)
    parts = [
        fruit.turned("z", draw.uniform("tilt", -0.3, 0.3)).turned("y", draw.uniform("turn", -0.35, 0.35))
    ]
    if draw.chance("leafy", 0.5):
        green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.4)
        blade = leaf(green, draw.uniform("leaf_length", 0.5, 0.65), 0.26, 0.9, 1.5, 1.0)
        parts.append(blade.moved(0.8 * long, 0.05, 0.0))
    if draw.chance("with_half", 0.6):
        flesh = lighter(from_hex("#f7e04a"), draw.uniform("pale", 0.15, 0.35))
        cut = half(draw, skin, flesh, 0.95 * radius, draw.integer("segments", 8, 10))
        turned = cut.turned("x", 0.25).turned("y", draw.uniform("half_turn", -0.3, 0.3))
        parts.append(turned.moved(draw.uniform("half_x", -0.7, -0.35), -0.03, -0.9 * radius))
    return parts


FAMILY = Family("lemon", 951, "n07749582", None, build)
