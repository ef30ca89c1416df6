"""Granny Smith: a green apple with a stalk in its hollow and perhaps a leaf."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GREENS, leaf
from synthetic.shapes.curves import Points, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, from_hex
from synthetic.shapes.parts import Part, lathe, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one apple of radius 0.5."""
    tall, waist = draw.uniform("height", 0.84, 0.98), draw.uniform("waist", 0.22, 0.28)
    low = [(0, 0.06), (0.1, 0.0), (waist, 0.04), (0.37, 0.17), (0.46, 0.38), (0.5, 0.6)]
    high = [(0.48, 0.75), (0.41, 0.89), (0.28, 0.97), (0.16, 0.96), (0.06, 0.86), (0, 0.8)]
    curve = spline(np.array([*low, *high]) * [1, tall], 44)
    lobes, depth = draw.integer("lobes", 4, 6), draw.uniform("lobe_depth", 0.005, 0.02)
    phase = draw.uniform("phase", 0.0, 6.28)

    def lobed(v: Points) -> Points:
        """Gentle ribs, strongest below."""
        swell = 1 + depth * np.cos(lobes * np.arctan2(v[:, 0], v[:, 2]) + phase) * (1.2 - v[:, 1] / tall)
        return np.column_stack([v[:, 0] * swell, v[:, 1], v[:, 2] * swell])

    apple = lathe(Material("skin", (0.5, 0.7, 0.2), _skin(draw), gloss=0.55), curve, 44).warped(lobed)
    lean = draw.uniform("stalk_lean", -0.14, 0.14)
    bark = Material("stalk", from_hex("#5f4426"), gloss=0.1)
    root = 0.8 * tall - 0.01
    rise = draw.uniform("stalk", 0.26, 0.38)
    stalk = tube(
        bark,
        spline([(0, root, 0), (0.25 * lean, root + 0.6 * rise, 0), (lean, root + rise, -0.02)], 8),
        0.024,
        8,
    )
    parts = [apple, stalk]
    if draw.chance("leafy", 0.6):
        green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.3)
        bearing = draw.choice("leaf_side", [-1, 1]) * draw.uniform("bearing", 0.9, 1.5)
        blade = leaf(green, draw.uniform("leaf_length", 0.36, 0.5), 0.2, 1.0, bearing, 0.85)
        parts.append(blade.moved(0.4 * lean, root + 0.6 * rise, 0))
    return parts


def _skin(draw: Draw) -> Texture:
    """Green with pale dots, yellower or blushing on one side."""
    green = np.array(draw.colour("skin", ("#8fc03a", "#7db32f", "#9acb4a", "#6fa82e")))
    cheek = np.array(draw.colour("cheek", ("#b9cf4a", "#c9c94a", "#a9c23a", "#c98a4a")))
    u, v = textures.places(96, 192)
    sun = np.clip(np.cos(2 * np.pi * (u - draw.uniform("cheek_at", 0.3, 0.7))) - 0.2, 0, 1)[..., None]
    image = green + (cheek - green) * sun * draw.uniform("blush", 0.1, 0.7)
    streaks = textures.noise(draw.rng, (96, 192), (10.0, 1.0))[..., None]
    image = image * (0.93 + 0.12 * streaks)
    dots = (draw.rng.random((96, 192)) > 0.985) & (v > 0.15) & (v < 0.85)
    image[dots] = 0.6 * image[dots] + 0.4
    return textures.painted(image)


FAMILY = Family("Granny Smith", 948, "n07742313", None, build)
