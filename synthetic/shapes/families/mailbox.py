"""Mailbox: a round-topped box on a post, its door in front and a flag at its side (+X)."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, bar, box, cylinder, prism

BODIES = ("#2f62a3", "#c8382e", "#e9e6de", "#2f7d4f", "#3b4048", "#a9aeb5", "#24262a", "#d9a93a", "#7fb3c8")


def build(draw: Draw) -> list[Part]:
    """Parts of one mailbox, about 1.2 units high."""
    width, depth = draw.uniform("width", 0.26, 0.36), draw.uniform("depth", 0.46, 0.6)
    wall = draw.uniform("wall", 0.12, 0.2)
    post = draw.uniform("post_height", 0.5, 0.8)
    tint = draw.colour("body", BODIES)
    paint = Material("body", tint, gloss=0.45)
    door = Material("door", tint if draw.chance("same_door", 0.5) else darker(tint, 0.25), gloss=0.45)
    outline = _arch(width, wall)
    parts = [prism(paint, outline, depth, 0.008).moved(y=post)]
    middle = np.array([0, wall / 2])
    lid = prism(door, (outline - middle) * 1.06 + middle, 0.03, 0.008)
    parts.append(lid.moved(y=post, z=-depth / 2 - 0.008))
    dark = Material("metal", draw.colour("metal", ("#d8d8d4", "#24262a", "#b98a46")), gloss=0.6)
    knob = draw.uniform("knob_height", 0.7, 0.9) * (wall + width / 2)
    parts.append(
        cylinder(dark, 0.022, 0.04, 0.006, 14)
        .turned("x", -np.pi / 2)
        .moved(0, post + knob, -depth / 2 - 0.02)
    )
    if draw.chance("plate", 0.4):
        parts.append(box(dark, (0.6 * width, 0.07, 0.012), (0, post + 0.45 * wall, -depth / 2 - 0.024)))
    parts += _flag(draw, width / 2, post + wall, depth)
    return parts + _post(draw, post, width, depth)


def _arch(width: float, wall: float) -> Points:
    """Front outline: straight walls under a half circle."""
    return np.concatenate(
        [[(-width / 2, 0), (width / 2, 0)], arc(width / 2, width / 2, 0, np.pi, 19) + np.array([0, wall])]
    )


def _flag(draw: Draw, x: float, y: float, depth: float) -> list[Part]:
    """A flag on a small arm at the side, up or down."""
    paint = Material("flag", draw.colour("flag", ("#d8262e", "#e8402e", "#f2b631")), gloss=0.4)
    z = -depth * draw.uniform("flag_place", 0.1, 0.3)
    up = draw.chance("flag_up", 0.7)
    arm = box(paint, (0.014, 0.24, 0.028), (0, 0.1, 0))
    cloth = box(paint, (0.014, 0.08, 0.13), (0, 0.2, 0.06))
    turn = 0.0 if up else np.pi / 2
    return [part.turned("x", turn).moved(x + 0.012, y - 0.04, z) for part in (arm, cloth)]


def _post(draw: Draw, post: float, width: float, depth: float) -> list[Part]:
    """A wooden post with a brace, or a metal pole with a foot."""
    if draw.chance("wooden_post", 0.65):
        tone = draw.colour("post", (*WOODS, "#efeae0"))
        wood = Material("post", tone, textures.wood(draw.rng, tone), gloss=0.1)
        thick = draw.uniform("post_size", 0.09, 0.13)
        shelf = box(wood, (0.8 * width, 0.04, 0.9 * depth), (0, post - 0.015, 0), 0.008)
        brace = box(wood, (0.6 * thick, 0.3, 0.05)).turned("x", -0.75).moved(0, post - 0.13, -0.12)
        return [box(wood, (thick, post, thick), (0, post / 2 - 0.01, 0.02), 0.012), shelf, brace]
    metal = Material("pole", draw.colour("post", ("#24262a", "#5a5f66", "#b7bcc2")), gloss=0.5)
    radius = draw.uniform("pole_radius", 0.035, 0.05)
    return [
        bar(metal, (0, 0, 0), (0, post + 0.01, 0), radius, 16),
        box(metal, (0.7 * width, 0.03, 0.7 * depth), (0, post - 0.005, 0), 0.008),
        cylinder(metal, 0.14, 0.03, 0.008, 28),
    ]


FAMILY = Family("mailbox", 637, "n03710193", "03710193", build)
