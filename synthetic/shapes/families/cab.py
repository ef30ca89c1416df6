"""Cab: a saloon in a taxi's paint with a sign on its roof and perhaps a band of checks."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vehicles import GLASS, board, lamp, section, wheel, writing
from synthetic.shapes.curves import Points, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, from_hex, mix
from synthetic.shapes.parts import Part, bar, box, cylinder, loft

CHROME = Material("chrome", from_hex("#c9ced4"), gloss=0.9)
BLACK = Material("black", from_hex("#1c1d20"), gloss=0.4)


def build(draw: Draw) -> list[Part]:
    """Parts of one car about 1.2 units long, its front at z = 0."""
    tint = draw.colour("paint", ("#f5c21c", "#f2b81a", "#f7cc2e", "#f5c21c", "#f0b414", "#f0ece0"))
    paint = Material("paint", tint, gloss=0.7)
    wide, long = draw.uniform("width", 0.5, 0.56), draw.uniform("length", 1.1, 1.3)
    belt, roof = draw.uniform("belt", 0.27, 0.31), draw.uniform("roof", 0.47, 0.54)
    parts = [_body(draw, paint, wide, long, belt), *_cabin(draw, paint, wide, long, belt, roof)]
    parts += _front(draw, wide, belt)
    parts += _back(wide, long, belt)
    rim = Material("rim", draw.colour("rim", ("#b7bcc2", "#8f959c", "#d8d8d4")), gloss=0.7)
    arch = Material("arch", from_hex("#151517"), gloss=0.05)
    for side in (-1, 1):
        for z in (0.2 * long, 0.8 * long):
            well = cylinder(arch, 0.112, 0.1, segments=26).turned("z", np.pi / 2)
            parts.append(well.moved(side * 0.447 * wide + 0.05, 0.105, z))
            parts += [part.moved(side * 0.465 * wide, 0.095, z) for part in wheel(rim, 0.095, 0.075)]
    if draw.chance("checks", 0.6):
        parts += _checks(wide, long, 0.72 * belt)
    return parts + _sign(draw, tint, roof, 0.5 * long)


def _body(draw: Draw, paint: Material, wide: float, long: float, belt: float) -> Part:
    """Bonnet, doors and boot as one skin from front to back."""
    hood, boot = draw.uniform("hood", 0.84, 0.92), draw.uniform("boot", 0.9, 0.97)
    stations = [
        (0.86, 0.09, 0.6, 0.0),
        (0.94, 0.07, 0.72, 0.025),
        (0.99, 0.06, 0.8, 0.08),
        (1.0, 0.05, hood, 0.2),
        (1.0, 0.05, 1.0, 0.33),
    ]
    stations += [
        (1.0, 0.05, 1.0, 0.75),
        (1.0, 0.05, boot, 0.86),
        (0.97, 0.07, boot - 0.04, 0.97),
        (0.9, 0.1, boot - 0.12, 1.0),
    ]
    return loft(paint, [section(w * wide, low, high * belt, z * long, 5) for w, low, high, z in stations])


def _ring(width: float, front: float, back: float, y: float) -> Points:
    """Rounded rectangle [40, 3] lying at height y."""
    loop = superellipse(width, back - front, 7, 40)
    return np.column_stack([loop[:, 0], np.full(40, y), loop[:, 1] + (front + back) / 2])


def _cabin(draw: Draw, paint: Material, wide: float, long: float, belt: float, roof: float) -> list[Part]:
    """Glass all round under a painted roof, with pillars."""
    front, back = 0.3 * long, draw.uniform("cabin_back", 0.8, 0.86) * long
    rake, lean = draw.uniform("rake", 0.13, 0.2), draw.uniform("rear_rake", 0.09, 0.16)
    low, high = (
        (0.93 * wide, front, back, belt - 0.03),
        (0.78 * wide, front + rake, back - lean, roof - 0.015),
    )
    glass = loft(GLASS, [_ring(*low), _ring(*high)])
    slab = [
        _ring(0.8 * wide, front + rake - 0.01, back - lean + 0.01, roof - 0.03),
        _ring(0.79 * wide, front + rake - 0.01, back - lean + 0.01, roof - 0.01),
        _ring(0.66 * wide, front + rake + 0.03, back - lean - 0.03, roof + 0.005),
    ]
    parts = [glass, loft(paint, slab)]
    for side in (-1, 1):
        for a, b in (
            (front, front + rake),
            (back, back - lean),
            (0.52 * (front + back), 0.52 * (front + back)),
        ):
            inset = 0.02 if a != b else 0.0
            foot = (
                side * (0.465 * wide - inset),
                belt - 0.02,
                a + (0.02 if a == front else -0.02 if a == back else 0),
            )
            head = (
                side * (0.39 * wide - 0.7 * inset),
                roof - 0.02,
                b + (0.012 if a == front else -0.012 if a == back else 0),
            )
            parts.append(bar(paint, foot, head, 0.016, 8))
        parts.append(box(BLACK, (0.05, 0.045, 0.03), (side * 0.52 * wide, belt + 0.03, front + 0.06), 0.01))
    return parts


def _front(draw: Draw, wide: float, belt: float) -> list[Part]:
    """Grille, lamps, bumper and number plate."""
    y = 0.52 * belt + 0.02
    parts = [
        box(CHROME, (0.44 * wide, 0.075, 0.03), (0, y, 0.0), 0.008),
        box(BLACK, (0.41 * wide, 0.055, 0.03), (0, y, -0.005), 0.004),
    ]
    parts += [box(CHROME, (0.41 * wide, 0.006, 0.03), (0, y + dy, -0.008)) for dy in (-0.012, 0.012)]
    glow, amber = (
        Material("headlamp", from_hex("#fdf6dd"), gloss=0.9),
        Material("indicator", from_hex("#f28a1c"), gloss=0.8),
    )
    round_lamps = draw.chance("round_lamps", 0.5)
    for side in (-1, 1):
        if round_lamps:
            parts.append(lamp(glow, 0.042, 0.035).moved(side * 0.34 * wide, y, 0.008))
        else:
            parts.append(box(glow, (0.19 * wide, 0.06, 0.05), (side * 0.335 * wide, y + 0.005, 0.018), 0.012))
        parts.append(box(amber, (0.1 * wide, 0.02, 0.03), (side * 0.35 * wide, y - 0.065, -0.012)))
    bumper = CHROME if draw.chance("chrome_bumper", 0.4) else BLACK
    plate = Material("plate", from_hex("#f4f3ee"), gloss=0.3)
    return [
        *parts,
        box(bumper, (0.97 * wide, 0.06, 0.06), (0, y - 0.075, 0.0), 0.02),
        box(plate, (0.2 * wide, 0.04, 0.02), (0, y - 0.075, -0.025), 0.003),
    ]


def _back(wide: float, long: float, belt: float) -> list[Part]:
    """Tail lamps and bumper."""
    red = Material("tail", from_hex("#b3202a"), gloss=0.8)
    lamps = [
        box(red, (0.18 * wide, 0.05, 0.03), (side * 0.33 * wide, 0.62 * belt, long), 0.008)
        for side in (-1, 1)
    ]
    return [*lamps, box(BLACK, (0.96 * wide, 0.06, 0.05), (0, 0.36 * belt, long - 0.01), 0.02)]


def _checks(wide: float, long: float, y: float) -> list[Part]:
    """A chequered strip along both sides."""
    image = textures.checks(from_hex("#1c1d20"), from_hex("#f4f3ee"), 2, 2)
    strip = Material("checks", from_hex("#1c1d20"), image, gloss=0.4)
    parts = []
    for side in (-1, 1):
        band = box(strip, (0.012, 0.045, 0.62 * long), (side * 0.501 * wide, y, 0.5 * long), 0.002)
        parts.append(Part(strip, band.vertices, band.faces, band.uv / 0.045))
    return parts


def _sign(draw: Draw, tint: Colour, roof: float, z: float) -> list[Part]:
    """The lit sign across the roof."""
    shade = draw.colour("sign", ("#fdf3c8", "#f7f4ec", "#f5c21c"))
    ink = mix(tint, from_hex("#16171a"), 0.95)
    face = Material("sign", shade, writing("TAXI", shade, ink), gloss=0.5)
    wide, tall = draw.uniform("sign_width", 0.22, 0.3), draw.uniform("sign_height", 0.085, 0.11)
    return [
        board(face, wide, tall, 0.07).moved(0, roof + 0.5 * tall, z),
        box(BLACK, (1.08 * wide, 0.02, 0.1), (0, roof + 0.004, z)),
    ]


FAMILY = Family("cab", 468, "n02930766", "02958343", build)
