"""Volleyball: six sides of three strips each, in one, two or three colours."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.balls import ball, directions
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import darker
from synthetic.shapes.parts import Part


def build(draw: Draw) -> list[Part]:
    """One ball."""
    colours = [draw.colour("first", ("#f4f1e6", "#f7f5ee", "#f2cf3a", "#f4f1e6"))]
    colours += [draw.colour("second", ("#f2cf3a", "#2457a8", "#d8352f", "#2f8f5a", "#f4f1e6"))]
    colours += [draw.colour("third", ("#2457a8", "#24346b", "#2457a8", "#f4f1e6"))]
    d = directions()
    axis = np.abs(d).argmax(axis=-1)
    across = np.take_along_axis(d, ((axis + 2) % 3)[..., None], -1)[..., 0]
    place = across / np.abs(d).max(axis=-1)
    strip = np.minimum(((place + 1) * 1.5).astype(int), 2)
    order = draw.choice("order", ["strips", "strips", "sides"])
    pick = (strip + axis) % 3 if order == "strips" else axis
    image = np.array(colours)[pick]
    sorted_sides = np.sort(np.abs(d), axis=-1)
    edge = np.minimum(sorted_sides[..., 2] - sorted_sides[..., 1], np.abs(np.abs(place) - 1 / 3))
    image[edge < draw.uniform("seam", 0.022, 0.034)] = darker(
        colours[0], draw.uniform("seam_dark", 0.35, 0.6)
    )
    return [ball(draw, "panels", textures.painted(image), 0.35)]


FAMILY = Family("volleyball", 890, "n04540053", None, build)
