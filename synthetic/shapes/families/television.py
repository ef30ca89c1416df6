"""Television: an old set with knobs and an aerial, or a flat one on a stand, its screen in front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vehicles import board
from synthetic.shapes.curves import superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, bar, box, cylinder, frustum, loft, sphere

BLACK = Material("black", from_hex("#1d1e21"), gloss=0.5)


def build(draw: Draw) -> list[Part]:
    """Parts of one set about 1 unit wide."""
    return _flat(draw) if draw.chance("flat", 0.3) else _tube_set(draw)


def _tube_set(draw: Draw) -> list[Part]:
    """A deep case, a bulging screen on the left, knobs and loudspeaker on the right."""
    wide, tall, deep = (
        draw.uniform("width", 0.84, 1.0),
        draw.uniform("height", 0.6, 0.72),
        draw.uniform("depth", 0.4, 0.55),
    )
    tone = draw.colour("case", (*WOODS, *WOODS, "#c8382e", "#e9e4d6", "#57b8c9", "#3b4048"))
    wooden = draw.chance("wooden", 0.6)
    case = Material("case", tone, textures.wood(draw.rng, tone) if wooden else None, gloss=0.4)
    front = Material("front", draw.colour("front", ("#e9e0c8", "#2a2c30", "#c9b890", "#d8d8d4")), gloss=0.3)
    z = -deep / 2
    parts = [
        box(case, (wide, tall, deep), (0, 0, 0), 0.03),
        box(front, (wide - 0.08, tall - 0.08, 0.03), (0, 0, z), 0.01),
    ]
    sw, sh = draw.uniform("screen_width", 0.66, 0.72) * wide, draw.uniform("screen_height", 0.7, 0.76) * tall
    x = 0.5 * wide - 0.07 - sw / 2
    parts += [part.moved(x, 0, z - 0.012) for part in _screen(draw, sw, sh)]
    panel = (x - sw / 2 + (-wide / 2 + 0.04)) / 2
    metal = Material("knob", draw.colour("knob", ("#c9ced4", "#2a2c30", "#d9a93a")), gloss=0.7)
    for k in range(draw.integer("knobs", 2, 3)):
        parts.append(
            cylinder(metal, 0.042, 0.035, 0.008, 20)
            .turned("x", -np.pi / 2)
            .moved(panel, (0.3 - 0.18 * k) * tall, z - 0.01)
        )
    for k in range(5):
        parts.append(box(BLACK, (0.11, 0.012, 0.02), (panel, (-0.2 - 0.035 * k) * tall, z - 0.01), 0.003))
    if draw.chance("legs", 0.55):
        leg = Material("leg", draw.colour("legs_colour", ("#4a3222", "#24262a", "#8a5a32")), gloss=0.3)
        high = draw.uniform("leg_height", 0.12, 0.3)
        for side in (-1, 1):
            for end in (-1, 1):
                at, foot = (
                    (0.36 * side * wide, -tall / 2 + 0.02, 0.36 * end * deep),
                    (0.46 * side * wide, -tall / 2 - high, 0.42 * end * deep),
                )
                parts.append(bar(leg, foot, at, 0.022, 10))
    return parts + (_aerial(draw, tall) if draw.chance("aerial", 0.75) else [])


def _screen(draw: Draw, wide: float, tall: float) -> list[Part]:
    """A bulging glass about the origin with a dark mask around it."""
    loop = superellipse(wide, tall, 5, 40)
    mask = loft(
        BLACK,
        [
            np.column_stack([s * loop, np.full(40, z)])
            for s, z in ((1.06, 0.01), (1.06, -0.012), (1.02, -0.02))
        ],
    )
    rings = [
        np.column_stack([s * loop, np.full(40, z)])
        for s, z in ((0.97, 0.0), (0.97, -0.022), (0.7, -0.045), (0.3, -0.058), (0.05, -0.06))
    ]
    return [mask, loft(Material("screen", (0.2, 0.25, 0.3), _programme(draw), gloss=0.8), rings).draped()]


def _programme(draw: Draw) -> Texture:
    """What is on: nothing, test bars, a landscape or snow."""
    kind = draw.choice("programme", ["off", "bars", "bars", "landscape", "snow"])
    u, v = textures.places(96, 128)
    if kind == "bars":
        bars = np.array(
            [
                from_hex(c)
                for c in ("#e9e9e9", "#e3d92e", "#2fd0d6", "#35c23a", "#c93ac9", "#d8352f", "#2f45c8")
            ]
        )
        image = bars[np.minimum((u * 7).astype(int), 6)]
        image[v < 0.2] = from_hex("#1f2126")
        return textures.painted(image)
    if kind == "landscape":
        hills = 0.35 + 0.1 * np.sin(9 * u) + 0.06 * np.sin(4 * u + 1)
        sky = np.array(from_hex("#7fc0e8")) + (1 - v[..., None]) * 0.15
        image = np.where((v < hills)[..., None], from_hex("#4f9a3f"), sky)
        image[np.hypot((u - 0.75) * 1.3, v - 0.78) < 0.1] = from_hex("#f7e06a")
        return textures.painted(image)
    if kind == "snow":
        return textures.ramp(draw.rng.random((96, 128)), from_hex("#2a2d32"), from_hex("#d0d4da"))
    shade = np.clip(0.35 + 0.5 * (v + u - 1), 0, 1)
    return textures.ramp(shade, from_hex("#2f3a3f"), from_hex("#64757a"))


def _aerial(draw: Draw, tall: float) -> list[Part]:
    """Two rods in a V on a foot."""
    metal = Material("aerial", from_hex("#b7bcc2"), gloss=0.8)
    spread, length = draw.uniform("aerial_spread", 0.35, 0.7), draw.uniform("aerial_length", 0.34, 0.48)
    y = tall / 2
    parts = [frustum(BLACK, 0.09, 0.05, 0.05, 0.008, 20).moved(y=y - 0.005)]
    for side in (-1, 1):
        tip = (side * length * np.sin(spread), y + length * np.cos(spread), 0.05)
        parts += [bar(metal, (0, y + 0.03, 0), tip, 0.011, 8), sphere(metal, 0.02, 10).moved(*tip)]
    return parts


def _flat(draw: Draw) -> list[Part]:
    """A thin set with a narrow frame on a foot."""
    wide, tall = draw.uniform("width", 0.95, 1.1), draw.uniform("height", 0.55, 0.63)
    tone: Colour = draw.colour("case", ("#1d1e21", "#2a2c30", "#b7bcc2", "#e9e6de"))
    shell, deep = Material("case", tone, gloss=0.6), draw.uniform("depth", 0.05, 0.09)
    image = _programme(draw)
    screen = board(Material("screen", (0.2, 0.2, 0.2), image, gloss=0.8), wide - 0.06, tall - 0.06, 0.02)
    foot, rise = draw.uniform("foot", 0.35, 0.6) * wide, draw.uniform("rise", 0.06, 0.12)
    low = -tall / 2 - rise
    return [
        box(shell, (wide, tall, deep), (0, 0, 0), 0.012),
        screen.moved(0, 0.004, -deep / 2 - 0.002),
        box(shell, (0.1, rise + 0.06, 0.05), (0, low + rise / 2 + 0.02, 0.02)),
        box(shell, (foot, 0.025, 0.24), (0, low, 0), 0.01),
    ]


FAMILY = Family("television", 851, "n04404412", None, build)
