"""Acorn: a polished nut in a scaly cup, one or two on a twig, perhaps with an oak leaf."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, darker, lighter
from synthetic.shapes.parts import Part, lathe, loft, tube


def build(draw: Draw) -> list[Part]:
    """Parts of a twig with its nuts, each about 1 unit high, cup above."""
    shell = draw.colour("nut", ("#b5722e", "#8f5524", "#c98a3a", "#9a7a2e", "#7a8a3a"))
    cup = draw.colour("cup", ("#7a5a35", "#8a6a45", "#6b4a2a", "#94805a"))
    wide, tall = draw.uniform("radius", 0.27, 0.34), draw.uniform("height", 0.62, 0.8)
    scales = _scales(draw, cup)
    nut = Material("nut", shell, _streaks(draw, shell), gloss=0.65)
    bark = Material("bark", darker(cup, 0.2), gloss=0.05)
    one = _acorn(
        nut, Material("cup", cup, scales, gloss=0.1), wide, tall, draw.uniform("cup_height", 0.2, 0.28)
    )
    stalk = draw.uniform("stalk", 0.12, 0.24)
    top = 0.2 + stalk
    twig = tube(bark, spline([(0, 0.12, 0), (0.015, 0.2 + 0.5 * stalk, 0), (0.0, top, 0)], 7), 0.028, 8)
    group = [*one, twig]
    if draw.chance("pair", 0.35):
        swings = np.array([-1, 1]) * draw.uniform("swing", 0.38, 0.5)
    else:
        swings = np.array([draw.uniform("lean", -0.3, 0.3)])
    parts = [part.moved(y=-top).turned("z", swing).moved(y=top) for swing in swings for part in group]
    if draw.chance("leaf", 0.45):
        parts.append(_oak_leaf(draw).moved(0.0, top - 0.06, 0.1))
    return parts


def _acorn(nut: Material, cup: Material, wide: float, tall: float, rise: float) -> list[Part]:
    """Nut with its tip below, cup above, the rim of the cup at height 0."""
    tip = [(0, -tall), (0.06 * wide, -tall + 0.005), (0.12 * wide, -tall + 0.06), (0.6 * wide, -0.78 * tall)]
    body = spline([*tip, (0.93 * wide, -0.4 * tall), (wide, -0.05), (0.9 * wide, 0.05), (0, 0.08)], 28)
    dome = np.concatenate(
        [[(0.98 * wide, -0.06), (1.12 * wide, -0.07)], arc(1.17 * wide, rise, -0.1, np.pi / 2, 14)]
    )
    return [lathe(nut, body, 36), lathe(cup, dome, 44)]


def _scales(draw: Draw, cup: tuple[float, float, float]) -> Texture:
    """Overlapping scales in staggered rows."""
    u, v = textures.places(128, 256)
    i, j = v * draw.integer("scale_rows", 6, 8), u * draw.integer("scales", 16, 22)
    j = j + 0.5 * (np.floor(i) % 2)
    arch = np.hypot((j % 1 - 0.5) * 1.6, i % 1 - 0.9)
    return textures.ramp(1.1 - arch, darker(cup, 0.45), lighter(cup, 0.3))


def _streaks(draw: Draw, shell: tuple[float, float, float]) -> Texture:
    """Fine lines from tip to cup."""
    lines = textures.noise(draw.rng, (64, 128), (14.0, 0.9))
    return textures.ramp(lines, darker(shell, 0.2), lighter(shell, 0.14))


def _oak_leaf(draw: Draw) -> Part:
    """A lobed leaf behind the nuts, pointing to one side and up."""
    green = draw.colour("leaf_colour", ("#5f8a35", "#7a9a3a", "#b5762a", "#a8502a"))
    t = np.linspace(0, 1, 40)
    half = 0.26 * np.sin(np.pi * np.clip(t, 0.02, 0.98)) ** 0.7 * (1 + 0.3 * np.cos(2 * np.pi * 4 * t))
    rings = [
        [(h, y, -0.012), (-h, y, -0.012), (-h, y, 0.012), (h, y, 0.012)] for h, y in zip(half, t, strict=True)
    ]
    blade = loft(Material("leaf", green, gloss=0.2), rings)
    return blade.turned("z", draw.choice("leaf_side", [-1, 1]) * draw.uniform("leaf_turn", 0.5, 1.1))


FAMILY = Family("acorn", 988, "n12267677", None, build)
