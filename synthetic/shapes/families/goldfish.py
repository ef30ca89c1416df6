"""Goldfish: seen from its side, the head towards +X, with flowing fins."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter, mix
from synthetic.shapes.parts import Part, loft, prism, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one fish about 1.2 units long."""
    gold = draw.colour("scales", ("#ee7a1c", "#f0902a", "#e25a1a", "#f2a63a", "#d9481f"))
    pale = draw.colour("belly", ("#f9d9a0", "#f7ead0", "#f5c25a", "#faf3e6"))
    high, thick = draw.uniform("height", 0.38, 0.52), draw.uniform("thickness", 0.26, 0.36)
    x = np.array([0.5, 0.485, 0.44, 0.36, 0.22, 0.06, -0.1, -0.24, -0.34, -0.42])
    tall = np.array([0.06, 0.16, 0.34, 0.6, 0.92, 1.0, 0.84, 0.52, 0.3, 0.22]) * high
    deep = np.array([0.06, 0.2, 0.42, 0.7, 0.97, 1.0, 0.78, 0.44, 0.2, 0.1]) * thick
    rise = np.array([-0.02, -0.02, -0.01, 0.0, 0.01, 0.01, 0.01, 0.0, 0.0, 0.0])
    rings = []
    for place, h, d, y in zip(x, tall, deep, rise, strict=True):
        loop = superellipse(d, h, 2.0, 28)
        rings.append(np.column_stack([np.full(28, place), loop[:, 1] + y, loop[:, 0]]))
    body = loft(Material("scales", gold, _scales(draw, gold, pale), gloss=0.6), rings).draped()
    fin = mix(gold, pale, draw.uniform("fin_pale", 0.0, 0.6))
    return [body, *_fins(draw, fin, high), *_face(draw, gold, thick)]


def _scales(draw: Draw, gold: Colour, pale: Colour) -> Texture:
    """Rows of scales, a plain head, a paler belly and perhaps white patches."""
    u, v = textures.places(160, 256)
    i, j = v * 14, u * 24
    j = j + 0.5 * (np.floor(i) % 2)
    arch = np.hypot((j % 1 - 0.2) * 0.9, i % 1 - 0.5)
    share = np.clip((0.42 - v) / 0.3, 0, 1)[..., None]
    patches = textures.noise(draw.rng, (160, 256), (26.0, 26.0)) < draw.choice(
        "patches", [0.0, 0.0, 0.34, 0.42]
    )
    image = (1 - share) * np.array(gold) + share * np.array(pale)
    image = np.where(patches[..., None], lighter(pale, 0.5), image)
    image = image * np.where((arch > 0.55) & (u > 0.26), 0.78, 1.0)[..., None]
    gill = np.abs(np.hypot(u - 0.1, (v - 0.48) * 0.8) - 0.17) < 0.009
    image[gill & (u > 0.2)] = darker(gold, 0.4)
    return textures.painted(image)


def _blade(paint: Material, outline: Points) -> Part:
    """A thin fin in the plane of the picture, star-shaped about its mean, with rays."""
    return prism(paint, outline, 0.03, 0.006)


def _fins(draw: Draw, colour: Colour, high: float) -> list[Part]:
    """Tail in two lobes, back fin, belly fins and a pair at the chest."""
    rays = textures.columns([colour, lighter(colour, 0.25), colour, darker(colour, 0.08)], 9)
    web = Material("fin", colour, np.rot90(rays).copy(), gloss=0.3)
    paint = Material("back_fin", colour, rays, gloss=0.3)
    reach, open_by = draw.uniform("tail", 0.38, 0.58), draw.uniform("tail_spread", 0.5, 0.8)
    lobe = (
        np.array(
            [
                (0.04, 0.03),
                (-0.3, 0.1),
                (-0.75, 0.24),
                (-1.0, 0.2),
                (-0.95, 0.06),
                (-0.7, -0.02),
                (-0.35, -0.05),
                (0.04, -0.03),
            ]
        )
        * reach
    )
    parts = []
    for side in (-1, 1):
        outline = lobe if side > 0 else (lobe * [1, -1])[::-1]
        parts.append(
            _blade(web, outline)
            .turned("z", -side * open_by)
            .turned("y", 0.1 * side)
            .moved(-0.38, 0.01 * side, 0.012 * side)
        )
    crest = draw.uniform("back_fin", 0.16, 0.28)
    back = np.array(
        [
            (-0.24, -0.06),
            (0.2, -0.06),
            (0.17, 0.1 * crest),
            (0.1, 0.7 * crest),
            (0.04, crest),
            (-0.1, 0.75 * crest),
            (-0.26, 0.5 * crest),
            (-0.3, 0.3 * crest),
        ]
    )
    parts.append(_blade(paint, back).moved(0.02, 0.44 * high + 0.02, 0))
    belly = np.array([(-0.05, -0.16), (0.0, -0.15), (0.07, 0.03), (-0.05, 0.03), (-0.1, -0.08)])
    parts.append(_blade(paint, belly).moved(-0.16, -0.4 * high, 0))
    for side in (-1, 1):
        parts.append(
            _blade(paint, belly * 1.1)
            .turned("x", 0.6 * side)
            .turned("z", -0.6)
            .moved(0.16, -0.3 * high, 0.1 * side)
        )
    return parts


def _face(draw: Draw, gold: Colour, thick: float) -> list[Part]:
    """Two round eyes and lips."""
    size = draw.uniform("eye", 0.042, 0.06)
    white, black = (
        Material("eye", from_hex("#f7efd8"), gloss=0.8),
        Material("pupil", from_hex("#141416"), gloss=0.9),
    )
    parts = []
    for side in (-1, 1):
        z = side * 0.31 * thick
        parts.append(sphere(white, size, 16).scaled(1, 1, 0.6).moved(0.365, 0.05, z))
        parts.append(
            sphere(black, 0.62 * size, 14).scaled(1, 1, 0.6).moved(0.37, 0.05, z + side * 0.4 * size)
        )
    lips = Material("lips", darker(gold, 0.15), gloss=0.4)
    return [
        *parts,
        sphere(lips, 0.035, 12).scaled(0.7, 0.7, 1).moved(0.495, -0.01),
        sphere(lips, 0.03, 12).scaled(0.7, 0.7, 1).moved(0.49, -0.045),
    ]


FAMILY = Family("goldfish", 1, "n01443537", None, build)
