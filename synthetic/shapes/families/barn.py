"""Barn: a gambrel roof over boards, big doors with crossed braces in the gable to the front, perhaps a silo."""

from itertools import pairwise

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, lighter
from synthetic.shapes.parts import Part, bar, box, cylinder, lathe, prism


def build(draw: Draw) -> list[Part]:
    """Parts of one barn about 1 unit wide, its gable at z = 0."""
    tone = draw.colour("boards", ("#a8281f", "#b5322a", "#8f2a22", "#a8281f", "#7a5a3a", "#d9d4c8"))
    trim = Material("trim", draw.colour("trim", ("#f4f1e8", "#efe9da", "#f7f5ef")), gloss=0.1)
    wide, wall = draw.uniform("width", 0.72, 0.88), draw.uniform("wall", 0.36, 0.46)
    rise, deep = draw.uniform("rise", 0.34, 0.44), draw.uniform("depth", 0.7, 1.05)
    knee = draw.uniform("knee", 0.6, 0.72)
    siding = Material("boards", tone, _boards(draw, tone), gloss=0.05)
    outline = np.array(
        [
            (-wide / 2, 0),
            (wide / 2, 0),
            (wide / 2, wall),
            (0.5 * knee * wide, wall + 0.62 * rise),
            (0, wall + rise),
            (-0.5 * knee * wide, wall + 0.62 * rise),
            (-wide / 2, wall),
        ]
    )
    parts = [prism(siding, outline, deep).moved(z=deep / 2)]
    parts += _roof(draw, trim, outline[2:], deep)
    parts += _doors(draw, tone, trim, wide, wall, rise)
    if draw.chance("silo", 0.5):
        parts += _silo(draw, wide, wall + rise, deep)
    return parts


def _boards(draw: Draw, tone: Colour) -> Texture:
    """Upright boards."""
    image = textures.staves(draw.rng, tone, draw.integer("board_count", 18, 26))
    return (0.55 * image + 0.45 * 255 * np.array(tone)).astype(np.uint8)


def _roof(draw: Draw, trim: Material, corners: Points, deep: float) -> list[Part]:
    """Four slabs, white boards along the gable edges and a small turret."""
    tone = draw.colour("roof", ("#5a5f66", "#6b4a3a", "#3b4048", "#8a8f94", "#4a5a52"))
    slate = Material("roof", tone, textures.speckle(draw.rng, tone, 0.2), gloss=0.1)
    parts = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        angle, length = np.arctan2(y1 - y0, x1 - x0), np.hypot(x1 - x0, y1 - y0)
        at = ((x0 + x1) / 2, (y0 + y1) / 2, deep / 2)
        parts.append(
            box(slate, (length + 0.05, 0.035, deep + 0.1), bevel=0.004).turned("z", angle).moved(*at)
        )
        parts.append(
            box(trim, (length + 0.035, 0.045, 0.025)).turned("z", angle).moved(at[0], at[1] - 0.01, -0.055)
        )
    top = float(corners[:, 1].max())
    if draw.chance("cupola", 0.5):
        z = 0.5 * deep
        parts.append(box(trim, (0.12, 0.16, 0.12), (0, top + 0.04, z)))
        parts.append(lathe(slate, [(0.11, 0), (0.11, 0.01), (0, 0.09)], 4).moved(0, top + 0.12, z))
    return parts


def _doors(draw: Draw, tone: Colour, trim: Material, wide: float, wall: float, rise: float) -> list[Part]:
    """Two leaves with crossed braces, a hay loft above, windows beside."""
    dark = draw.chance("pale_doors", 0.3)
    leaf = Material("door", lighter(tone, 0.1) if dark else darker(tone, 0.22), gloss=0.1)
    w, h = draw.uniform("door_width", 0.19, 0.23) * wide, draw.uniform("door_height", 0.72, 0.86) * wall
    parts, windows = [], draw.chance("windows", 0.6)
    for side in (-1, 1):
        parts += _braced(leaf, trim, side * w / 2, h / 2, w, h)
        if windows:
            parts += _braced(
                Material("window", (0.16, 0.18, 0.2), gloss=0.7),
                trim,
                side * 0.36 * wide,
                0.62 * wall,
                0.11,
                0.13,
                False,
            )
    loft = draw.choice("loft", ["door", "door", "round"])
    y = wall + 0.34 * rise
    if loft == "door":
        return parts + _braced(leaf, trim, 0, y, 0.17, 0.17)
    disc = (
        cylinder(trim, 0.1, 0.03, segments=28).turned("x", -np.pi / 2),
        cylinder(Material("window", (0.16, 0.18, 0.2), gloss=0.7), 0.08, 0.04, segments=28).turned(
            "x", -np.pi / 2
        ),
    )
    return (
        parts
        + [part.moved(0, y, 0.005) for part in disc]
        + [bar(trim, (-0.08, y, -0.035), (0.08, y, -0.035), 0.008, 6)]
    )


def _braced(
    leaf: Material, trim: Material, x: float, y: float, w: float, h: float, crossed: bool = True
) -> list[Part]:
    """A leaf with a white frame, with a cross where `crossed`."""
    parts = [box(leaf, (w - 0.01, h - 0.01, 0.03), (x, y, -0.005))]
    t = 0.022
    parts += [box(trim, (t, h, 0.04), (x + s * (w - t) / 2, y, -0.01)) for s in (-1, 1)]
    parts += [box(trim, (w, t, 0.04), (x, y + s * (h - t) / 2, -0.01)) for s in (-1, 1)]
    if crossed:
        angle, length = np.arctan2(h, w), 0.94 * np.hypot(w, h)
        parts += [box(trim, (length, t, 0.036)).turned("z", s * angle).moved(x, y, -0.009) for s in (-1, 1)]
    return parts


def _silo(draw: Draw, wide: float, top: float, deep: float) -> list[Part]:
    """A round tower with a dome beside the barn."""
    tone = draw.colour("silo_colour", ("#c9ced4", "#b5aa9a", "#d9d4c8", "#8f959c"))
    radius, tall = draw.uniform("silo_radius", 0.13, 0.17), top * draw.uniform("silo_height", 0.95, 1.25)
    shell = Material(
        "silo",
        tone,
        textures.rows([((k + 1) / 16, (tone, darker(tone, 0.12))[k % 2]) for k in range(16)]),
        gloss=0.3,
    )
    x = draw.choice("silo_side", [-1, 1]) * (wide / 2 + radius + 0.05)
    cap = Material("dome", lighter(tone, 0.25), gloss=0.5)
    dome = np.concatenate([[(1.04 * radius, -0.01)], arc(1.04 * radius, 0.8 * radius, 0, np.pi / 2, 10)])
    return [
        cylinder(shell, radius, tall, segments=32).moved(x, 0, 0.45 * deep),
        lathe(cap, dome, 32).moved(x, tall, 0.45 * deep),
    ]


FAMILY = Family("barn", 425, "n02793495", None, build)
