"""Water tower: a tank with a pointed or domed roof high on braced legs or on a stem."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc, circle, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex
from synthetic.shapes.parts import Part, bar, cylinder, lathe, sphere, torus

TANKS = ("#c9d6df", "#b7bcc2", "#e9e6de", "#8fb5c9", "#a9c2a0", "#d9a98a")


def build(draw: Draw) -> list[Part]:
    """Parts of one tower about 1.3 units high."""
    kind = draw.choice("kind", ["wood", "steel", "steel", "stem"])
    legs = draw.uniform("legs", 0.5, 0.75)
    radius = draw.uniform("radius", 0.24, 0.32)
    if kind == "wood":
        return _wooden(draw, legs, radius)
    tone = draw.colour("tank", TANKS)
    steel = Material("steel", darker(tone, draw.uniform("leg_dark", 0.1, 0.45)), gloss=0.4)
    tall = draw.uniform("tank_height", 0.22, 0.34)
    tank = Material("tank", tone, _band(draw, tone), gloss=0.45)
    if kind == "stem":
        bulb = spline(
            [
                (0.07, 0),
                (0.3 * radius, 0.05),
                (radius, 0.36 * tall + 0.12),
                (0.9 * radius, 0.3 + 0.4 * tall),
                (0.45 * radius, 0.38 + 0.5 * tall),
                (0, 0.4 + 0.5 * tall),
            ],
            30,
        )
        foot = spline([(0.17, 0), (0.085, 0.14), (0.07, 0.3), (0.07, legs + 0.02)], 16)
        return [
            lathe(steel, foot, 28),
            lathe(tank, bulb, 40).moved(y=legs),
            sphere(steel, 0.03, 12).moved(y=legs + 0.4 + 0.5 * tall),
        ]
    bowl = arc(radius, 0.5 * radius, -np.pi / 2, 0, 9)
    roof_rise = draw.uniform("roof", 0.35, 0.7) * radius
    roof = (
        arc(radius, roof_rise, 0, np.pi / 2, 9)
        if draw.chance("domed", 0.5)
        else np.array([(1.05 * radius, 0), (1.05 * radius, 0.01), (0, roof_rise)])
    )
    parts = [
        lathe(tank, np.concatenate([bowl, [(radius, tall)]]), 40).moved(y=legs),
        lathe(steel, roof, 40).moved(y=legs + tall),
    ]
    parts.append(sphere(steel, 0.025, 12).moved(y=legs + tall + roof_rise))
    parts.append(cylinder(steel, 0.05, legs, segments=18))
    rail = torus(steel, radius + 0.035, 0.008, 40, 6)
    walk = lathe(steel, [(radius - 0.01, -0.015), (radius + 0.045, -0.012), (radius + 0.045, 0.005)], 40)
    parts += [walk.moved(y=legs), rail.moved(y=legs + 0.06)]
    parts += [bar(steel, (x, legs, z), (x, legs + 0.06, z), 0.006, 6) for x, z in circle(radius + 0.035, 14)]
    return parts + _legs(steel, draw.choice("leg_count", [4, 6]), radius, legs + 0.02)


def _wooden(draw: Draw, legs: float, radius: float) -> list[Part]:
    """A tank of staves with hoops under a pointed roof."""
    tone = draw.colour("tank", ("#8a5a32", "#7b4f2f", "#a97f55", "#6b5a48", "#9a6a3a"))
    tall = draw.uniform("tank_height", 0.36, 0.46)
    wood = Material("tank", tone, textures.staves(draw.rng, tone, 26), gloss=0.05)
    iron = Material("hoop", from_hex("#3a3d42"), gloss=0.3)
    roof_tone = draw.colour("roof_colour", ("#4a4d52", "#6b4a3a", "#8a3a2f", "#5a6a62"))
    rise = draw.uniform("roof", 0.6, 0.95) * radius
    parts = [lathe(wood, [(radius, 0), (0.96 * radius, tall)], 40, v=[0, 1]).moved(y=legs)]
    hoops = draw.integer("hoops", 3, 5)
    parts += [
        torus(iron, (1 - 0.04 * s) * radius + 0.004, 0.008, 40, 6).moved(y=legs + s * tall)
        for s in (np.arange(hoops) + 0.5) / hoops
    ]
    parts.append(
        lathe(
            Material("roof", roof_tone, gloss=0.15),
            [(1.12 * radius, 0), (1.12 * radius, 0.012), (0, rise)],
            28,
        ).moved(y=legs + tall)
    )
    beam = Material("beam", darker(tone, 0.25), gloss=0.05)
    deck = cylinder(beam, 1.08 * radius, 0.03, segments=36)
    return [
        *parts,
        deck.moved(y=legs - 0.03),
        cylinder(iron, 0.03, legs, segments=14),
        *_legs(beam, 4, 0.9 * radius, legs - 0.01),
    ]


def _band(draw: Draw, tone: Colour) -> Texture:
    """Plain, or a coloured band around the tank."""
    if not draw.chance("band", 0.6):
        return textures.plain(tone)
    second = draw.colour("band_colour", ("#c8262e", "#2f62a3", "#f4f1e8", "#2f7d4f"))
    at = draw.uniform("band_at", 0.5, 0.65)
    return textures.rows([(at, tone), (at + draw.uniform("band_width", 0.1, 0.25), second), (1, tone)])


def _legs(steel: Material, count: int, radius: float, tall: float) -> list[Part]:
    """Legs that spread downwards, tied by rings and diagonals."""
    top, foot = circle(0.92 * radius, count), circle(1.2 * radius, count)
    parts = [bar(steel, (b[0], 0, b[1]), (t[0], tall, t[1]), 0.02, 8) for t, b in zip(top, foot, strict=True)]
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        lower, upper = foot + (top - foot) * low, foot + (top - foot) * high
        for k in range(count):
            n = (k + 1) % count
            for a, b in ((lower[k], upper[n]), (lower[n], upper[k])):
                parts.append(bar(steel, (a[0], low * tall, a[1]), (b[0], high * tall, b[1]), 0.008, 6))
            if high < 1:
                parts.append(
                    bar(
                        steel,
                        (upper[k, 0], high * tall, upper[k, 1]),
                        (upper[n, 0], high * tall, upper[n, 1]),
                        0.012,
                        6,
                    )
                )
    return parts


FAMILY = Family("water tower", 900, "n04562935", "04460130", build)
