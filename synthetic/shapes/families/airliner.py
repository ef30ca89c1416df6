"""Airliner: a jet with swept wings and two or four engines, flying towards -Z."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, circle
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.parts import Part, lathe, loft


def build(draw: Draw) -> list[Part]:
    """Parts of one aircraft about 1 unit long."""
    livery = draw.colour(
        "livery", ("#1f4f9c", "#c8262e", "#17703f", "#f0a01f", "#5a2f86", "#1f2a44", "#e2733b")
    )
    white = draw.colour("white", ("#f7f7f5", "#eef0f2", "#dfe3e8", "#f7f7f5"))
    radius, long = draw.uniform("radius", 0.088, 0.108), draw.uniform("length", 0.86, 1.0)
    parts = [_fuselage(draw, white, livery, radius, long), *_cockpit(radius, long)]
    metal = Material("wing", draw.colour("wing", ("#c9ced4", "#dfe3e8", "#b7bcc2")), gloss=0.5)
    span, sweep = draw.uniform("span", 0.4, 0.47), draw.uniform("sweep", 0.2, 0.32)
    rise = draw.uniform("dihedral", 0.04, 0.1)
    tail, winglets = Material("tail", livery, gloss=0.5), draw.chance("winglets", 0.5)
    for side in (-1, 1):
        parts.append(_wing(metal, side, span, sweep, rise, 0.37, 0.11).moved(y=-0.4 * radius, z=-0.1))
        parts.append(
            _wing(metal, side, 0.42 * span, 0.13, 0.02, 0.15, 0.065).moved(y=0.25 * radius, z=0.34 * long)
        )
        if winglets:
            tip = _fin(tail, 0.09, 0.05, 0.055, 0.03).turned("z", -0.2 * side)
            parts.append(tip.moved(side * span, rise - 0.4 * radius, sweep - 0.1))
    parts.append(
        _fin(tail, draw.uniform("fin", 0.25, 0.32), 0.13, 0.19, 0.075).moved(y=0.6 * radius, z=0.28 * long)
    )
    return parts + _engines(draw, livery, white, span, sweep, rise, radius)


def _fuselage(draw: Draw, white: Colour, livery: Colour, radius: float, long: float) -> Part:
    """A tube with a rounded nose and a tail that rises."""
    z = np.array([0, 0.004, 0.02, 0.05, 0.1, 0.16, 0.62, 0.76, 0.88, 0.96, 1.0])
    size = np.array([0.06, 0.2, 0.45, 0.7, 0.92, 1.0, 1.0, 0.86, 0.56, 0.32, 0.14])
    rise = np.array([-0.2, -0.2, -0.16, -0.1, -0.03, 0, 0, 0.1, 0.34, 0.55, 0.68])
    loop = circle(radius, 36)
    rings = [
        np.column_stack([s * loop[:, 0], s * loop[:, 1] + r * radius, np.full(36, (at - 0.5) * long)])
        for at, s, r in zip(z, size, rise, strict=True)
    ]
    return loft(Material("fuselage", white, _paint(draw, white, livery), gloss=0.6), rings, v=z)


def _paint(draw: Draw, white: Colour, livery: Colour) -> Texture:
    """Windows in a row, a belly or cheat line in the livery; u begins on the side of +x and runs over the top."""
    u, v = textures.places(256, 192)
    height = np.sin(2 * np.pi * (u + 0.5 / 36))
    image = np.broadcast_to(white, (256, 192, 3)).copy()
    kind = draw.choice("scheme", ["belly", "line", "tail", "bare"])
    if kind == "belly":
        image[height < -0.35] = livery
    if kind == "line":
        image[np.abs(height + 0.12) < 0.1] = livery
    if kind == "tail":
        image[v + 0.1 * height > 0.74] = livery
    windows = (np.abs(height - 0.2) < 0.075) & (v > 0.13) & (v < 0.8) & ((v * 52) % 1 < 0.5)
    image[windows] = from_hex("#2b3540")
    return textures.painted(image)


def _cockpit(radius: float, long: float) -> list[Part]:
    """Dark panes around the nose."""
    loop = circle(radius, 30)
    rings = [
        np.column_stack([wide * loop[:, 0], tall * loop[:, 1] + y * radius, np.full(30, (at - 0.5) * long)])
        for at, wide, tall, y in (
            (0.026, 0.38, 0.1, 0.3),
            (0.045, 0.62, 0.2, 0.37),
            (0.075, 0.7, 0.24, 0.47),
            (0.095, 0.6, 0.2, 0.5),
        )
    ]
    return [loft(Material("cockpit", from_hex("#232b35"), gloss=0.9), rings)]


def _wing(
    paint: Material, side: int, span: float, sweep: float, rise: float, root: float, tip: float
) -> Part:
    """A swept, tapering wing from the middle out to `side`; z = 0 is its leading edge at the root."""
    t = np.array([0.0, 0.35, 0.97, 1.0])
    chord = np.array([root, 0.5 * root + 0.3 * tip, tip, 0.6 * tip])
    rings = [_aerofoil(c, 0.11 * c) + np.array([0, 0, sweep * s]) for s, c in zip(t, chord, strict=True)]
    return loft(
        paint,
        [
            np.column_stack([np.full(len(r), side * span * s), r[:, 1] + rise * s, r[:, 2]])
            for s, r in zip(t, rings, strict=True)
        ],
    )


def _aerofoil(chord: float, thick: float) -> Points:
    """Section [20, 3] in the plane x = 0, round in front and sharp behind."""
    angle = 2 * np.pi * (np.arange(20) + 0.5) / 20
    share = 0.5 - 0.5 * np.cos(angle)
    return np.column_stack(
        [
            np.zeros(20),
            thick * np.sin(angle) * (1 - share) ** 0.5 * 0.9 + 0.04 * thick * np.sin(angle),
            chord * share,
        ]
    )


def _fin(paint: Material, tall: float, sweep: float, root: float, tip: float) -> Part:
    """An upright fin standing on y = 0."""
    rings = []
    for s in (-0.15, 0.0, 1.0):
        flat = _aerofoil(root + (tip - root) * max(s, 0), 0.022)
        rings.append(np.column_stack([flat[:, 1], np.full(20, s * tall), flat[:, 2] + sweep * max(s, 0)]))
    return loft(paint, rings)


def _engines(
    draw: Draw, livery: Colour, white: Colour, span: float, sweep: float, rise: float, radius: float
) -> list[Part]:
    """Pods under the wings with a dark mouth."""
    tone = livery if draw.chance("painted_engines", 0.5) else white
    pod, lip = Material("engine", tone, gloss=0.6), Material("lip", from_hex("#c9ced4"), gloss=0.8)
    dark = Material("fan", from_hex("#26282c"), gloss=0.4)
    size = draw.uniform("engine", 0.046, 0.06)
    shell = [(0.86 * size, 0.0), (size, 0.02), (1.02 * size, 0.06), (0.85 * size, 0.13), (0.5 * size, 0.17)]
    parts = []
    for share in (0.34, 0.62)[: draw.choice("engines_a_side", [1, 1, 2])]:
        for side in (-1, 1):
            pieces = [
                lathe(pod, shell, 22),
                lathe(lip, [(0.87 * size, -0.006), (0.92 * size, 0.012)], 22),
                lathe(dark, [(0.74 * size, -0.008), (0.74 * size, 0.02)], 20),
            ]
            spot = (side * span * share, rise * share - 0.4 * radius - 0.92 * size, sweep * share - 0.16)
            parts += [piece.turned("x", np.pi / 2).moved(*spot) for piece in pieces]
    return parts


FAMILY = Family("airliner", 404, "n02690373", "02691156", build)
