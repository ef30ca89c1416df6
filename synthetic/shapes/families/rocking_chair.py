"""Rocking chair: a wooden chair on two bowed rockers; the sitter looks towards -Z."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import in_plane, rounded, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material
from synthetic.shapes.palettes import PAINTS, WOODS
from synthetic.shapes.parts import Part, bar, box, sphere, sweep

REAR, FRONT = 0.2, -0.24  # where the legs meet the seat


def build(draw: Draw) -> list[Part]:
    """Parts of one chair, about 1.1 units high."""
    width = draw.uniform("width", 0.5, 0.6)
    seat = draw.uniform("seat_height", 0.38, 0.44)
    top = draw.uniform("back_height", 0.95, 1.15)
    lean = draw.uniform("back_lean", 0.14, 0.24)
    tone = draw.colour("wood", (*WOODS, "#f1efe9", "#3b2a20", "#c8382e", "#2f4f3f"))
    wood = Material("wood", tone, textures.wood(draw.rng, tone), gloss=0.3)
    stout = draw.uniform("post", 0.018, 0.026)
    parts = [box(wood, (width, 0.045, 0.5), (0, seat, -0.02), 0.015)]
    parts += _rockers(draw, wood, width) + _posts(wood, width, seat, top, lean, stout)
    parts += _back(draw, wood, width, seat, top, lean)
    if draw.chance("arms", 0.75):
        parts += _arms(wood, width, seat, lean, top, stout)
    if draw.chance("cushion", 0.45):
        cloth = Material("cushion", draw.colour("cushion_colour", PAINTS), gloss=0.05)
        parts.append(box(cloth, (width - 0.1, 0.06, 0.42), (0, seat + 0.045, -0.03), 0.026))
    return parts


def _rockers(draw: Draw, wood: Material, width: float) -> list[Part]:
    """The two runners: arcs that touch the floor in the middle."""
    half = draw.uniform("rocker_length", 0.44, 0.56)
    lift = draw.uniform("rocker_lift", 0.08, 0.13)
    z = np.linspace(-half, 1.1 * half, 24)
    line = np.stack([z, 0.025 + lift * (z / half) ** 2], axis=1)
    section = superellipse(0.045, 0.05, 4, 12)
    return [
        sweep(wood, in_plane(line, "zy", x), section, up=(1, 0, 0))
        for x in (-width / 2 + 0.04, width / 2 - 0.04)
    ]


def _spine(seat: float, top: float, lean: float, y: float) -> float:
    """Depth of the back at a height."""
    return REAR + lean * (y - seat) / (top - seat)


def _posts(wood: Material, width: float, seat: float, top: float, lean: float, stout: float) -> list[Part]:
    """Legs, back posts with knobs, and stretchers."""
    x = width / 2 - 0.04
    parts = []
    for side in (-x, x):
        parts.append(bar(wood, (side, 0.05, REAR + 0.04), (side, seat, REAR), stout, 12))
        parts.append(bar(wood, (side, 0.05, FRONT - 0.02), (side, seat, FRONT + 0.02), stout, 12))
        parts.append(bar(wood, (side, seat, REAR), (side, top, _spine(seat, top, lean, top)), stout, 12))
        parts.append(sphere(wood, 1.4 * stout, 12).moved(side, top, _spine(seat, top, lean, top)))
        parts.append(bar(wood, (side, 0.24, FRONT), (side, 0.24, REAR + 0.02), 0.7 * stout, 10))
    parts.append(bar(wood, (-x, 0.27, FRONT), (x, 0.27, FRONT), 0.7 * stout, 10))
    return [*parts, bar(wood, (-x, 0.2, REAR + 0.02), (x, 0.2, REAR + 0.02), 0.7 * stout, 10)]


def _back(draw: Draw, wood: Material, width: float, seat: float, top: float, lean: float) -> list[Part]:
    """Spindles or ladder slats between two rails."""
    x = width / 2 - 0.04
    angle = np.arctan2(lean, top - seat)
    high, low = top - 0.07, seat + 0.1
    crest = draw.uniform("crest", 0.08, 0.14)

    def rail(y: float, tall: float) -> Part:
        return (
            box(wood, (2 * x, tall, 0.022), bevel=0.006)
            .turned("x", angle)
            .moved(0, y, _spine(seat, top, lean, y))
        )

    parts = [rail(high, crest)]
    if draw.choice("back", ["spindles", "ladder"]) == "ladder":
        count = draw.integer("slats", 3, 4)
        return parts + [rail(y, 0.075) for y in np.linspace(low + 0.02, high - crest / 2 - 0.09, count)]
    parts.append(rail(low, 0.045))
    for px in np.linspace(-x, x, draw.integer("spindles", 5, 7) + 2)[1:-1]:
        parts.append(
            bar(
                wood,
                (px, low, _spine(seat, top, lean, low)),
                (px, high, _spine(seat, top, lean, high)),
                0.012,
                8,
            )
        )
    return parts


def _arms(wood: Material, width: float, seat: float, lean: float, top: float, stout: float) -> list[Part]:
    """Armrests on front posts."""
    y = seat + 0.23
    parts = []
    for side in (-1, 1):
        x = side * (width / 2 - 0.02)
        line = rounded(
            [(FRONT - 0.06, y - 0.02), (FRONT + 0.04, y), (_spine(seat, top, lean, y) + 0.02, y)], 0.05, 4
        )
        parts.append(sweep(wood, in_plane(line, "zy", x), superellipse(0.03, 0.07, 3.5, 12), up=(1, 0, 0)))
        parts.append(
            bar(wood, (side * (width / 2 - 0.04), seat, FRONT + 0.03), (x, y, FRONT), 0.9 * stout, 10)
        )
    return parts


FAMILY = Family("rocking chair", 765, "n04099969", "03001627", build)
