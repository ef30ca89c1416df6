"""Steam locomotive: boiler, chimney, dome and cab on wheels with rods, running towards -Z."""

import numpy as np

from synthetic.shapes.components.vehicles import lamp
from synthetic.shapes.curves import rounded
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex
from synthetic.shapes.parts import Part, bar, box, cylinder, lathe, prism, sphere, torus

PAINTS = ("#26282b", "#1f4a2f", "#7a2127", "#1f3a63", "#26282b", "#3a3d42")


def build(draw: Draw) -> list[Part]:
    """Parts of one engine about 1.1 units long, its buffer beam at z = 0."""
    tone = draw.colour("paint", PAINTS)
    paint, black = Material("paint", tone, gloss=0.5), Material("black", from_hex("#1e1f22"), gloss=0.35)
    brass = Material("brass", draw.colour("brass", ("#d9a93a", "#c98f2e", "#c9ced4")), gloss=0.8)
    red = Material("trim", draw.colour("trim", ("#c8262e", "#b3202a", "#d8452f", "#d9a93a")), gloss=0.4)
    radius, long = draw.uniform("boiler", 0.15, 0.18), draw.uniform("boiler_length", 0.58, 0.72)
    axis = 0.2 + radius + 0.06
    parts = _boiler(draw, paint, black, brass, radius, long, axis)
    parts += _cab(draw, paint, black, long, axis + radius)
    parts += _wheels(draw, black, red, long)
    parts += [
        box(black, (0.34, 0.05, long + 0.42), (0, 0.24, 0.5 * (long + 0.42)), 0.008),
        box(red, (0.48, 0.085, 0.035), (0, 0.22, 0.0), 0.006),
    ]
    if draw.chance("cowcatcher", 0.55):
        for k in range(7):
            x = 0.2 * (k - 3) / 3
            parts.append(bar(red, (x, 0.19, 0.0), (0.55 * x, 0.03, -0.17 + 0.1 * abs(k - 3) / 3), 0.011, 8))
        parts.append(bar(red, (-0.12, 0.03, -0.06), (0.12, 0.03, -0.06), 0.011, 8))
    else:
        for side in (-1, 1):
            buffer = lathe(black, [(0.022, 0), (0.022, 0.07), (0.05, 0.075), (0.05, 0.09)], 18).turned(
                "x", -np.pi / 2
            )
            parts.append(buffer.moved(0.16 * side, 0.22, -0.01))
    return parts


def _boiler(
    draw: Draw, paint: Material, black: Material, brass: Material, radius: float, long: float, axis: float
) -> list[Part]:
    """Boiler with bands, smokebox door, lamp, chimney and domes."""
    tube = cylinder(paint, radius, long, segments=36).turned("x", np.pi / 2).moved(0, axis, 0.16)
    box_front = cylinder(black, 1.03 * radius, 0.16, 0.012, 36).turned("x", np.pi / 2).moved(0, axis, 0.03)
    door = lathe(
        black, [(0.8 * radius, 0), (0.76 * radius, 0.02), (0.4 * radius, 0.04), (0, 0.045)], 30
    ).turned("x", -np.pi / 2)
    parts = [tube, box_front, door.moved(0, axis, 0.03)]
    parts.append(torus(brass, 0.82 * radius, 0.01, 32, 8).turned("x", np.pi / 2).moved(0, axis, 0.03))
    parts.append(sphere(brass, 0.022, 12).moved(0, axis, -0.02))
    for share in (0.0, 0.35, 0.7):
        band = torus(brass, radius + 0.002, 0.008, 36, 6).turned("x", np.pi / 2)
        parts.append(band.moved(0, axis, 0.2 + share * long))
    top = axis + radius - 0.02
    tall, flare = draw.uniform("chimney", 0.15, 0.24), draw.choice("flare", ["cap", "funnel"])
    pipe = (
        [(0.06, 0), (0.05, 0.03), (0.05, tall), (0.068, tall + 0.005), (0.068, tall + 0.03)]
        if flare == "cap"
        else [
            (0.05, 0),
            (0.042, 0.04),
            (0.05, 0.5 * tall),
            (0.105, tall),
            (0.105, tall + 0.02),
            (0.06, tall + 0.05),
        ]
    )
    parts.append(lathe(black, pipe, 24).moved(0, top, 0.11))
    parts.append(
        torus(brass, 0.066 if flare == "cap" else 0.104, 0.01, 24, 8).moved(0, top + tall + 0.01, 0.11)
    )
    dome_paint = brass if draw.chance("brass_domes", 0.5) else paint
    for share in (0.42, 0.75)[: draw.integer("domes", 1, 2)]:
        dome = lathe(
            dome_paint,
            rounded([(0.075, 0), (0.065, 0.09), (0, 0.13)], 0.06, 5),
            24,
        )
        parts.append(dome.moved(0, top - 0.01, 0.16 + share * long))
    glass = Material("headlamp", from_hex("#fff3c8"), gloss=0.9)
    parts += [
        box(black, (0.1, 0.1, 0.09), (0, top + 0.075, 0.035), 0.012),
        lamp(glass, 0.04).moved(0, top + 0.075, -0.008),
    ]
    return parts


def _cab(draw: Draw, paint: Material, black: Material, long: float, top: float) -> list[Part]:
    """The driver's house with windows and a curved roof."""
    z, deep, wide = 0.14 + long, draw.uniform("cab", 0.2, 0.27), draw.uniform("cab_width", 0.42, 0.48)
    high = top + draw.uniform("cab_rise", 0.06, 0.12)
    dark = Material("window", from_hex("#232a31"), gloss=0.7)
    parts = [box(paint, (wide, high - 0.24, deep), (0, 0.5 * (high + 0.24), z + deep / 2), 0.008)]
    arch = np.array(
        [
            (-0.55 * wide, 0),
            (0.55 * wide, 0),
            (0.5 * wide, 0.035),
            (0.28 * wide, 0.06),
            (0, 0.07),
            (-0.28 * wide, 0.06),
            (-0.5 * wide, 0.035),
        ]
    )
    parts.append(prism(black, arch, deep + 0.1).moved(0, high - 0.01, z + deep / 2))
    for side in (-1, 1):
        parts.append(box(dark, (0.1, 0.1, 0.02), (side * 0.33 * wide, high - 0.09, z - 0.002), 0.004))
        parts.append(
            box(dark, (0.02, 0.13, 0.55 * deep), (side * 0.5 * wide, high - 0.1, z + deep / 2), 0.004)
        )
    return parts


def _wheels(draw: Draw, black: Material, red: Material, long: float) -> list[Part]:
    """Driving wheels with spokes and a rod, small wheels in front."""
    size, count = draw.uniform("wheel", 0.125, 0.15), draw.integer("drivers", 2, 3)
    paint = red if draw.chance("red_wheels", 0.55) else Material("wheel", darker(red.colour, 0.75), gloss=0.3)
    steel = Material("rod", from_hex("#b7bcc2"), gloss=0.8)
    first = 0.36
    places = [first + k * (2.15 * size) for k in range(count)]
    parts = []
    for side in (-1, 1):
        x = 0.19 * side
        for z, r in [*((z, size) for z in places), (0.1, 0.08)]:
            parts.append(
                torus(black, r - 0.016, 0.016, 30, 8).turned("z", np.pi / 2).scaled(1.4, 1, 1).moved(x, r, z)
            )
            parts.append(
                cylinder(paint, 0.25 * r, 0.05, 0.006, 14).turned("z", np.pi / 2).moved(x + 0.025, r, z)
            )
            for k in range(4):
                spoke = bar(paint, (0, -(r - 0.02), 0), (0, r - 0.02, 0), 0.009, 6).turned("x", np.pi * k / 4)
                parts.append(spoke.moved(x, r, z))
        low = size - 0.04
        parts.append(bar(steel, (x + 0.035 * side, low, 0.22), (x + 0.035 * side, low, places[-1]), 0.014, 8))
        parts.append(cylinder(black, 0.06, 0.16, 0.01, 20).turned("x", np.pi / 2).moved(x, 0.17, 0.06))
    return parts


FAMILY = Family("steam locomotive", 820, "n04310018", "04468005", build)
