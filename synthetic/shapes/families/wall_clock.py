"""Wall clock: a round, square or octagonal face with hands and marks, some with a pendulum case below."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, circle, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.palettes import PAINTS, WOODS
from synthetic.shapes.parts import Part, bar, box, cylinder, loft, prism


def build(draw: Draw) -> list[Part]:
    """Parts of one clock about 1 unit across, its back at z = 0.12."""
    shape = draw.choice("shape", ["round", "round", "round", "square", "octagon"])
    wooden = draw.chance("wooden", 0.4)
    tone = draw.colour("rim", WOODS if wooden else (*PAINTS, "#24262a", "#c9ced4", "#d9a93a"))
    frame = Material("rim", tone, textures.wood(draw.rng, tone) if wooden else None, gloss=0.45)
    depth, rim = draw.uniform("depth", 0.15, 0.22), draw.uniform("rim_width", 0.06, 0.11)
    outline = _outline(shape)
    rings = [(1, 0.0), (1, 0.6), (0.97, 0.92), (1 - rim, 1.0), (1 - 1.6 * rim, 0.8)]
    parts = [
        loft(
            frame, [np.column_stack([s * outline, np.full(len(outline), 0.12 - k * depth)]) for s, k in rings]
        )
    ]
    front = 0.12 - 0.8 * depth
    pale = draw.chance("pale", 0.85)
    ground = draw.colour(
        "face", ("#f7f4ea", "#fbfaf6", "#efe6cc") if pale else ("#24262a", "#1f2a44", "#7a2f2a")
    )
    ink = from_hex("#1d1e21") if pale else from_hex("#f4f1e8")
    face = prism(
        Material("face", ground, _dial(draw, ground, ink), gloss=0.2), outline * (1 - 1.5 * rim), 0.02
    )
    parts.append(face.moved(z=front - 0.002))
    parts += _hands(draw, ink, 0.46 * (1 - rim), front - 0.014)
    if draw.chance("pendulum", 0.3):
        parts += _pendulum(draw, frame, depth)
    return parts


def _outline(shape: str) -> Points:
    """Outline of half-width 0.5."""
    if shape == "octagon":
        return circle(0.53, 8)
    return superellipse(1, 1, 8, 48) if shape == "square" else circle(0.5, 48)


def _dial(draw: Draw, ground: Colour, ink: Colour) -> Texture:
    """Sixty marks, the hours longer, the quarters thicker; perhaps a ring."""
    u, v = textures.places(256, 256)
    x, y = 2 * u - 1, 2 * v - 1
    radius, angle = np.hypot(x, y), np.arctan2(x, y) / (2 * np.pi)
    image = np.broadcast_to(ground, (256, 256, 3)).copy()
    long = draw.uniform("hour_marks", 0.16, 0.26)
    for count, start, width in ((12, 0.9 - long, 0.03), (4, 0.86 - long, 0.055), (60, 0.86, 0.011)):
        away = np.abs((angle * count + 0.5) % 1 - 0.5) / count * 2 * np.pi * radius
        image[(away < width) & (radius > start) & (radius < 0.9)] = ink
    if draw.chance("ring", 0.4):
        second = draw.colour("ring_colour", ("#c8382e", "#2f62a3", "#2f7d4f", "#b98a46"))
        image[(np.abs(radius - 0.52) < 0.02) | (np.abs(radius - 0.95) < 0.015)] = second
    return textures.painted(image)


def _hands(draw: Draw, ink: Colour, reach: float, z: float) -> list[Part]:
    """Hour, minute and second hand at a time that fits together."""
    minutes = draw.integer("minutes", 0, 719)
    black, red = (
        Material("hand", ink, gloss=0.3),
        Material("second", draw.colour("second_hand", ("#d8262e", "#d9a93a")), gloss=0.4),
    )
    parts = []
    for turns, length, width, k in ((minutes / 720, 0.5, 0.05, 0), (minutes / 60, 0.8, 0.036, 1)):
        pointer = [
            (-width / 2, -0.12 * reach),
            (width / 2, -0.12 * reach),
            (0.7 * width, 0.55 * length * reach),
            (0, length * reach),
            (-0.7 * width, 0.55 * length * reach),
        ]
        parts.append(prism(black, pointer, 0.014).turned("z", 2 * np.pi * turns).moved(z=z - 0.014 * k))
    sweep = 2 * np.pi * draw.uniform("seconds", 0, 1)
    parts.append(
        prism(
            red,
            [(-0.009, -0.18 * reach), (0.009, -0.18 * reach), (0.006, 0.82 * reach), (-0.006, 0.82 * reach)],
            0.01,
        )
        .turned("z", sweep)
        .moved(z=z - 0.028)
    )
    return [*parts, cylinder(black, 0.04, 0.06, 0.008, 18).turned("x", -np.pi / 2).moved(z=z + 0.015)]


def _pendulum(draw: Draw, frame: Material, depth: float) -> list[Part]:
    """A glazed case below with a brass bob."""
    long, wide = draw.uniform("case", 0.4, 0.6), draw.uniform("case_width", 0.34, 0.44)
    brass = Material("bob", from_hex("#d9a93a"), gloss=0.8)
    dark = Material("inside", from_hex("#2f2620"), gloss=0.5)
    y, z = -0.42 - long / 2, 0.12 - 0.35 * depth
    swing = draw.uniform("swing", -0.2, 0.2)
    foot = (long * 0.66 * np.sin(swing), -0.42 - 0.66 * long, 0.12 - 0.72 * depth)
    return [
        box(frame, (wide, long, 0.7 * depth), (0, y, z), 0.015),
        box(dark, (wide - 0.09, long - 0.06, 0.04), (0, y + 0.01, 0.12 - 0.66 * depth), 0.004),
        bar(brass, (0, -0.42, foot[2]), foot, 0.012, 8),
        cylinder(brass, 0.075, 0.03, 0.008, 24)
        .turned("x", -np.pi / 2)
        .moved(foot[0], foot[1], foot[2] + 0.01),
    ]


FAMILY = Family("wall clock", 892, "n04548280", "03046257", build)
