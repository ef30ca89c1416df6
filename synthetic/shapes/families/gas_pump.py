"""Gas pump: a cabinet with a dial or figures in front, a hose at its side (+X), some crowned by a globe."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vehicles import board, section
from synthetic.shapes.curves import arc, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, from_hex
from synthetic.shapes.parts import Part, box, cylinder, frustum, loft, prism, sphere, tube

BLACK = Material("black", from_hex("#1f2023"), gloss=0.4)
CHROME = Material("chrome", from_hex("#c9ced4"), gloss=0.8)


def build(draw: Draw) -> list[Part]:
    """Parts of one pump about 1.4 units high."""
    tone = draw.colour("paint", ("#c8262e", "#d8352f", "#2f62a3", "#1f7a4a", "#f0b429", "#f1efe9", "#57a8b9"))
    second = draw.colour("second", ("#f4f1e8", "#f4f1e8", "#c8262e", "#24262a"))
    paint = Material("paint", tone, gloss=0.6)
    wide, deep, tall = (
        draw.uniform("width", 0.4, 0.48),
        draw.uniform("depth", 0.3, 0.38),
        draw.uniform("height", 0.95, 1.12),
    )
    retro = draw.chance("retro", 0.65)
    parts = [box(BLACK, (wide + 0.06, 0.06, deep + 0.06), (0, 0.03, 0), 0.012)]
    parts += (
        _rounded(paint, wide, deep, tall)
        if retro
        else [box(paint, (wide, tall, deep), (0, 0.06 + tall / 2, 0), 0.015)]
    )
    z = -deep / 2
    parts += _dial(draw, second, wide, tall, z) if retro else _figures(draw, second, wide, tall, z)
    stripe = Material("stripe", second, gloss=0.5)
    if draw.chance("stripe", 0.6):
        parts.append(
            box(
                stripe,
                (wide + 0.012, 0.09, deep + 0.012),
                (0, draw.uniform("stripe_at", 0.36, 0.48) * tall, 0),
                0.004,
            )
        )
    if retro and draw.chance("globe", 0.75):
        parts += _globe(draw, tone, second, tall + 0.06)
    return parts + _hose(draw, wide, tall)


def _rounded(paint: Material, wide: float, deep: float, tall: float) -> list[Part]:
    """A cabinet with a round head, seen from the front."""
    head = arc(wide / 2, 0.3 * wide, 0, np.pi, 17) + np.array([0, tall - 0.3 * wide])
    outline = np.concatenate([[(-wide / 2, 0.0), (wide / 2, 0.0)], head])
    return [
        prism(paint, outline, deep, 0.014).moved(y=0.06),
        prism(CHROME, (outline - [0, 0.5 * tall]) * [1.03, 1.012] + [0, 0.5 * tall], 0.05).moved(y=0.06),
    ]


def _dial(draw: Draw, second: Colour, wide: float, tall: float, z: float) -> list[Part]:
    """A round clock face with a pointer, a plate below."""
    u, v = textures.places(96, 96)
    radius, angle = np.hypot(2 * u - 1, 2 * v - 1), np.arctan2(2 * u - 1, 2 * v - 1) / (2 * np.pi)
    image = np.broadcast_to(from_hex("#f7f4ea"), (96, 96, 3)).copy()
    image[(np.abs((angle * 20 + 0.5) % 1 - 0.5) < 0.16) & (radius > 0.66) & (radius < 0.9)] = from_hex(
        "#1f2023"
    )
    size = draw.uniform("dial", 0.32, 0.38) * wide
    y = 0.06 + 0.78 * tall
    ring = cylinder(CHROME, size + 0.025, 0.03, 0.006, 32).turned("x", -np.pi / 2).moved(0, y, z + 0.01)
    outline = size * np.column_stack([np.cos(t := np.arange(32) * np.pi / 16), np.sin(t)])
    face = prism(Material("dial", second, textures.painted(image), gloss=0.3), outline, 0.02).moved(
        0, y, z - 0.02
    )
    hand = prism(
        Material("pointer", from_hex("#c8262e"), gloss=0.3),
        [(-0.014, -0.03), (0.014, -0.03), (0, 0.8 * size)],
        0.014,
    )
    plate = board(Material("plate", second, gloss=0.4), 0.62 * wide, 0.2 * tall, 0.02)
    return [
        ring,
        face,
        hand.turned("z", draw.uniform("reading", -2.5, 2.5)).moved(0, y, z - 0.034),
        plate.moved(0, 0.06 + 0.24 * tall, z - 0.004),
    ]


def _figures(draw: Draw, second: Colour, wide: float, tall: float, z: float) -> list[Part]:
    """Three rows of figures in a dark window, buttons below, a sign on top."""
    image = np.broadcast_to(from_hex("#20262b"), (90, 120, 3)).copy()
    for row in range(3):
        for k in range(5):
            y, x = 10 + 28 * row, 14 + 20 * k
            image[y : y + 18, x : x + 12] = from_hex("#e9f0c9")
            gap = int(draw.rng.integers(0, 3))
            image[y + 4 : y + 14, x + 4 - 2 * (gap == 1) : x + 8 - 2 * (gap == 1)] = from_hex("#20262b")
    parts = [
        board(
            Material("figures", second, textures.painted(image), gloss=0.6), 0.78 * wide, 0.26 * tall, 0.03
        ).moved(0, 0.06 + 0.76 * tall, z)
    ]
    parts.append(
        board(Material("plate", second, gloss=0.4), 0.82 * wide, 0.32 * tall, 0.02).moved(
            0, 0.06 + 0.24 * tall, z
        )
    )
    grades = ("#2fa85a", "#f0b429", "#c8262e")
    for k in range(3):
        button = board(Material(f"grade{k}", from_hex(grades[k]), gloss=0.5), 0.2 * wide, 0.07 * tall, 0.03)
        parts.append(button.moved((0.26 - 0.26 * k) * wide, 0.06 + 0.54 * tall, z))
    top = draw.uniform("sign", 0.1, 0.16)
    return [
        *parts,
        box(
            Material("sign", second, gloss=0.5), (wide + 0.05, top, 0.3), (0, 0.06 + tall + top / 2, 0), 0.012
        ),
    ]


def _globe(draw: Draw, tone: Colour, second: Colour, y: float) -> list[Part]:
    """The lit ball on top with a coloured ring."""
    size = draw.uniform("globe_size", 0.12, 0.16)
    glass = Material("globe", from_hex("#faf6e4"), gloss=0.6)
    ring = cylinder(Material("ring", tone, gloss=0.5), 0.82 * size, 0.86 * size, 0.01, 28).turned(
        "x", -np.pi / 2
    )
    white = cylinder(glass, 0.58 * size, 0.9 * size, 0.01, 28).turned("x", -np.pi / 2)
    return [
        frustum(CHROME, 0.09, 0.07, 0.06, 0.006, 20).moved(y=y - 0.015),
        sphere(glass, size, 28).scaled(1, 1, 0.7).moved(y=y + size + 0.01),
        ring.moved(0, y + size + 0.01, 0.43 * size),
        white.moved(0, y + size + 0.01, 0.45 * size),
    ]


def _hose(draw: Draw, wide: float, tall: float) -> list[Part]:
    """A black hose that hangs in a loop at the side and the nozzle in its holster."""
    x, sag = wide / 2, draw.uniform("sag", 0.12, 0.3)
    high = 0.06 + 0.68 * tall
    line = spline(
        [
            (x - 0.02, 0.5 * tall, 0.0),
            (x + 0.09, 0.42 * tall, 0),
            (x + 0.15, sag + 0.1, 0),
            (x + 0.19, sag + 0.14, -0.01),
            (x + 0.17, 0.5 * tall, -0.03),
            (x + 0.1, high - 0.09, -0.03),
        ],
        30,
    )
    metal = Material("nozzle", draw.colour("nozzle", ("#b7bcc2", "#24262a", "#1f7a4a", "#c8262e")), gloss=0.6)
    grip = tube(
        metal,
        spline(
            [
                (x + 0.1, high - 0.11, -0.03),
                (x + 0.09, high, -0.03),
                (x + 0.05, high + 0.05, -0.03),
                (x - 0.01, high + 0.06, -0.03),
            ],
            10,
        ),
        0.028,
        12,
    )
    rings = [
        section(0.09, high - 0.02, high + 0.11, z, 5, 20) + np.array([x + 0.01, 0, 0]) for z in (-0.09, 0.05)
    ]
    return [tube(BLACK, line, 0.022, 10), grip, loft(CHROME, rings)]


FAMILY = Family("gas pump", 571, "n03425413", None, build)
