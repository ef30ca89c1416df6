"""Balloon: a hot-air balloon with coloured gores, a skirt, ropes and a wicker basket."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.curves import circle, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, darker, from_hex
from synthetic.shapes.parts import Part, bar, box, lathe, sweep

CLOTHS = (
    "#d8352b",
    "#f2b31f",
    "#2f6fb5",
    "#3a9f5c",
    "#f4f1e8",
    "#8a4fa0",
    "#e8702e",
    "#1f2f5a",
    "#57b8c9",
    "#e86a92",
)


def build(draw: Draw) -> list[Part]:
    """Parts of one balloon, about 1.3 units high."""
    radius = draw.uniform("radius", 0.4, 0.48)
    stretch = draw.uniform("stretch", 0.92, 1.12)
    mouth = draw.uniform("mouth", 0.09, 0.13)
    gores = 2 * draw.integer("half_gores", 5, 9)
    knots = np.array(
        [
            (mouth, 0),
            (0.24, 0.13),
            (0.62, 0.38),
            (0.95, 0.72),
            (1.0, 0.95),
            (0.9, 1.2),
            (0.62, 1.4),
            (0.25, 1.5),
            (0, 1.52),
        ]
    )
    knots[1:, 0] *= radius
    knots[:, 1] *= radius * stretch * 1.1
    outline = spline(knots, 40)
    cloth = Material("cloth", from_hex(CLOTHS[0]), _gores(draw, gores), gloss=0.2)
    bulge = draw.uniform("bulge", 0.01, 0.035)
    envelope = lathe(cloth, outline, 6 * gores).warped(lambda v: _quilted(v, gores, bulge))
    hang = draw.uniform("hang", 0.14, 0.24)
    wide = draw.uniform("basket", 0.07, 0.095)
    tall = 1.35 * wide
    rope = Material("rope", from_hex("#4a3a2a"))
    floor = -hang - tall
    ropes = [
        bar(
            rope,
            (sx * 0.9 * wide, -hang - 0.01, sz * 0.9 * wide),
            (sx * 0.7 * mouth, 0.01, sz * 0.7 * mouth),
            0.006,
            6,
        )
        for sx in (-1, 1)
        for sz in (-1, 1)
    ]
    return [envelope, *ropes, *(part.moved(y=floor) for part in _basket(draw, wide, tall))]


def _quilted(v: NDArray[np.float64], gores: int, bulge: float) -> NDArray[np.float64]:
    """Each gore swells between its seams."""
    angle = np.arctan2(v[:, 0], v[:, 2]) + np.pi
    factor = 1 - bulge + bulge * np.abs(np.sin(0.5 * gores * angle))
    return np.asarray(v * np.stack([factor, np.ones_like(factor), factor], axis=1))


def _gores(draw: Draw, gores: int) -> Texture:
    """Stripes, rainbow, chequered bands, zigzag or a belt."""
    colours = [draw.colour(f"cloth{k}", CLOTHS, 0.02) for k in range(3)]
    kind = draw.choice("pattern", ["stripes", "rainbow", "checks", "zigzag", "belt"])
    if kind == "stripes":
        return textures.columns(colours[:2], gores // 2)
    if kind == "rainbow":
        first = draw.integer("first_colour", 0, 7)
        return textures.columns([from_hex(CLOTHS[(first + k) % 8]) for k in range(gores)], 1)
    if kind == "checks":
        return textures.checks(colours[0], colours[1], gores, 8)
    v, u = np.mgrid[1:0:256j, 0:1:256j]
    image = np.empty((256, 256, 3))
    image[:] = colours[0]
    if kind == "zigzag":
        level = v * 5 + 1.2 * np.abs((u * gores / 2) % 1 - 0.5)
        for k, colour in enumerate(colours):
            image[np.floor(level).astype(int) % 3 == k] = colour
    else:
        image[(v > 0.42) & (v < 0.7)] = colours[1]
        image[(v > 0.48) & (v < 0.64) & ((u * gores) % 2 < 1)] = colours[2]
    return np.round(255 * image).astype(np.uint8)


def _basket(draw: Draw, wide: float, tall: float) -> list[Part]:
    """A square wicker basket with a padded rim."""
    tone = draw.colour("wicker", ("#a9713c", "#8a5a32", "#c9975b"))
    wicker = Material("wicker", tone, textures.checks(tone, darker(tone, 0.25), 12, 8), gloss=0.1)
    trim = Material("rim", draw.colour("rim", ("#5a3a22", "#24262a", "#c8382e")), gloss=0.2)
    corners = np.sqrt(2) * wide * circle(1, 4)
    body = sweep(wicker, [(0, 0, 0), (0, tall, 0)], corners, [0.88, 1.0], up=(0, 0, 1))
    rim = [box(trim, (2.15 * wide, 0.025, 0.03), (0, tall, z)) for z in (-wide, wide)]
    rim += [box(trim, (0.03, 0.025, 2.15 * wide), (x, tall, 0)) for x in (-wide, wide)]
    return [body, *rim]


FAMILY = Family("balloon", 417, "n02782093", None, build)
