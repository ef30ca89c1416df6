"""Pineapple: a barrel of diamond-shaped eyes under a crown of pointed leaves."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GOLDEN_ANGLE, leaf
from synthetic.shapes.curves import Points, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, lighter, mix
from synthetic.shapes.parts import Part, lathe


def build(draw: Draw) -> list[Part]:
    """Parts of one fruit, its body about 0.75 units high."""
    wide, tall = draw.uniform("radius", 0.25, 0.32), draw.uniform("height", 0.64, 0.82)
    across, up = draw.integer("eyes_across", 8, 10), draw.integer("eyes_up", 6, 8)
    gold = draw.colour("skin", ("#d99a2b", "#c98a24", "#e0ad3a", "#b88a2a", "#a8923a"))
    low = draw.uniform("foot", 0.6, 0.8)
    outline = [
        (0, 0),
        (low * wide, 0.0),
        (0.97 * wide, 0.22),
        (wide, 0.5),
        (0.86 * wide, 0.82),
        (0.5 * wide, 0.98),
        (0, 1),
    ]
    curve = spline(np.array(outline) * [1, tall], 40)

    def bumps(v: Points) -> Points:
        """Eyes that stand out where the texture has its diamonds."""
        u, row = np.arctan2(-v[:, 0], -v[:, 2]) / (2 * np.pi) * across, v[:, 1] / tall * up
        swell = 1 + 0.05 * np.cos(2 * np.pi * u) * np.cos(2 * np.pi * row) * np.sin(
            np.pi * np.clip(v[:, 1] / tall, 0, 1)
        )
        return np.column_stack([v[:, 0] * swell, v[:, 1], v[:, 2] * swell])

    rows = curve[:, 1] / tall
    skin = Material("skin", gold, _eyes(draw, gold, across, up), gloss=0.25)
    body = lathe(skin, curve, 64, v=np.maximum.accumulate(rows)).warped(bumps)
    return [body, *(part.moved(y=0.95 * tall) for part in _crown(draw, wide))]


def _eyes(draw: Draw, gold: Colour, across: int, up: int) -> Texture:
    """Diamonds with dark edges and a greenish heart."""
    u, v = textures.places(192, 256)
    i, j = v * up, u * across
    edge = np.minimum(np.abs((i + j + 0.5) % 1 - 0.5), np.abs((i - j + 0.5) % 1 - 0.5))
    edge = 0.5 - np.maximum(np.abs((i + j) % 1 - 0.5), np.abs((i - j) % 1 - 0.5))
    green = mix(
        gold, draw.colour("heart", ("#6b7a2a", "#7a5a20", "#5f7a35")), draw.uniform("ripeness", 0.2, 0.8)
    )
    image = np.where((edge < 0.09)[..., None], darker(gold, 0.5), gold)
    image = np.where((edge > 0.27)[..., None], green, image)
    image = np.where((edge > 0.42)[..., None], lighter(gold, 0.35), image)
    return textures.painted(image)


def _crown(draw: Draw, wide: float) -> list[Part]:
    """Leaves in a spiral, steeper towards the middle."""
    tones = [
        Material(f"leaf{k}", draw.colour(f"leaf{k}", ("#4a7d3a", "#5f8f4a", "#3a6b45", "#6f9a5a")), gloss=0.2)
        for k in range(2)
    ]
    count, length = draw.integer("leaves", 18, 26), draw.uniform("leaf_length", 0.36, 0.52)
    parts = []
    for k in range(count):
        share = k / count
        tilt = 0.75 + 0.75 * share
        blade = leaf(
            tones[k % 2], length * (0.7 + 0.4 * share), 0.34 * wide, 0.9 - 0.8 * share, GOLDEN_ANGLE * k, tilt
        )
        out = 0.22 * wide * (1 - share)
        parts.append(
            blade.moved(out * np.sin(GOLDEN_ANGLE * k), 0.1 * share, -out * np.cos(GOLDEN_ANGLE * k))
        )
    return parts


FAMILY = Family("pineapple", 953, "n07753275", None, build)
