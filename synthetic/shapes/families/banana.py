"""Banana: one fruit or a hand of several, curved upwards, the stalk at its upper left."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.parts import Part, loft, sphere

STATIONS, SIDES = 40, 14


def build(draw: Draw) -> list[Part]:
    """Parts of a hand of one to five bananas about 1 unit long, hanging like a smile."""
    skin = draw.colour("skin", ("#f3cf2b", "#efc522", "#f6da4a", "#d9cf4a"))
    image = _peel(draw, skin)
    peel = Material("peel", skin, image, gloss=0.3)
    count = draw.integer("count", 1, 5)
    bend = draw.uniform("bend", 1.5, 2.1)
    thick = draw.uniform("thickness", 0.085, 0.11)
    spread = draw.uniform("spread", 0.16, 0.24)
    parts = []
    for k in range(count):
        turn = spread * (k - (count - 1) / 2)
        fruit = _fruit(
            peel, bend * draw.rng.uniform(0.93, 1.07), thick, draw.uniform(f"length{k}", 0.92, 1.08)
        )
        parts.append(fruit.turned("x", 1.6 * turn).turned("z", 0.5 * abs(turn)))
    if count > 1:
        knot = Material("knot", from_hex("#6b5226"), gloss=0.1)
        parts.append(sphere(knot, 0.07, 14).scaled(1.2, 0.9, 0.6 + 0.35 * count))
    return [part.turned("z", -0.1 * bend) for part in parts]


def _fruit(peel: Material, bend: float, thick: float, length: float) -> Part:
    """One banana from its stalk at the origin down and round to -X, tip up."""
    t = np.linspace(0, 1, STATIONS)
    angle = -np.pi / 2 - 0.5 * bend + bend * t  # direction of travel turns from down to up
    heading = angle + 0.5 * np.pi - 0.08
    step = length / STATIONS
    x, y = np.cumsum(np.cos(heading)) * step, np.cumsum(np.sin(heading)) * step
    size = np.interp(
        t, [0, 0.08, 0.16, 0.32, 0.6, 0.82, 0.93, 0.965, 1], [0.34, 0.34, 0.5, 0.9, 1, 0.8, 0.42, 0.26, 0.2]
    )
    outline = superellipse(2 * thick, 2 * thick, 2.5, SIDES)
    across = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    rings = np.empty((STATIONS, SIDES, 3))
    for k in range(STATIONS):
        rings[k, :, 0] = -(x[k] + size[k] * outline[:, 0] * across[k, 0])
        rings[k, :, 1] = y[k] + size[k] * outline[:, 0] * across[k, 1]
        rings[k, :, 2] = size[k] * outline[:, 1]
    return loft(peel, rings)


def _peel(draw: Draw, skin: Colour) -> Texture:
    """Yellow between a green neck and a brown tip, freckled when ripe."""
    green = np.array(from_hex("#9ab03a")) * draw.uniform("neck", 0.85, 1.1)
    brown = np.array(from_hex("#4a3318"))
    u, v = textures.places(128, 64)
    v = v[..., None]
    unripe = draw.uniform("unripe", 0.05, 0.3)
    neck = np.clip((0.1 + unripe - v) / 0.15, 0, 1)
    image = np.array(skin) * (1 - neck) + green * neck
    freckles = textures.noise(draw.rng, (128, 64), (2.2, 1.6))[..., None]
    image = np.where((freckles > 1 - draw.uniform("freckles", 0.0, 0.22)) & (v > 0.2), brown * 1.4, image)
    ridges = 0.5 + 0.5 * np.cos(2 * np.pi * 5 * u)[..., None]
    image = image * (0.92 + 0.08 * ridges)
    return textures.painted(np.where((v > 0.955) | (v < 0.03), brown, image))


FAMILY = Family("banana", 954, "n07753592", None, build)
