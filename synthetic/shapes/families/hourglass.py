"""Hourglass: two bulbs of pale glass, sand in both, between two plates on posts."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import circle, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, lighter
from synthetic.shapes.palettes import METALS, WOODS
from synthetic.shapes.parts import Part, lathe, prism


def build(draw: Draw) -> list[Part]:
    """Parts of one hourglass, 1 unit high."""
    radius = draw.uniform("bulb_radius", 0.17, 0.24)
    plate = draw.uniform("plate", 0.04, 0.08)
    tint = draw.colour("frame", (*WOODS, *METALS))
    frame = Material("frame", tint, textures.wood(draw.rng, tint, 0.18), gloss=0.4)
    wide = radius + draw.uniform("overhang", 0.07, 0.11)
    posts = draw.integer("posts", 3, 4)
    sides = draw.choice("plate_sides", [posts, 40, 40])
    outline = circle(wide * (1.25 if sides == posts else 1.0), sides)
    parts = []
    for y in (plate / 2, 1 - plate / 2):
        parts.append(prism(frame, outline, plate, 0.012).turned("x", -np.pi / 2).moved(y=y))
    slim = draw.uniform("post_radius", 0.018, 0.028)
    knots = np.array(
        [
            (1.5, 0),
            (1.6, 0.06),
            (0.8, 0.12),
            (1.25, 0.3),
            (0.9, 0.5),
            (1.25, 0.7),
            (0.8, 0.88),
            (1.6, 0.94),
            (1.5, 1),
        ]
    )
    span = 1 - 2 * plate + 0.02
    turned = spline(knots * [slim, span], 30) + np.array([0, plate - 0.01])
    for corner in circle(wide - slim - 0.012, posts):
        parts.append(lathe(frame, turned, 14).moved(corner[0], 0, -corner[1]))
    return [*parts, _glass(draw, radius, plate)]


def _glass(draw: Draw, radius: float, plate: float) -> Part:
    """Both bulbs as one surface, sand showing through below its level."""
    low, high = plate - 0.005, 1 - plate + 0.005
    waist = draw.uniform("waist", 0.022, 0.04)
    half = (
        np.array([(0.55, 0.0), (0.9, 0.06), (1.0, 0.17), (0.9, 0.28), (0.5, 0.41)])
        * [radius, 1]
        * [1, high - low]
    )
    bottom = half + np.array([0, low])
    top = half[::-1] * [1, -1] + np.array([0, high])
    outline = spline(np.concatenate([bottom, [(waist, 0.5)], top]), 50)
    pane = draw.colour("glass", ("#d6e6ea", "#cfe3e0", "#e3eaee", "#c9dbe8"))
    sand = draw.colour("sand", ("#e0b66a", "#d9985a", "#e9d3a0", "#c8382e", "#3f7fae", "#f3efe6", "#7a4f8a"))
    fallen = draw.uniform("fallen", 0.15, 0.75)
    bands = [
        (0.06 + 0.3 * fallen, sand),
        (0.492, pane),
        (0.54 + 0.28 * (1 - fallen), sand),
        (1, lighter(pane, 0.25)),
    ]
    glass = Material("glass", pane, textures.rows(bands), gloss=0.9)
    return lathe(glass, outline, 36, v=(outline[:, 1] - low) / (high - low))


FAMILY = Family("hourglass", 604, "n03544143", None, build)
