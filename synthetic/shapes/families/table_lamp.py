"""Table lamp: a foot, a turned body and a fabric shade."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.palettes import GLAZES, METALS
from synthetic.shapes.parts import Part, bar, cylinder, lathe, sphere

BODIES = {  # (radius as a share of the width, height as a share of the body)
    "urn": [
        (0.45, 0),
        (0.5, 0.05),
        (0.35, 0.12),
        (0.8, 0.35),
        (1.0, 0.58),
        (0.75, 0.8),
        (0.3, 0.93),
        (0.2, 1),
    ],
    "gourd": [(0.7, 0), (1.0, 0.2), (0.85, 0.42), (0.42, 0.56), (0.62, 0.74), (0.45, 0.9), (0.2, 1)],
    "ball": [(0.3, 0), (0.35, 0.04), (0.9, 0.28), (1.0, 0.5), (0.9, 0.72), (0.35, 0.96), (0.2, 1)],
    "column": [(0.6, 0), (0.6, 0.06), (0.4, 0.12), (0.42, 0.5), (0.34, 0.88), (0.5, 0.93), (0.2, 1)],
    "cone": [(1.0, 0), (0.98, 0.06), (0.7, 0.35), (0.45, 0.65), (0.25, 0.9), (0.2, 1)],
}


def build(draw: Draw) -> list[Part]:
    """Parts of one lamp, about 1.4 units high."""
    metal = Material("metal", draw.colour("metal", METALS), gloss=0.7)
    body_height = draw.uniform("body_height", 0.5, 0.8)
    foot = draw.uniform("foot_radius", 0.2, 0.32)
    parts = [lathe(metal, [(foot - 0.02, 0), (foot, 0.02), (foot, 0.045), (0.75 * foot, 0.07)], 40)]
    kind = draw.choice("body", ["urn", "gourd", "ball", "column", "cone", "rod"])
    if kind == "rod":
        parts.append(
            bar(metal, (0, 0.05, 0), (0, 0.05 + body_height, 0), draw.uniform("rod_radius", 0.022, 0.04), 16)
        )
    else:
        width = draw.uniform("body_radius", 0.16, 0.27)
        glaze = Material("body", draw.colour("glaze", GLAZES), gloss=0.55)
        outline = np.array(BODIES[kind]) * np.array([width, body_height]) + np.array([0, 0.06])
        parts.append(lathe(glaze, spline(outline, 34), 40))
    neck = 0.05 + body_height
    parts += [cylinder(metal, 0.035, 0.16, 0.006, 16).moved(y=neck - 0.01), *_shade(draw, neck + 0.06, metal)]
    return parts


def _shade(draw: Draw, bottom: float, metal: Material) -> list[Part]:
    """The shade, open above and below, its holding ring and the knob on top."""
    height = draw.uniform("shade_height", 0.38, 0.56)
    low = draw.uniform("shade_radius", 0.36, 0.52)
    top = low * draw.uniform("shade_taper", 0.42, 1.0)
    flare = draw.uniform("shade_flare", 0.0, 0.06)
    wall = spline([(low, bottom), ((low + top) / 2 - flare, bottom + height / 2), (top, bottom + height)], 9)
    fabric = draw.colour(
        "shade", ("#f3e3c0", "#efe6d2", "#f6d98e", "#e8b7a0", "#a9c4d4", "#c94f3d", "#3f5f8a", "#6d8f5f")
    )
    trim = draw.colour("trim", ("#7a4a2a", "#f5efe0", "#2f3e5c", "#b98a46"))
    inside = 0.5
    bands = [(0.045, trim), (inside - 0.045, fabric), (inside + 0.02, trim), (1.0, darker(fabric, 0.08))]
    kind = draw.choice("shade_pattern", ["plain", "trim", "trim", "pleats"])
    image = {"plain": textures.plain(fabric), "trim": textures.rows(bands)}.get(kind)
    if image is None:
        image = textures.columns([fabric, darker(fabric, 0.12)], 20)
    cloth = Material("shade", fabric, image, gloss=0.05)
    thick = 0.018
    loop = np.concatenate([wall, (wall - np.array([thick, 0]))[::-1]])
    rows = np.concatenate([np.linspace(0, inside, len(wall)), np.linspace(inside + 0.03, 0.97, len(wall))])
    ring = bottom + 0.8 * height
    radius = float(np.interp(ring, wall[:, 1], wall[:, 0]))
    spokes = [
        bar(metal, (0, ring, 0), (radius * np.sin(a), ring, radius * np.cos(a)), 0.008, 6)
        for a in (0.5, 2.6, 4.7)
    ]
    stem = bar(metal, (0, bottom, 0), (0, bottom + height + 0.02, 0), 0.012, 8)
    bulb = (
        sphere(Material("bulb", (1.0, 0.96, 0.82), gloss=0.3), 0.085, 16)
        .scaled(1, 1.3, 1)
        .moved(y=bottom + 0.14)
    )
    knob = sphere(metal, 0.028, 12).moved(y=bottom + height + 0.03)
    return [lathe(cloth, loop, 48, v=rows, ring=True), *spokes, stem, bulb, knob]


FAMILY = Family("table lamp", 846, "n04380533", "03636649", build)
