"""Mosque: a dome on a hall with a pointed portal to the front, between minarets."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.parts import Part, bar, box, cylinder, lathe, prism, sphere, torus

ONION = [(0.96, 0), (1.0, 0.12), (1.03, 0.3), (0.93, 0.56), (0.66, 0.8), (0.3, 0.96), (0.08, 1.08), (0, 1.16)]
ROUND = [(0.97, 0), (1.0, 0.1), (0.97, 0.32), (0.8, 0.62), (0.5, 0.86), (0.2, 0.97), (0, 1.0)]


def build(draw: Draw) -> list[Part]:
    """Parts of one mosque about 1 unit wide, its portal at z = 0."""
    tone = draw.colour("walls", ("#f4efe2", "#efe4cc", "#e3d2b0", "#f7f5ef", "#d9c4a0"))
    wall = Material("walls", tone, textures.speckle(draw.rng, tone, 0.05), gloss=0.1)
    tile = draw.colour("dome", ("#2f7fa8", "#2f8f7a", "#d9a93a", "#3f6fb5", "#57a8b9", "#e9e4d6", "#3a7d5a"))
    ribs = textures.columns(
        [tile, darker(tile, draw.uniform("ribs_dark", 0.02, 0.2))], draw.integer("ribs", 12, 20)
    )
    dome = Material("dome", tile, ribs, gloss=0.6)
    gold = Material("gold", draw.colour("finial", ("#e0b03a", "#d9a42a", "#c9ced4")), gloss=0.8)
    wide, high = draw.uniform("width", 0.62, 0.76), draw.uniform("hall", 0.26, 0.34)
    radius = draw.uniform("dome_radius", 0.2, 0.26)
    shape = spline(
        np.array(ONION if draw.chance("onion", 0.5) else ROUND)
        * radius
        * [1, draw.uniform("dome_rise", 0.9, 1.15)],
        26,
    )
    middle = 0.5 * wide
    drum = 0.07
    parts = [
        box(wall, (wide, high, wide), (0, high / 2, middle), 0.005),
        box(wall, (1.03 * wide, 0.03, 1.03 * wide), (0, high, middle)),
    ]
    parts += [
        cylinder(wall, 0.95 * radius, drum, segments=32).moved(0, high, middle),
        lathe(dome, shape, 40).moved(0, high + drum, middle),
    ]
    parts += [part.moved(0, high + drum + float(shape[-1, 1]), middle) for part in _crescent(gold, 0.04)]
    if draw.chance("side_domes", 0.6):
        for x in (-0.36 * wide, 0.36 * wide):
            for z in (0.14 * wide, 0.86 * wide):
                parts.append(lathe(dome, shape * 0.36, 24).moved(x, high + 0.01, z))
    parts += _front(draw, wall, dome, wide, high)
    tall = draw.uniform("minaret", 0.85, 1.1)
    rear = draw.chance("four", 0.5)
    for x in (-1, 1):
        for z in (0.02, wide) if rear else (0.02,):
            parts += [part.moved(x * (0.5 * wide + 0.06), 0, z) for part in _minaret(wall, dome, gold, tall)]
    return parts


def _arch(width: float, straight: float) -> Points:
    """Outline of a pointed arch standing on y = 0."""
    t = np.linspace(0, 1, 8)
    right = np.column_stack([0.5 * width * (1 - t**2.2), straight + 0.8 * width * t**0.85])
    return np.concatenate([[(-width / 2, 0), (width / 2, 0)], right, right[:-1][::-1] * [-1, 1]])


def _crescent(gold: Material, size: float) -> list[Part]:
    """A rod with a ball and a crescent, seen from the front."""
    angle = np.linspace(-1.0, np.pi + 1.0, 17) + np.pi
    bow = np.column_stack([size * np.cos(angle), size * np.sin(angle)])
    thick = 0.35 * size * np.sin(np.linspace(0.25, np.pi - 0.25, 17))
    outer, inner = bow * (1 + thick / size)[:, None], bow * (1 - thick / size)[:, None]
    y = 2.4 * size
    pieces = [
        prism(gold, np.array([outer[k], outer[k + 1], inner[k + 1], inner[k]]), 0.3 * size).moved(y=y)
        for k in range(16)
    ]
    return [
        bar(gold, (0, -0.01, 0), (0, 1.5 * size, 0), 0.2 * size, 8),
        sphere(gold, 0.4 * size, 12).moved(y=0.5 * size),
        *pieces,
    ]


def _front(draw: Draw, wall: Material, dome: Material, wide: float, high: float) -> list[Part]:
    """The portal block with its pointed recess, and arched windows."""
    dark = Material("opening", draw.colour("opening", ("#2b3540", "#3a2f2a", "#24424a")), gloss=0.5)
    block, rise = draw.uniform("portal", 0.24, 0.3), high * draw.uniform("portal_rise", 1.12, 1.3)
    frame = Material(
        "tiles", dome.colour, textures.checks(dome.colour, darker(dome.colour, 0.2), 12, 12), gloss=0.5
    )
    parts = [box(wall, (block, rise, 0.08), (0, rise / 2, -0.01), 0.004)]
    parts += [
        prism(frame, _arch(0.74 * block, 0.32 * rise), 0.02).moved(z=-0.05),
        prism(dark, _arch(0.52 * block, 0.3 * rise), 0.03).moved(z=-0.055),
    ]
    for side in (-1, 1):
        for k in range(2):
            x = side * (0.5 * block + (0.5 * wide - 0.5 * block) * (k + 0.5) / 2)
            parts.append(prism(dark, _arch(0.062, 0.34 * high), 0.03).moved(x, 0.2 * high, 0.0))
            parts.append(
                prism(dark, _arch(0.08, 0.3 * high), 0.03)
                .turned("y", np.pi / 2)
                .moved(side * 0.5 * wide, 0.2 * high, wide * (k + 0.8) / 2.6)
            )
    return parts


def _minaret(wall: Material, dome: Material, gold: Material, tall: float) -> list[Part]:
    """A slender tower with a balcony, a cap and a finial."""
    shaft = [
        (0.05, 0),
        (0.05, 0.1),
        (0.036, 0.12),
        (0.033, 0.72 * tall),
        (0.055, 0.75 * tall),
        (0.055, 0.775 * tall),
        (0.028, 0.78 * tall),
        (0.027, 0.88 * tall),
    ]
    cap = np.array([(0.034, 0), (0.036, 0.015), (0.025, 0.06), (0.008, 0.1), (0, 0.115)])
    y = 0.88 * tall
    return [
        lathe(wall, shaft, 16),
        lathe(dome, cap, 16).moved(y=y),
        torus(gold, 0.055, 0.006, 18, 6).moved(y=0.8 * tall),
        sphere(gold, 0.012, 8).moved(y=y + 0.12),
    ]


FAMILY = Family("mosque", 668, "n03788195", None, build)
