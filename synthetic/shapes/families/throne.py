"""Throne: a royal chair with a tall crested back, cushions and arms on a step; the king looks towards -Z."""

import numpy as np

from synthetic.shapes.curves import Points, arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.parts import Part, box, lathe, prism, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one throne about 1.4 units high."""
    gold = draw.colour("frame", ("#d9a93a", "#c9942e", "#e0b84a", "#7a4a26", "#5a3520"))
    frame = Material("frame", gold, gloss=0.7)
    velvet = draw.colour("velvet", ("#a81f2e", "#8a1a3a", "#2a3f8a", "#4a2a6a", "#1f5a3f"))
    cloth = Material("velvet", velvet, gloss=0.1)
    wide, deep = draw.uniform("width", 0.6, 0.72), draw.uniform("depth", 0.52, 0.62)
    seat, tall = draw.uniform("seat", 0.4, 0.48), draw.uniform("back", 0.78, 0.98)
    parts = _seat(draw, frame, cloth, wide, deep, seat)
    parts += [part.moved(y=seat, z=deep / 2 - 0.04) for part in _back(draw, frame, cloth, velvet, wide, tall)]
    parts += _arms(draw, frame, cloth, wide, deep, seat)
    if draw.chance("step", 0.7):
        stone = Material(
            "step", draw.colour("step_colour", ("#a81f2e", "#8d8a83", "#d9d4c8", "#4a2a6a")), gloss=0.15
        )
        high = draw.uniform("step_height", 0.06, 0.1)
        parts.append(box(stone, (wide + 0.3, high, deep + 0.3), (0, -high / 2 + 0.002, -0.03), 0.012))
    return parts


def _leg(frame: Material, tall: float) -> Part:
    """A turned leg standing on y = 0."""
    shape = np.array(
        [
            (0.04, 0),
            (0.055, 0.08),
            (0.035, 0.18),
            (0.05, 0.4),
            (0.06, 0.55),
            (0.035, 0.7),
            (0.055, 0.82),
            (0.055, 1),
        ]
    )
    return lathe(frame, shape * [1, tall], 18)


def _seat(draw: Draw, frame: Material, cloth: Material, wide: float, deep: float, seat: float) -> list[Part]:
    """Legs, apron and a full cushion."""
    parts = [
        _leg(frame, seat - 0.05).moved(x, 0, z)
        for x in (-0.42 * wide, 0.42 * wide)
        for z in (-0.42 * deep, 0.42 * deep)
    ]
    parts.append(box(frame, (wide, 0.09, deep), (0, seat - 0.05, 0), 0.012))
    parts.append(
        sphere(cloth, 1, 26)
        .warped(_square)
        .scaled(0.44 * wide, 0.075, 0.44 * deep)
        .moved(0, seat + 0.02, -0.01)
    )
    if draw.chance("apron", 0.6):
        parts.append(
            prism(
                frame,
                [(-0.3 * wide, 0), (0, -0.09), (0.3 * wide, 0), (0.3 * wide, 0.02), (-0.3 * wide, 0.02)],
                0.03,
            ).moved(0, seat - 0.09, -deep / 2 + 0.015)
        )
    return parts


def _square(v: Points) -> Points:
    """Turns a ball into a cushion, square seen from above."""
    big = np.maximum(np.abs(v[:, 0]), np.abs(v[:, 2]))
    grow = np.hypot(v[:, 0], v[:, 2]) / np.maximum(big, 1e-9)
    return np.column_stack([v[:, 0] * grow**0.8, v[:, 1], v[:, 2] * grow**0.8])


def _back(
    draw: Draw, frame: Material, cloth: Material, velvet: tuple[float, float, float], wide: float, tall: float
) -> list[Part]:
    """A panel with a velvet field, posts with knobs, a crest on top."""
    kind = draw.choice("crest", ["arch", "point", "crown"])
    rise = draw.uniform("crest_rise", 0.14, 0.24)
    half = 0.42 * wide
    if kind == "point":
        top = np.array([(half, tall - rise), (0.0, tall), (-half, tall - rise)])
    else:
        top = arc(half, rise, 0, np.pi, 15) + np.array([0, tall - rise])
    outline = np.concatenate([[(-half, -0.1), (half, -0.1)], top])
    middle = np.array([0, 0.5 * tall])
    parts = [
        prism(frame, outline, 0.07, 0.012),
        prism(cloth, (outline - middle) * [0.8, 0.84] + middle, 0.05, 0.01).moved(z=-0.03),
    ]
    button = Material(
        "button", darker(velvet, 0.35) if draw.chance("dark_buttons", 0.4) else frame.colour, gloss=0.6
    )
    for row in range(draw.integer("button_rows", 0, 4)):
        for x in (-0.5, 0, 0.5) if row % 2 else (-0.25, 0.25):
            parts.append(sphere(button, 0.016, 8).moved(x * half, 0.22 * tall + 0.13 * row * tall, -0.056))
    for side in (-1, 1):
        post = lathe(
            frame,
            np.array(
                [
                    (0.04, -0.1),
                    (0.04, 0.05),
                    (0.028, 0.1),
                    (0.04, 0.5 * tall),
                    (0.028, tall - rise - 0.02),
                    (0.045, tall - rise),
                    (0.045, tall - rise + 0.02),
                ]
            ),
            16,
        )
        parts += [
            post.moved(side * 0.46 * wide),
            sphere(frame, 0.055, 14).moved(side * 0.46 * wide, tall - rise + 0.06),
        ]
    gem = Material("gem", draw.colour("gem", ("#d8262e", "#2f7fd8", "#2fa85a")), gloss=0.9)
    parts.append(sphere(gem, 0.045, 14).scaled(1, 1.2, 0.6).moved(0, tall - 0.055, -0.04))
    if kind == "crown":
        for k in range(5):
            x, lift = 0.075 * (k - 2), 0.03 * (2 - abs(k - 2))
            parts += [
                box(frame, (0.03, 0.13, 0.05), (x, tall + 0.03 + 0.5 * lift - 0.02 * abs(k - 2), 0)),
                sphere(frame, 0.03, 10).moved(x, tall + 0.1 + 0.5 * lift - 0.02 * abs(k - 2), 0),
            ]
    lean = draw.uniform("lean", 0.02, 0.1)
    return [part.turned("x", lean) for part in parts]


def _arms(draw: Draw, frame: Material, cloth: Material, wide: float, deep: float, seat: float) -> list[Part]:
    """Arms on posts that end in knobs."""
    high = draw.uniform("arm", 0.22, 0.28)
    parts = []
    for side in (-1, 1):
        x = side * 0.46 * wide
        parts += [
            _leg(frame, high).moved(x, seat - 0.02, -0.38 * deep),
            box(frame, (0.085, 0.05, 0.95 * deep), (x, seat + high, 0), 0.014),
        ]
        parts += [
            box(cloth, (0.07, 0.03, 0.6 * deep), (x, seat + high + 0.03, 0), 0.012),
            sphere(frame, 0.058, 14).moved(x, seat + high, -0.48 * deep),
        ]
    return parts


FAMILY = Family("throne", 857, "n04429376", "03001627", build)
