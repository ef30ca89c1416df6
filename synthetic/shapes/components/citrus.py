"""Citrus fruit: a cut half that shows its segments, and skin with pores."""

from __future__ import annotations

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.material import Colour, Material, darker, lighter
from synthetic.shapes.parts import Part, lathe


def peel(draw: Draw, colour: Colour) -> Material:
    """Skin with fine pores."""
    pores = textures.noise(draw.rng, (96, 192), (1.1, 1.1))
    return Material(
        "peel", colour, textures.ramp(pores**0.7, darker(colour, 0.16), lighter(colour, 0.05)), gloss=0.35
    )


def half(draw: Draw, skin: Colour, flesh: Colour, radius: float, segments: int) -> Part:
    """Half a fruit, its cut side towards the front."""
    pith = lighter(flesh, 0.78)
    u, v = textures.places(96, 192)  # v: 0 at the skin's pole, 0.5 at the rim, 1 in the middle of the cut
    out = 2 * (1 - v)
    wall = np.minimum(np.abs((u * segments) % 1), 1 - (u * segments) % 1) * out * 2 * np.pi / segments
    grain = textures.noise(draw.rng, (96, 192), (6.0, 0.8))[..., None]
    image = np.array(flesh) * (0.9 + 0.18 * grain)
    image[(wall < 0.035) | (out > 0.86) | (out < 0.07)] = pith
    image[out > 0.96] = skin
    outline = np.concatenate([arc(radius, radius, -np.pi / 2, 0, 12), [(0.97 * radius, 0.01), (0.0, 0.01)]])
    rows = np.concatenate([np.linspace(0, 0.5, 12), [0.51, 1.0]])
    return lathe(Material("half", flesh, textures.painted(image), gloss=0.4), outline, 44, v=rows).turned(
        "x", -np.pi / 2
    )
