"""Teapot: a round body with a lid, the spout towards -X and the handle towards +X."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vessels import radius_at
from synthetic.shapes.curves import Points, circle, in_plane, rounded, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture
from synthetic.shapes.palettes import GLAZES
from synthetic.shapes.parts import Part, lathe, sphere, sweep

BODIES = {  # (radius as a share of the width, height as a share of the body)
    "globe": [(0.5, 0), (0.55, 0.03), (0.88, 0.22), (1.0, 0.5), (0.88, 0.78), (0.5, 0.97), (0.45, 1)],
    "pear": [(0.6, 0), (0.66, 0.03), (0.98, 0.22), (1.0, 0.36), (0.75, 0.68), (0.5, 0.92), (0.45, 1)],
    "drum": [(0.85, 0), (0.95, 0.04), (1.0, 0.3), (0.97, 0.72), (0.85, 0.88), (0.5, 0.97), (0.45, 1)],
    "squat": [(0.5, 0), (0.6, 0.03), (0.95, 0.3), (1.0, 0.48), (0.9, 0.72), (0.55, 0.94), (0.48, 1)],
}


def build(draw: Draw) -> list[Part]:
    """Parts of one pot, its body about 0.6 units wide."""
    kind = draw.choice("body", sorted(BODIES))
    radius = draw.uniform("radius", 0.29, 0.35)
    height = draw.uniform("height", 0.4, 0.52) * (0.85 if kind == "squat" else 1.1 if kind == "pear" else 1.0)
    wall = spline(np.array(BODIES[kind]) * [radius, height], 30)
    tint = draw.colour("glaze", (*GLAZES, "#5a4636", "#c9c4b8"))
    china = Material("glaze", tint, _decor(draw, tint), gloss=0.65)
    plain = Material("trim", tint, gloss=0.65)
    parts = [lathe(china, wall, 48), _spout(draw, plain, wall, height), _handle(draw, plain, wall, height)]
    return parts + _lid(draw, tint, float(wall[-1, 0]), height)


def _decor(draw: Draw, tint: Colour) -> Texture:
    """Pattern around the body."""
    second = draw.colour("second", ("#f7f4ec", "#1f4e79", "#e2a33b", "#7a2f2a", "#3a8f5c"))
    kind = draw.choice("decor", ["plain", "plain", "band", "dots", "stripes"])
    if kind == "band":
        at = draw.uniform("band_at", 0.35, 0.5)
        return textures.rows([(at, tint), (at + draw.uniform("band_width", 0.06, 0.18), second), (1, tint)])
    if kind == "dots":
        return textures.dots(tint, second, draw.integer("dots", 9, 13), 6)
    if kind == "stripes":
        return textures.columns([tint, tint, second], draw.integer("stripes", 8, 12))
    return textures.plain(tint)


def _spout(draw: Draw, china: Material, wall: Points, height: float) -> Part:
    """A curved, narrowing spout that begins inside the body."""
    low = draw.uniform("spout_low", 0.25, 0.4) * height
    tip = draw.uniform("spout_high", 0.85, 1.05) * height
    out = float(wall[:, 0].max()) + draw.uniform("spout_reach", 0.17, 0.26)
    start = radius_at(wall, low) - 0.06
    curve = spline(
        [
            (-start, low),
            (-start - 0.13, low + 0.05),
            (-0.55 * out - 0.45 * start - 0.05, 0.5 * (low + tip) + 0.02),
            (-out, tip),
        ],
        18,
    )
    size = np.interp(np.linspace(0, 1, 18), [0, 0.3, 0.75, 1], [1.35, 1.0, 0.5, 0.46])
    return sweep(china, in_plane(curve, "xy"), circle(draw.uniform("spout_radius", 0.065, 0.085), 16), size)


def _handle(draw: Draw, china: Material, wall: Points, height: float) -> Part:
    """An ear-shaped handle."""
    low, high = (
        draw.uniform("handle_low", 0.2, 0.32) * height,
        draw.uniform("handle_high", 0.78, 0.88) * height,
    )
    out = float(wall[:, 0].max()) + draw.uniform("handle_reach", 0.14, 0.24)
    corners = [
        (radius_at(wall, high) - 0.03, high),
        (out, high + 0.06),
        (out - 0.03, low + 0.04),
        (radius_at(wall, low) - 0.03, low),
    ]
    bow = rounded(corners, draw.uniform("handle_round", 0.12, 0.25), 8)
    return sweep(china, in_plane(bow, "xy"), superellipse(0.05, 0.045, 2.5, 12), up=(0, 1, 0))


def _lid(draw: Draw, tint: Colour, mouth: float, height: float) -> list[Part]:
    """A domed lid with a knob."""
    own = draw.chance("lid_differs", 0.3)
    colour = draw.colour("lid", ("#f7f4ec", "#c9a24a", "#3a3d42", "#7a4a2a")) if own else tint
    glaze = Material("lid", colour, gloss=0.65)
    rise = draw.uniform("lid_height", 0.045, 0.09)
    dome = spline(
        [
            (mouth + 0.02, 0),
            (mouth + 0.022, 0.018),
            (0.65 * mouth, 0.75 * rise),
            (0.2 * mouth, rise),
            (0, rise),
        ],
        14,
    )
    knob = sphere(glaze, draw.uniform("knob", 0.032, 0.045), 16)
    return [lathe(glaze, dome, 40).moved(y=height - 0.012), knob.moved(y=height + rise + 0.012)]


FAMILY = Family("teapot", 849, "n04398044", None, build)
