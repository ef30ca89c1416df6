"""Drum: a shell with hoops, lacing or tuning rods and a pale head above, often with its sticks."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter
from synthetic.shapes.parts import Part, bar, box, cylinder, lathe, sphere, torus


def build(draw: Draw) -> list[Part]:
    """Parts of one drum of radius about 0.5, its head up and tipped a little to the front."""
    radius, tall = draw.uniform("radius", 0.42, 0.5), draw.uniform("height", 0.42, 0.72)
    tone = draw.colour(
        "shell", ("#c8262e", "#2f62a3", "#1f7a4a", "#d8352f", "#7a2127", "#24262a", "#b5692e", "#e9e4d6")
    )
    trim = draw.colour("hoop", ("#f0b429", "#f4f1e8", "#c9ced4", "#d9a93a", "#24262a"))
    shell = Material("shell", tone, _paint(draw, tone), gloss=0.55)
    hoop = Material("hoop", trim, gloss=0.6)
    skin = Material("skin", draw.colour("skin", ("#f4ecd8", "#f7f4ea", "#efe0c0")), gloss=0.2)
    parts = [lathe(shell, [(radius, 0), (radius, tall)], 48, v=[0, 1])]
    rim = draw.uniform("hoop_height", 0.06, 0.1)
    parts += [cylinder(hoop, radius + 0.022, rim, 0.008, 48).moved(y=y) for y in (-0.01, tall - rim + 0.012)]
    parts.append(
        lathe(
            skin,
            [
                (radius - 0.02, tall - 0.02),
                (radius - 0.02, tall + 0.016),
                (0.9 * radius, tall + 0.022),
                (0, tall + 0.022),
            ],
            44,
        )
    )
    parts.append(torus(hoop, radius + 0.008, 0.016, 48, 8).moved(y=tall + 0.016))
    fittings = draw.choice("fittings", ["rope", "rope", "rods"])
    parts += _rope(draw, radius, tall, rim) if fittings == "rope" else _rods(draw, radius, tall)
    if draw.chance("sticks", 0.7):
        parts += _sticks(draw, radius, tall)
    tip = draw.uniform("tip", 0.0, 0.35)
    return [part.turned("x", -tip) for part in parts]


def _paint(draw: Draw, tone: Colour) -> Texture:
    """Plain lacquer, a sparkle, a wide band or upright panels."""
    kind, second = (
        draw.choice("paint", ["plain", "plain", "band", "panels", "sparkle"]),
        draw.colour("second", ("#f4f1e8", "#2f62a3", "#f0b429", "#24262a")),
    )
    if kind == "band":
        return textures.rows([(0.36, tone), (0.64, second), (1, tone)])
    if kind == "panels":
        return textures.columns([tone, second], draw.integer("panels", 4, 8))
    if kind == "sparkle":
        return textures.ramp(
            textures.noise(draw.rng, (96, 192), (0.7, 0.7)), darker(tone, 0.3), lighter(tone, 0.35)
        )
    return textures.plain(tone)


def _rope(draw: Draw, radius: float, tall: float, rim: float) -> list[Part]:
    """A cord that runs up and down in a zigzag, with leather tugs."""
    count = draw.integer("lacing", 8, 12)
    cord, tug = (
        Material("cord", draw.colour("cord", ("#f4ecd8", "#e9d9a8", "#f0b429")), gloss=0.1),
        Material("tug", from_hex("#5a3520"), gloss=0.2),
    )
    low, high, out = 0.6 * rim, tall - 0.6 * rim, radius + 0.026
    parts = []
    for k in range(2 * count):
        a, b = np.pi * k / count, np.pi * (k + 1) / count
        y0, y1 = (low, high) if k % 2 == 0 else (high, low)
        middle = (a + b) / 2
        path = [
            (-out * np.sin(a), y0, -out * np.cos(a)),
            (-out * np.sin(middle), (y0 + y1) / 2, -out * np.cos(middle)),
            (-out * np.sin(b), y1, -out * np.cos(b)),
        ]
        parts += [bar(cord, path[0], path[1], 0.012, 6), bar(cord, path[1], path[2], 0.012, 6)]
        if k % 2 == 0:
            parts.append(box(tug, (0.05, 0.07, 0.03)).moved(0, low + 0.07, -out).turned("y", a))
    return parts


def _rods(draw: Draw, radius: float, tall: float) -> list[Part]:
    """Tuning rods with lugs."""
    metal = Material("rod", from_hex("#c9ced4"), gloss=0.8)
    parts = []
    count = draw.integer("rods", 6, 10)
    for turn in 2 * np.pi * (np.arange(count) + 0.5) / count:
        pieces = [
            bar(metal, (0, 0.02, -radius - 0.03), (0, tall + 0.01, -radius - 0.03), 0.012, 8),
            box(metal, (0.05, 0.34 * tall, 0.04), (0, tall / 2, -radius - 0.015), 0.01),
        ]
        parts += [piece.turned("y", turn) for piece in pieces]
    return parts


def _sticks(draw: Draw, radius: float, tall: float) -> list[Part]:
    """Two sticks lying crossed on the head."""
    wood = Material("stick", draw.colour("stick", ("#d8b27a", "#c9975b", "#e3c590")), gloss=0.3)
    parts = []
    for side, y in ((-1, tall + 0.045), (1, tall + 0.085)):
        turn = side * draw.uniform(f"stick{side}", 0.35, 0.8)
        stick = [
            bar(wood, (0, y, 0.8 * radius), (0, y, -1.05 * radius), 0.022, 10),
            sphere(wood, 0.036, 12).scaled(1, 1, 1.4).moved(0, y, -1.05 * radius),
        ]
        parts += [part.turned("y", turn) for part in stick]
    return parts


FAMILY = Family("drum", 541, "n03249569", None, build)
