"""Traffic light: red over amber over green in a housing with visors, all facing the front."""

import numpy as np

from synthetic.shapes.curves import arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex, lighter
from synthetic.shapes.parts import Part, bar, box, cylinder, lathe, sweep

LENSES = (("red", "#f0281e"), ("amber", "#ffb400"), ("green", "#1fc46a"))
HOUSINGS = ("#1f2124", "#e3b21f", "#24402f", "#33383f", "#d9a51c", "#2a2c30")


def build(draw: Draw) -> list[Part]:
    """Parts of one signal head, about 1 unit high without its pole."""
    pitch = draw.uniform("pitch", 0.29, 0.34)
    width = draw.uniform("width", 0.34, 0.42)
    depth = draw.uniform("depth", 0.2, 0.28)
    lens = draw.uniform("lens", 0.1, 0.125)
    tint = draw.colour("housing", HOUSINGS)
    shell = Material("housing", tint, gloss=0.35)
    hood = Material("visor", darker(tint, draw.uniform("visor_dark", 0.1, 0.6)), gloss=0.3)
    tall = 3 * pitch + 0.04
    parts = [box(shell, (width, tall, depth), (0, 0, 0), 0.03)]
    lit = draw.choice("lit", ["red", "amber", "green", "all", "all"])
    reach = draw.uniform("visor_length", 0.1, 0.2)
    cover = draw.uniform("visor_cover", 1.7, 2.5)
    for k, (name, colour) in enumerate(LENSES):
        y = pitch * (1 - k)
        base = from_hex(colour)
        glow = lighter(base, 0.12) if lit in (name, "all") else darker(base, 0.45)
        parts += _lamp(Material(name, glow, gloss=0.8), hood, lens, y, -depth / 2, reach, cover)
    if draw.chance("backplate", 0.4):
        plate = Material("plate", draw.colour("plate", ("#16181a", "#f1efe9", "#24402f")), gloss=0.1)
        parts.append(box(plate, (width + 0.18, tall + 0.18, 0.02), (0, 0, depth / 4), 0.005))
    return parts + _mount(draw, tall, depth)


def _lamp(
    glass: Material, hood: Material, lens: float, y: float, front: float, reach: float, cover: float
) -> list[Part]:
    """A domed lens and the visor over it."""
    dome = np.concatenate([[(lens, -0.03)], arc(lens, 0.035, 0, np.pi / 2, 6)])
    bulb = lathe(glass, dome, 28).turned("x", -np.pi / 2).moved(0, y, front)
    angle = np.linspace(-cover, cover, 25)
    radius = lens + 0.015
    path = np.stack([radius * np.sin(angle), y + radius * np.cos(angle), np.full(25, front)], axis=1)
    ring = sweep(hood, path, [(reach, -0.007), (reach, 0.007), (-0.02, 0.007), (-0.02, -0.007)], up=(1, 0, 0))
    return [bulb, ring]


def _mount(draw: Draw, tall: float, depth: float) -> list[Part]:
    """A pole below, a bracket from a pole behind, or a hanger above."""
    metal = Material("pole", draw.colour("pole", ("#5a5f66", "#24262a", "#8f959c", "#2f4a3a")), gloss=0.5)
    kind = draw.choice("mount", ["pole", "pole", "bracket", "hanger"])
    if kind == "pole":
        length = draw.uniform("pole_length", 0.3, 0.8)
        radius = draw.uniform("pole_radius", 0.035, 0.06)
        foot = -tall / 2 - length
        return [
            bar(metal, (0, foot, 0), (0, -tall / 2 + 0.02, 0), radius, 18),
            cylinder(metal, 0.13, 0.05, 0.015, 24).moved(y=foot),
        ]
    if kind == "hanger":
        return [
            bar(metal, (0, tall / 2 - 0.02, 0), (0, tall / 2 + 0.14, 0), 0.03, 14),
            box(metal, (0.16, 0.06, 0.1), (0, tall / 2 + 0.16, 0)),
        ]
    z = depth / 2 + 0.14
    parts = [bar(metal, (0, -tall / 2 - 0.25, z), (0, tall / 2 + 0.12, z), 0.045, 18)]
    return parts + [bar(metal, (0, y, 0), (0, y, z), 0.025, 12) for y in (-0.35 * tall, 0.35 * tall)]


FAMILY = Family("traffic light", 920, "n06874185", None, build)
