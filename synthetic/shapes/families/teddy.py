"""Teddy: a sitting plush bear that looks to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc, in_plane
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex, lighter
from synthetic.shapes.parts import Part, sphere, torus, tube

FURS = ("#a8713a", "#c99a5b", "#7a4a26", "#e0c090", "#b5855a", "#d9b8a8", "#efe6d8", "#8f8a86")


def build(draw: Draw) -> list[Part]:
    """Parts of one bear about 1 unit high."""
    tone = draw.colour("fur", FURS)
    fur = Material(
        "fur", tone, textures.speckle(draw.rng, tone, draw.uniform("fluff", 0.12, 0.25)), gloss=0.02
    )
    inner = lighter(tone, draw.uniform("inner", 0.3, 0.55))
    plush = Material("plush", inner, gloss=0.02)
    wide, tall = draw.uniform("belly", 0.24, 0.3), draw.uniform("body", 0.29, 0.34)
    parts = [sphere(fur, 1.0, 30).scaled(wide, tall, 0.9 * wide).moved(y=tall)]
    if draw.chance("pale_belly", 0.5):
        parts.append(
            sphere(plush, 1.0, 24)
            .scaled(0.72 * wide, 0.72 * tall, 0.4 * wide)
            .moved(y=0.95 * tall, z=-0.56 * wide)
        )
    parts += _limbs(draw, fur, plush, wide, tall)
    size = draw.uniform("head", 0.23, 0.27)
    nod, lean = draw.uniform("nod", -0.12, 0.12), draw.uniform("lean", -0.15, 0.15)
    y = 2 * tall + 0.55 * size
    head = _head(draw, fur, plush, size)
    parts += [part.turned("x", nod).turned("z", lean).moved(y=y, z=-0.02) for part in head]
    return parts + _bow(draw, y - 0.84 * size, wide)


def _limbs(draw: Draw, fur: Material, plush: Material, wide: float, tall: float) -> list[Part]:
    """Legs stretched to the front with pale soles, arms hanging at the sides."""
    long, thick = draw.uniform("leg", 0.3, 0.36), draw.uniform("leg_width", 0.105, 0.13)
    spread, swing = draw.uniform("leg_spread", 0.3, 0.6), draw.uniform("arm_swing", 0.5, 1.1)
    parts = []
    for side in (-1, 1):
        leg = [sphere(fur, 1.0, 22).scaled(thick, thick, long / 1.6).moved(z=-0.5 * long)]
        leg.append(sphere(fur, 1.0, 20).scaled(1.15 * thick, 1.3 * thick, 0.07).moved(0, 0.02, -long))
        leg.append(
            sphere(plush, 1.0, 18).scaled(0.85 * thick, 0.98 * thick, 0.05).moved(0, 0.02, -long - 0.035)
        )
        parts += [
            part.turned("y", -side * spread).moved(0.62 * side * wide, thick, -0.35 * wide) for part in leg
        ]
        arm = sphere(fur, 1.0, 22).scaled(0.085, 0.22, 0.09).moved(y=-0.17)
        parts.append(
            arm.turned("x", 0.45).turned("z", side * swing).moved(0.8 * side * wide, 1.62 * tall, -0.03)
        )
    return parts


def _head(draw: Draw, fur: Material, plush: Material, size: float) -> list[Part]:
    """Head about the origin: ears, muzzle, nose, mouth, eyes."""
    ear, black = draw.uniform("ear", 0.36, 0.46) * size, Material("nose", from_hex("#241a16"), gloss=0.7)
    parts = [sphere(fur, 1.0, 32).scaled(1.08 * size, size, 0.95 * size)]
    muzzle = draw.uniform("muzzle", 0.42, 0.52) * size
    parts.append(
        sphere(plush, 1.0, 24)
        .scaled(1.1 * muzzle, 0.85 * muzzle, 0.8 * muzzle)
        .moved(0, -0.24 * size, -0.82 * size)
    )
    front = -0.82 * size - 0.8 * muzzle
    parts.append(
        sphere(black, 1.0, 16)
        .scaled(0.18 * size, 0.13 * size, 0.12 * size)
        .moved(0, -0.12 * size, front + 0.06 * size)
    )
    smile = in_plane(arc(0.13 * size, 0.1 * size, np.pi, 2 * np.pi, 9), "xy") + np.array([0, -0.34 * size, 0])
    smile[:, 2] = front + 0.1 * size + 2.0 * smile[:, 0] ** 2
    parts.append(tube(black, smile, 0.02 * size, 6))
    for side in (-1, 1):
        parts.append(
            sphere(fur, ear, 20).scaled(1, 1, 0.5).moved(0.78 * side * size, 0.74 * size, 0.05 * size)
        )
        parts.append(
            sphere(plush, 0.68 * ear, 18)
            .scaled(1, 1, 0.5)
            .moved(0.78 * side * size, 0.73 * size, -0.17 * ear - 0.02)
        )
        parts.append(sphere(black, 0.095 * size, 14).moved(0.36 * side * size, 0.14 * size, -0.86 * size))
    return parts


def _bow(draw: Draw, y: float, wide: float) -> list[Part]:
    """A ribbon around the neck, perhaps tied in a bow."""
    if not draw.chance("ribbon", 0.65):
        return []
    silk = draw.colour("ribbon_colour", ("#c8262e", "#2f62a3", "#2f7d4f", "#e98aa5", "#f0b429"))
    cloth, knot = Material("ribbon", silk, gloss=0.3), Material("knot", darker(silk, 0.15), gloss=0.3)
    parts = [torus(cloth, 0.62 * wide, 0.03, 30, 8).scaled(1, 1.2, 1).moved(y=y)]
    z = -0.62 * wide - 0.05
    for side in (-1, 1):
        parts.append(
            sphere(cloth, 1.0, 14).scaled(0.1, 0.06, 0.035).turned("z", 0.25 * side).moved(0.095 * side, y, z)
        )
    return [*parts, sphere(knot, 0.035, 12).moved(0, y, z - 0.01)]


FAMILY = Family("teddy", 850, "n04399382", None, build)
