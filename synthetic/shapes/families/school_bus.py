"""School bus: yellow with black rub rails, a bonnet in front and warning lamps above the windscreen."""

import numpy as np

from synthetic.shapes.components.vehicles import GLASS, board, lamp, section, wheel, writing
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex, lighter
from synthetic.shapes.parts import Part, bar, box, cylinder, loft

BLACK = Material("black", from_hex("#1f1f21"), gloss=0.3)


def build(draw: Draw) -> list[Part]:
    """Parts of one bus, about 0.5 units wide, its front at z = 0."""
    yellow = draw.colour("paint", ("#f2b01e", "#f5b92a", "#eea316", "#f0a81a"))
    paint = Material("paint", yellow, gloss=0.4)
    wide, tall = draw.uniform("width", 0.46, 0.52), draw.uniform("height", 0.5, 0.56)
    long, nose = draw.uniform("length", 0.85, 1.2), draw.uniform("bonnet", 0.16, 0.24)
    floor, rear = 0.12, nose + long
    sizes = [(0.94, 0.985, 0.0), (1.0, 1.0, 0.03), (1.0, 1.0, long - 0.03), (0.96, 0.985, long)]
    body = loft(paint, [section(s * wide, floor, h * (floor + tall), nose + z, 9) for s, h, z in sizes])
    roof = Material("roof", lighter(yellow, 0.85) if draw.chance("white_roof", 0.35) else yellow, gloss=0.4)
    cap = loft(
        roof,
        [
            section(s * wide, floor + 0.88 * tall, floor + 1.03 * tall, nose + z, 3.5)
            for s, z in ((0.7, 0.02), (0.92, 0.06), (0.92, long - 0.06), (0.7, long - 0.02))
        ],
    )
    parts = [
        body,
        cap,
        *_bonnet(draw, paint, wide, tall, nose, floor),
        *_face(draw, yellow, wide, tall, nose, floor),
    ]
    parts += _sides(draw, wide, tall, nose, long, floor)
    rim = Material("rim", draw.colour("rim", ("#d8d8d4", "#2a2c30", "#e9e4d6")), gloss=0.4)
    for x in (-0.43 * wide, 0.43 * wide):
        for z in (0.1, rear - 0.22):
            parts += [part.moved(x, 0.1, z) for part in wheel(rim, 0.1, 0.08)]
    parts.append(box(BLACK, (0.96 * wide, 0.05, 0.03), (0, 0.12, rear + 0.01)))
    return parts


def _bonnet(draw: Draw, paint: Material, wide: float, tall: float, nose: float, floor: float) -> list[Part]:
    """Engine bonnet with grille, lamps, mudguards and bumper."""
    high = floor + draw.uniform("bonnet_height", 0.4, 0.48) * tall
    hood = loft(
        paint,
        [
            section(w * wide, floor - 0.02, h * high, z, 5)
            for w, h, z in ((0.72, 0.88, 0.0), (0.78, 0.95, 0.03), (0.84, 1.0, nose + 0.03))
        ],
    )
    grille = Material("grille", draw.colour("grille", ("#1f1f21", "#8f959c", "#3a3d42")), gloss=0.5)
    parts = [
        hood,
        box(grille, (0.4 * wide, 0.5 * (high - floor), 0.02), (0, floor + 0.5 * (high - floor), -0.005)),
    ]
    parts += [
        box(BLACK, (0.4 * wide, 0.008, 0.03), (0, floor + s * (high - floor), -0.005))
        for s in (0.35, 0.5, 0.65)
    ]
    glow = Material("headlamp", from_hex("#fff6da"), gloss=0.9)
    amber = Material("indicator", from_hex("#f28a1c"), gloss=0.8)
    for side in (-1, 1):
        parts.append(lamp(glow, 0.03).moved(0.28 * side * wide, floor + 0.5 * (high - floor), -0.005))
        parts.append(lamp(amber, 0.014).moved(0.29 * side * wide, floor + 0.78 * (high - floor), -0.0))
        guard = cylinder(paint, 0.125, 0.2 * wide, 0.012, 24).turned("z", np.pi / 2)
        parts.append(guard.moved(0.4 * side * wide + 0.1 * wide, 0.115, 0.1))
    return [*parts, box(BLACK, (0.94 * wide, 0.055, 0.04), (0, floor - 0.03, -0.02), 0.01)]


def _face(
    draw: Draw, yellow: tuple[float, float, float], wide: float, tall: float, nose: float, floor: float
) -> list[Part]:
    """Windscreen in two panes, sign, warning lamps and mirrors."""
    y, z = floor + 0.66 * tall, nose - 0.006
    parts = [
        box(GLASS, (0.42 * wide, 0.26 * tall, 0.03), (0.22 * side * wide, y, z), 0.008) for side in (-1, 1)
    ]
    sign = Material("sign", yellow, writing("SCHOOL BUS", yellow, from_hex("#1f1f21")), gloss=0.3)
    parts.append(board(sign, 0.56 * wide, 0.11 * tall, 0.03).moved(0, floor + 0.885 * tall, z - 0.004))
    colours = ("#d8262e", "#f2a01f")
    for side in (-1, 1):
        for k, colour in enumerate(colours):
            glow = Material(f"warning{k}", from_hex(colour), gloss=0.8)
            parts.append(
                lamp(glow, 0.022, 0.04).moved(side * (0.43 - 0.1 * k) * wide, floor + 0.885 * tall, z)
            )
        if draw.chance(f"mirror{side}", 0.8):
            out = side * 0.62 * wide
            parts.append(box(BLACK, (0.035, 0.1, 0.02), (out, y + 0.02, z - 0.04)))
            parts.append(
                bar(BLACK, (side * 0.47 * wide, y + 0.1, z + 0.02), (out, y + 0.04, z - 0.035), 0.007, 6)
            )
    return parts


def _sides(draw: Draw, wide: float, tall: float, nose: float, long: float, floor: float) -> list[Part]:
    """Rows of windows and black rails."""
    count = draw.integer("windows", 5, 7)
    pitch = 0.9 * long / count
    parts = []
    for side in (-1, 1):
        x = side * 0.5 * wide
        for k in range(count):
            z = nose + 0.05 * long + pitch * (k + 0.5)
            parts.append(box(GLASS, (0.02, 0.22 * tall, 0.78 * pitch), (x, floor + 0.68 * tall, z), 0.006))
        for share in (0.5, 0.34, 0.2)[: draw.integer(f"rails{side}", 2, 3)]:
            parts.append(
                box(BLACK, (0.02, 0.022, 0.97 * long), (x, floor + share * tall, nose + long / 2), 0.004)
            )
    if draw.chance("stop_sign", 0.6):
        red = Material("stop", darker(from_hex("#d8262e"), 0.05), gloss=0.4)
        disc = cylinder(red, 0.05, 0.014, 0.003, 8).turned("x", -np.pi / 2)
        parts.append(disc.moved(-0.5 * wide - 0.06, floor + 0.45 * tall, nose + 0.14))
        parts.append(
            bar(
                BLACK,
                (-0.48 * wide, floor + 0.45 * tall, nose + 0.15),
                (-0.5 * wide - 0.04, floor + 0.45 * tall, nose + 0.145),
                0.008,
                6,
            )
        )
    return parts


FAMILY = Family("school bus", 779, "n04146614", "02924116", build)
