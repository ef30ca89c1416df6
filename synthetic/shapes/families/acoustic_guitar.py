"""Acoustic guitar: upright, its strings to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, circle, resampled, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter
from synthetic.shapes.parts import Part, bar, box, cylinder, loft, prism


def build(draw: Draw) -> list[Part]:
    """Parts of one guitar about 1.5 units high, the body's middle at the origin."""
    wide, tall, deep = (
        draw.uniform("width", 0.5, 0.58),
        draw.uniform("body", 0.64, 0.72),
        draw.uniform("depth", 0.15, 0.19),
    )
    tone = draw.colour(
        "top", ("#d9a45a", "#e3bd7a", "#b5692e", "#e8c88a", "#c98a3f", "#8a3f22", "#7a2127", "#e3bd7a")
    )
    outline = _outline(wide, tall, draw.uniform("waist", 0.56, 0.66), draw.uniform("shoulder", 0.72, 0.8))
    side_tone = draw.colour("sides", ("#6b3a20", "#7a4a2a", "#4a2a1a", "#8a5a32"))
    sides = Material("sides", side_tone, gloss=0.5)
    top = Material("top", tone, _top(draw, tone, wide, tall), gloss=0.6)
    rim = Material("binding", draw.colour("binding", ("#f4ead2", "#2a1f18", "#f4f1e8")), gloss=0.4)
    parts = [
        prism(sides, outline, deep, 0.006),
        prism(rim, outline * 1.004, 0.02).moved(z=-deep / 2 + 0.014),
        prism(top, outline * 0.975, 0.012).moved(z=-deep / 2 + 0.002),
    ]
    parts += _bridge(draw, side_tone, tall, deep)
    return parts + _neck(draw, side_tone, tall, deep)


def _outline(wide: float, tall: float, waist: float, shoulder: float) -> Points:
    """Figure of eight [80, 2], counter-clockwise: a wide lower bout, a waist, a narrower upper bout."""
    low = [(0, -0.5), (0.4, -0.495), (0.78, -0.43), (0.97, -0.32), (1.0, -0.2), (0.9, -0.04)]
    high = [
        (waist, 0.1),
        (0.5 * (waist + shoulder), 0.2),
        (shoulder, 0.32),
        (0.86 * shoulder, 0.43),
        (0.4, 0.49),
        (0, 0.5),
    ]
    half = resampled(spline(np.array([*low, *high]) * [wide / 2, tall], 120), 41)
    return np.concatenate([half, half[-2:0:-1] * [-1, 1]])


def _top(draw: Draw, tone: Colour, wide: float, tall: float) -> Texture:
    """Upright grain, rosette and sound hole, perhaps a dark burst at the edge or a plate for the plectrum."""
    u, v = textures.places(256, 200)
    grain = textures.noise(draw.rng, (256, 200), (30.0, 0.8))[..., None]
    image = np.array(tone) * (0.9 + 0.14 * grain)
    x, y = (u - 0.5) * wide, (v - 0.5) * tall
    if draw.chance("burst", 0.2):
        out = (
            np.clip(np.hypot(x / (0.5 * wide), (y + 0.1 * tall) / (0.56 * tall)) - 0.5, 0, 0.5)[..., None] * 2
        )
        image = image * (1 - 0.75 * out)
    hole = np.hypot(x, y - 0.1 * tall)
    radius = draw.uniform("sound_hole", 0.075, 0.09)
    if draw.chance("plate", 0.5):
        shape = (np.hypot(x - 0.075, y + 0.0 * tall) < 0.075) & (hole > radius)
        image[shape] = draw.colour("plate_colour", ("#2a1a14", "#5a2418", "#1f1f22"))
    image[(hole > radius) & (hole < radius + 0.022)] = darker(tone, 0.6)
    image[np.abs(hole - radius - 0.011) < 0.004] = lighter(tone, 0.6)
    image[hole < radius] = from_hex("#150f0c")
    return textures.painted(image)


def _bridge(draw: Draw, wood: Colour, tall: float, deep: float) -> list[Part]:
    """The bridge with its saddle."""
    dark = Material("bridge", darker(wood, 0.35), gloss=0.3)
    y, z = -0.23 * tall, -deep / 2 - 0.012
    return [
        box(dark, (0.2, 0.05, 0.024), (0, y, z)),
        box(
            Material("saddle", from_hex("#f4f1e8"), gloss=0.4), (0.1, 0.008, 0.016), (0, y + 0.008, z - 0.012)
        ),
    ]


def _neck(draw: Draw, wood: Colour, tall: float, deep: float) -> list[Part]:
    """Neck with its fingerboard and frets, the head, six strings."""
    top, front, start = tall / 2 + draw.uniform("neck", 0.5, 0.6), -deep / 2, 0.1 * tall + 0.085
    board = Material("fingerboard", draw.colour("fingerboard", ("#2a1d18", "#3a2418", "#4a2a1c")), gloss=0.3)
    stick, steel = Material("neck", wood, gloss=0.5), Material("steel", from_hex("#d0d4d8"), gloss=0.8)
    sides, faces = np.array([1, 1, -1, -1]), front + np.array([0.002, -0.022, -0.022, 0.002])
    flat = [np.column_stack([w / 2 * sides, np.full(4, y), faces]) for w, y in ((0.078, start), (0.066, top))]
    across, along = circle(1, 14).T
    depths = front + 0.012 + 0.022 * along
    back = [
        np.column_stack([w / 2 * across, np.full(14, y), depths])
        for w, y in ((0.076, tall / 2 - 0.03), (0.062, top + 0.01))
    ]
    parts = [loft(board, flat), loft(stick, back)]
    parts.append(box(stick, (0.07, 0.12, 0.06), (0, tall / 2 + 0.01, front + 0.04), 0.015))
    heights = top - 1.5 * (top - start) * (1 - 0.5 ** (np.arange(1, 15) / 12))
    parts += [box(steel, (0.07, 0.006, 0.008), (0, y, front - 0.024)) for y in heights if y > start]
    for x in np.arange(6) - 2.5:
        ends = (0.013 * x, -0.22 * tall, front - 0.03), (0.0095 * x, top + 0.02, front - 0.027)
        parts.append(bar(steel, *ends, 0.0022, 5))
    return parts + [part.moved(0, top, front) for part in _head(draw, stick)]


def _head(draw: Draw, stick: Material) -> list[Part]:
    """The head standing on y = 0, leaning back, with three pegs a side."""
    size = draw.uniform("head", 0.17, 0.21)
    right = [(0.034, 0), (0.055, 0.3 * size), (0.05, size)]
    outline = [*right, (0, 1.05 * size), *((-x, y) for x, y in right[::-1])]
    parts = [prism(stick, outline, 0.03).turned("x", 0.12)]
    pearl = Material("peg", draw.colour("peg", ("#f4f1e8", "#c9ced4", "#d9a93a")), gloss=0.6)
    peg = cylinder(pearl, 0.016, 0.035, 0.004, 10)
    for side in (-1, 1):
        for k in range(3):
            at = (0.05 * side, (0.3 + 0.28 * k) * size, 0.012 * k)
            parts.append(peg.turned("z", -side * np.pi / 2).moved(*at))
    return parts


FAMILY = Family("acoustic guitar", 402, "n02676566", "03467517", build)
