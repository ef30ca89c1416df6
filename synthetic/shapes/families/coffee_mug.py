"""Coffee mug: a glazed cup with one handle towards +X."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vessels import radius_at, vessel
from synthetic.shapes.curves import Points, in_plane, rounded, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, lighter
from synthetic.shapes.palettes import GLAZES
from synthetic.shapes.parts import Part, lathe, sweep


def build(draw: Draw) -> list[Part]:
    """Parts of one mug, about one unit high."""
    height = draw.uniform("height", 0.85, 1.15)
    top = draw.uniform("top_radius", 0.38, 0.5)
    bottom = top * draw.uniform("taper", 0.72, 1.02)
    belly = draw.uniform("belly", -0.04, 0.08)
    middle = (top + bottom) / 2 + belly
    wall = spline([(bottom, 0.06), (middle, 0.45 * height), (top, height)], 14)
    wall = np.concatenate([[(0.86 * bottom, 0.0), (0.95 * bottom, 0.012)], wall])
    glaze = draw.colour("glaze", GLAZES)
    inside = draw.colour("inside", ("#f7f4ec", "#f7f4ec", "#fbe9c8", "#3b3a3c"))
    china = Material("glaze", glaze, _decor(draw, glaze, inside), gloss=0.6)
    thickness = draw.uniform("thickness", 0.035, 0.055)
    parts = [vessel(china, wall, thickness), _handle(draw, glaze, wall, height)]
    if draw.chance("coffee", 0.6):
        level = draw.uniform("level", 0.72, 0.9) * height
        radius = radius_at(wall, level) - 0.5 * thickness
        coffee = Material("coffee", draw.colour("coffee_colour", ("#3b1f10", "#8a5a34")), gloss=0.7)
        parts.append(lathe(coffee, [(radius, level - 0.04), (radius, level)]))
    return parts


def _decor(draw: Draw, glaze: Colour, inside: Colour) -> Texture:
    """Glaze outside, another one inside."""
    second = draw.colour("second", ("#f7f4ec", "#2c3e50", "#f0b429", "#d8452f", "#3a8f5c"))
    kind = draw.choice("decor", ["plain", "plain", "band", "stripes", "dots", "checks", "dipped"])
    low, high = draw.uniform("decor_low", 0.2, 0.45), draw.uniform("decor_high", 0.6, 0.9)
    outside = textures.plain(glaze)
    if kind == "band":
        outside = textures.rows([(low, glaze), (high, second), (1, glaze)])
    if kind == "stripes":
        edges = np.linspace(low, high, 2 * draw.integer("stripes", 2, 4))
        outside = textures.rows([(e, (glaze, second)[k % 2]) for k, e in enumerate(edges)] + [(1, glaze)])
    if kind == "dipped":
        outside = textures.rows([(low, lighter(second, 0.1)), (1, glaze)])
    if kind == "dots":
        outside = textures.dots(glaze, second, draw.integer("dots", 8, 11), 4)
    if kind == "checks":
        outside = textures.checks(glaze, second, 2 * draw.integer("checks", 5, 8), 6)
    return textures.stacked(outside, textures.plain(inside))


def _handle(draw: Draw, glaze: Colour, wall: Points, height: float) -> Part:
    """A D- or C-shaped bow whose ends stop inside the wall."""
    low = draw.uniform("handle_low", 0.16, 0.26) * height
    high = draw.uniform("handle_high", 0.76, 0.88) * height
    reach = draw.uniform("handle_reach", 0.26, 0.38)
    start, end = radius_at(wall, high) - 0.025, radius_at(wall, low) - 0.025
    out = max(start, end) + reach
    corners = [(start, high), (out, high + 0.02), (out - 0.06, low), (end, low)]
    bow = rounded(corners, draw.uniform("handle_round", 0.18, 0.4), 8)
    section = superellipse(
        draw.uniform("handle_width", 0.1, 0.16), draw.uniform("handle_depth", 0.065, 0.09), 2.5, 12
    )
    return sweep(Material("handle", glaze, gloss=0.6), in_plane(bow, "xy"), section, up=(0, 1, 0))


FAMILY = Family("coffee mug", 504, "n03063599", "03797390", build)
