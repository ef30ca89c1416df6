"""Daisy: white petals around a yellow heart on a stem, its face to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GREENS, leaf
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, lighter
from synthetic.shapes.parts import Part, sphere, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one flower about 1.2 units high."""
    tall, heart = draw.uniform("stem", 0.6, 0.9), draw.uniform("heart", 0.1, 0.14)
    green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.15)
    bend = draw.uniform("bend", -0.12, 0.12)
    parts = [
        tube(green, spline([(bend, 0, 0.04), (0.7 * bend, 0.5 * tall, 0.05), (0, tall, 0.03)], 10), 0.024, 10)
    ]
    for k in range(draw.integer("leaves", 1, 3)):
        side = 1 - 2 * (k % 2)
        blade = leaf(green, draw.uniform(f"leaf{k}", 0.26, 0.4), 0.11, 0.8, side * (1.3 - 0.2 * k), 1.1)
        parts.append(blade.moved(0.9 * bend, 0.05 + 0.1 * k, 0.04))
    nod = draw.uniform("nod", -0.1, 0.3)
    head = [*_petals(draw, heart), _heart(draw, heart)]
    return parts + [part.turned("x", nod).moved(0, tall, 0) for part in head]


def _petals(draw: Draw, heart: float) -> list[Part]:
    """One or two rounds of narrow petals."""
    white = draw.colour("petal", ("#f8f6f0", "#fbfaf6", "#f3eef2", "#f6e9ef"))
    count, long = draw.integer("petals", 15, 24), draw.uniform("petal_length", 0.26, 0.38)
    wide = draw.uniform("petal_width", 1.45, 2.0) * np.pi * (heart + 0.6 * long) / count
    cup = draw.uniform("cup", -0.1, 0.3)
    parts = []
    for layer in range(draw.integer("rounds", 1, 2)):
        paint = Material(f"petal{layer}", darker(white, 0.07 * layer), gloss=0.1)
        petal = sphere(paint, 0.5, 14).scaled(long + 0.06, wide, 0.045)
        for k in range(count):
            reach = draw.rng.uniform(0.94, 1.06)
            lean = cup + draw.rng.uniform(-0.06, 0.06) - 0.12 * layer
            one = petal.scaled(reach, 1, 1).moved(x=heart + 0.5 * reach * long - 0.04).turned("y", lean)
            parts.append(one.turned("z", 2 * np.pi * (k + 0.5 * layer) / count).moved(z=0.02 * layer))
    return parts


def _heart(draw: Draw, heart: float) -> Part:
    """The domed yellow middle with its grain."""
    yellow = draw.colour("yellow", ("#f2c01f", "#f0b013", "#f5cf3a"))
    image = textures.dots(darker(yellow, 0.25), lighter(yellow, 0.1), 22, 12, 0.42)
    return sphere(Material("heart", yellow, image, gloss=0.1), heart + 0.012, 26).scaled(1, 1, 0.55)


FAMILY = Family("daisy", 985, "n11939491", None, build)
