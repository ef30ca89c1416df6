"""Barrel: bulging staves, iron hoops, sunken lids, standing upright; now and then with a tap towards the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, bar, cylinder, lathe

HOOPS = ("#3a3d42", "#5a5f66", "#24262a", "#8a6a3a", "#7a4a32")


def build(draw: Draw) -> list[Part]:
    """Parts of one barrel, about 1 unit high."""
    height = draw.uniform("height", 0.9, 1.15)
    end = draw.uniform("end_radius", 0.27, 0.35)
    belly = end * draw.uniform("bulge", 1.1, 1.38)
    tone = draw.colour("wood", WOODS)
    count = draw.integer("staves", 14, 22)
    wood = Material("staves", tone, textures.staves(draw.rng, tone, count), gloss=0.2)
    lid = Material("lid", darker(tone, 0.12), textures.wood(draw.rng, darker(tone, 0.12)), gloss=0.15)
    wall = spline(
        [
            (end, 0),
            ((end + 2 * belly) / 3, 0.22 * height),
            (belly, 0.5 * height),
            ((end + 2 * belly) / 3, 0.78 * height),
            (end, height),
        ],
        17,
    )
    rim, sunk = 0.035, 0.04
    inside = [(end - rim, height), (end - rim, height - sunk), (0, height - sunk)]
    below = [(0, sunk), (end - rim, sunk), (end - rim, 0)]
    rows = np.concatenate([[0.02, 0.01, 0.0], np.linspace(0, 1, len(wall)), [1.0, 0.99, 0.98]])
    parts = [lathe(wood, np.concatenate([below, wall, inside]), 44, v=rows)]
    parts += [_board(lid, end - rim + 0.005, y) for y in (sunk - 0.01, height - sunk - 0.01)]
    return parts + _hoops(draw, wall, height) + _tap(draw, wall, height, lid)


def _board(lid: Material, radius: float, y: float) -> Part:
    """A lid with its grain running straight across."""
    disc = cylinder(lid, radius, 0.02, segments=32).moved(y=y)
    flat = disc.vertices[disc.faces][..., [0, 2]]
    return Part(disc.material, disc.vertices, disc.faces, 0.5 + 1.2 * flat)


def _hoops(draw: Draw, wall: Points, height: float) -> list[Part]:
    """Two or three hoops towards each end, mirrored."""
    iron = Material("hoop", draw.colour("hoop", HOOPS), gloss=0.5)
    wide = draw.uniform("hoop_width", 0.045, 0.075)
    places = [0.07, draw.uniform("inner_hoop", 0.3, 0.36)]
    if draw.chance("third_hoop", 0.6):
        places.insert(1, draw.uniform("middle_hoop", 0.17, 0.21))
    parts = []
    for share in [*places, *(1 - place for place in places)]:
        low, high = share * height - wide / 2, share * height + wide / 2
        bottom, top = np.interp([low, high], wall[:, 1], wall[:, 0])
        loop = [(bottom - 0.01, low), (bottom + 0.012, low), (top + 0.012, high), (top - 0.01, high)]
        parts.append(lathe(iron, loop, 44, ring=True))
    return parts


def _tap(draw: Draw, wall: Points, height: float, lid: Material) -> list[Part]:
    """A tap low in front, or a bung in the middle, or nothing."""
    kind = draw.choice("fitting", ["none", "tap", "bung"])
    if kind == "none":
        return []
    if kind == "bung":
        radius = float(wall[:, 0].max())
        return [
            cylinder(lid, 0.035, 0.05, 0.008, 16).turned("x", -np.pi / 2).moved(0, height / 2, -radius + 0.02)
        ]
    brass = Material("tap", draw.colour("tap_colour", ("#c9a24a", "#8a5a32", "#3a3d42")), gloss=0.6)
    y = 0.22 * height
    z = -float(np.interp(y, wall[:, 1], wall[:, 0]))
    spout = bar(brass, (0, y, z + 0.03), (0, y, z - 0.12), 0.024, 12)
    return [
        spout,
        bar(brass, (0, y, z - 0.1), (0, y - 0.08, z - 0.1), 0.018, 12),
        bar(brass, (0, y, z - 0.08), (0, y + 0.07, z - 0.08), 0.012, 8),
        bar(brass, (-0.04, y + 0.07, z - 0.08), (0.04, y + 0.07, z - 0.08), 0.012, 8),
    ]


FAMILY = Family("barrel", 427, "n02795169", None, build)
