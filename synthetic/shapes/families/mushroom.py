"""Mushroom: a domed cap with gills below on a stalk."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import circle, in_plane, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.parts import Part, lathe, sweep, torus

CAPS = ("#8b5a34", "#b98757", "#d9b98c", "#efe4d0", "#6f4630", "#c7793d", "#9a3f24", "#a8927a")


def build(draw: Draw) -> list[Part]:
    """Parts of one mushroom, about 1 unit high; now and then a small one grows beside it."""
    skin = draw.colour("cap", CAPS)
    cap = Material("cap", skin, textures.speckle(draw.rng, skin, 0.12), gloss=0.3)
    gills = draw.colour("gills", ("#e9d9be", "#d3b595", "#8d6a56", "#f3ead8"))
    under = Material("gills", gills, textures.columns([gills, darker(gills, 0.28)], 32), gloss=0.05)
    flesh = draw.colour("stalk", ("#efe6d4", "#e3d3b7", "#d9c7a6", "#f5f0e6"))
    stalk = Material("stalk", flesh, textures.speckle(draw.rng, flesh, 0.08), gloss=0.1)
    parts = _one(draw, "", cap, under, stalk)
    if draw.chance("second", 0.35):
        size = draw.uniform("second_size", 0.4, 0.6)
        side = draw.choice("second_side", [-1, 1])
        small = [part.scaled(size, size, size) for part in _one(draw, "second_", cap, under, stalk)]
        parts += [part.turned("z", -0.16 * side).moved(side * 0.34, 0, -0.12) for part in small]
    return parts


def _one(draw: Draw, prefix: str, cap: Material, under: Material, stalk: Material) -> list[Part]:
    """One mushroom standing on the origin."""
    radius = draw.uniform(prefix + "cap_radius", 0.34, 0.58)
    dome = draw.uniform(prefix + "cap_height", 0.2, 0.46)
    height = draw.uniform(prefix + "stalk_height", 0.45, 0.75)
    thick = draw.uniform(prefix + "stalk_radius", 0.09, 0.17)
    swell = draw.uniform(prefix + "stalk_swell", 1.0, 1.5)
    bend = draw.uniform(prefix + "bend", -0.08, 0.08)
    point = draw.uniform(prefix + "cap_point", 0.0, 0.12)
    curl = draw.uniform(prefix + "cap_curl", -0.02, 0.06)
    shape = [
        (radius - 0.03, -curl - 0.02),
        (radius, 0.02 - curl),
        (0.86 * radius, 0.5 * dome),
        (0.5 * radius, 0.87 * dome),
    ]
    shape += [(0.18 * radius, dome + 0.3 * point), (0, dome + point)]
    lid = spline([(0, 0.05), (0.6 * radius, 0.03), *shape], 30)
    disc = [(0.7 * thick, 0.01), (0.5 * radius, 0.025), (radius - 0.045, -curl - 0.012)]
    disc += [(radius - 0.05, 0.03), (0.7 * thick, 0.06)]
    rise = np.linspace(0, 1, 12)
    spine = in_plane(np.stack([bend * rise**2 - bend, (height + 0.03) * rise], axis=1), "xy")
    girth = np.interp(rise, [0, 0.12, 0.5, 1], [0.8 * swell, swell, 0.5 + 0.5 * swell, 0.92])
    parts = [sweep(stalk, spine, circle(thick, 20), girth)]
    parts += [
        lathe(cap, lid, 40).moved(y=height),
        lathe(under, disc, 40, v=np.linspace(0, 1, 5), ring=True).moved(y=height),
    ]
    if draw.chance(prefix + "ring", 0.3):
        parts.append(
            torus(stalk, thick * 0.95, 0.035, 28, 8)
            .scaled(1.1, 0.6, 1.1)
            .moved(-bend * 0.55, 0.68 * height, 0)
        )
    return parts


FAMILY = Family("mushroom", 947, "n07734744", None, build)
