"""Hotdog: a sausage in a long bun with a line of mustard or ketchup, its open side up and to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GOLDEN_ANGLE
from synthetic.shapes.curves import superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, darker, lighter
from synthetic.shapes.parts import Part, loft, sphere, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one hot dog about 1.2 units long, its ends towards ±X."""
    long, thick = draw.uniform("length", 1.0, 1.25), draw.uniform("thickness", 0.1, 0.125)
    bow = draw.uniform("bow", -0.05, 0.06)
    crust = draw.colour("bun", ("#d39a4e", "#c98a3a", "#ddaa62", "#b97a34"))
    skin = draw.colour("sausage", ("#a83f22", "#b54a2a", "#8f3320", "#c2603a"))
    bun = Material("bun", crust, _crumb(draw, crust), gloss=0.3)
    parts = [
        _roll(bun, long, 1.9 * thick).turned("x", side * 0.2).moved(y=-0.035, z=side * 1.12 * thick)
        for side in (-1, 1)
    ]
    parts.append(_roll(bun, 0.97 * long, 1.7 * thick).moved(y=-1.0 * thick))
    x = np.linspace(-0.56 * long, 0.56 * long, 24)
    sausage = tube(
        Material("sausage", skin, gloss=0.55),
        np.stack([x, bow * (2 * x / long) ** 2 + 0.45 * thick, 0 * x], axis=1),
        thick,
        18,
        round_ends=True,
    )
    parts.append(sausage)
    sauce = draw.colour("sauce", ("#f0b81c", "#f2c21f", "#c4201c"))
    waves, swing = draw.integer("waves", 5, 9), draw.uniform("swing", 0.35, 0.6) * thick
    s = np.linspace(-0.5 * long, 0.5 * long, 12 * waves)
    line = np.stack(
        [s, bow * (2 * s / long) ** 2 + 1.36 * thick, swing * np.sin(np.pi * 2 * waves * s / long)], axis=1
    )
    parts.append(tube(Material("sauce", sauce, gloss=0.7), line, 0.026, 8, round_ends=True))
    if draw.chance("salad", 0.45):
        green = Material("salad", draw.colour("salad_colour", ("#7cb53a", "#62a034", "#8fc24a")), gloss=0.2)
        for k in range(18):
            side = 1 - 2 * (k % 2)
            bit = (
                sphere(green, 0.055, 8)
                .scaled(1.3, 0.35, 0.9)
                .turned("x", 0.6 * side)
                .turned("y", GOLDEN_ANGLE * k)
            )
            parts.append(
                bit.moved(
                    (k / 17 - 0.5) * 0.92 * long, 0.75 * thick + 0.02 * np.sin(5.0 * k), 1.0 * thick * side
                )
            )
    return [part.turned("x", -0.85) for part in parts]


def _roll(bun: Material, long: float, thick: float) -> Part:
    """Half of a bun: a soft bar with round ends along x."""
    t = np.linspace(-1, 1, 21)
    size = (1 - np.abs(t) ** 5) ** 0.4 * 0.96 + 0.04
    loop = superellipse(1.1 * thick, 1.25 * thick, 2.3, 22)
    rings = [
        np.column_stack([np.full(22, 0.5 * long * s), a * loop[:, 1], a * loop[:, 0]])
        for s, a in zip(t, size, strict=True)
    ]
    return loft(bun, rings)


def _crumb(draw: Draw, crust: tuple[float, float, float]) -> Texture:
    """Brown outside, paler in places."""
    cloud = textures.noise(draw.rng, (96, 96), (9.0, 12.0))
    return textures.ramp(cloud, darker(crust, 0.12), lighter(crust, 0.32))


FAMILY = Family("hotdog", 934, "n07697537", None, build)
