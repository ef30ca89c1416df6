"""Dining table: a top, long side towards the front, on legs, a pedestal or trestles."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material
from synthetic.shapes.palettes import PAINTS, WOODS
from synthetic.shapes.parts import Part, box, lathe, prism, sweep


def build(draw: Draw) -> list[Part]:
    """Parts of one table, 0.75 units high."""
    long, short = draw.uniform("length", 1.1, 1.8), draw.uniform("depth", 0.75, 0.95)
    shape = draw.choice("top", ["board", "board", "oval", "round"])
    if shape == "round":
        long = short = draw.uniform("diameter", 0.95, 1.25)
    thick = draw.uniform("thickness", 0.03, 0.06)
    tone = draw.colour("wood", WOODS)
    wood = Material("wood", tone, textures.wood(draw.rng, tone), gloss=0.35)
    legs = wood
    if draw.chance("painted_legs", 0.4):
        legs = Material("paint", draw.colour("paint", (*PAINTS, "#f1efe9", "#24262a")), gloss=0.3)
    under = 0.75 - thick
    if shape == "board":
        top = [box(wood, (long, thick, short), (0, 0.75 - thick / 2, 0), 0.012)]
    else:
        outline = superellipse(long, short, 2.0 if shape == "round" else 2.6, 56)
        top = [prism(wood, outline, thick, 0.01).turned("x", -np.pi / 2).moved(y=0.75 - thick / 2)]
    kind = draw.choice(
        "support", ["square", "tapered", "turned", "trestle" if shape != "round" else "pedestal", "pedestal"]
    )
    if kind == "pedestal":
        return top + _pedestal(draw, legs, under, long, short)
    if kind == "trestle":
        return top + _trestles(draw, legs, under, long, short)
    return top + _legs(draw, kind, legs, under, long, short, shape)


def _legs(
    draw: Draw, kind: str, legs: Material, under: float, long: float, short: float, shape: str
) -> list[Part]:
    """Four legs at the corners with an apron between them."""
    size = draw.uniform("leg_size", 0.06, 0.1)
    inset = 0.05 + size / 2 if shape == "board" else 0.16 * (long + short) / 2
    x, z = long / 2 - inset, short / 2 - inset
    parts = []
    for px in (-x, x):
        for pz in (-z, z):
            if kind == "turned":
                knots = [
                    (0.3, 0),
                    (0.42, 0.06),
                    (0.3, 0.14),
                    (0.5, 0.45),
                    (0.42, 0.62),
                    (0.6, 0.7),
                    (0.4, 0.75),
                    (0.55, 0.8),
                    (0.55, 1),
                ]
                parts.append(lathe(legs, spline(np.array(knots) * [size, under], 26), 16).moved(px, 0, pz))
            else:
                thin = 0.55 if kind == "tapered" else 1.0
                corners = size / 2 * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
                parts.append(sweep(legs, [(px, 0, pz), (px, under, pz)], corners, [thin, 1.0], up=(0, 0, 1)))
    apron = draw.uniform("apron", 0.06, 0.11)
    y = under - apron / 2
    parts += [box(legs, (2 * x, apron, 0.025), (0, y, pz)) for pz in (-z, z)]
    return parts + [box(legs, (0.025, apron, 2 * z), (px, y, 0)) for px in (-x, x)]


def _pedestal(draw: Draw, legs: Material, under: float, long: float, short: float) -> list[Part]:
    """One or two turned columns on spreading feet."""
    radius = draw.uniform("column", 0.06, 0.1)
    spread = 0.33 * short
    columns = (0.0,) if long < 1.35 else (-0.27 * long, 0.27 * long)
    knots = np.array(
        [(1.5, 0.08), (1.0, 0.2), (0.8, 0.35), (1.25, 0.55), (0.8, 0.75), (1.4, 0.95), (2.2, 1.0)]
    ) * [radius, under]
    parts = []
    for x in columns:
        parts.append(lathe(legs, spline(knots, 24), 24).moved(x=x))
        for angle in np.pi / 4 + np.pi / 2 * np.arange(4):
            direction = np.array([np.cos(angle), 0, np.sin(angle)])
            foot = spline([(0, 0.2), (0.5 * spread, 0.12), (spread, 0.03)], 8)
            path = foot[:, :1] * direction + foot[:, 1:] * np.array([0, 1, 0]) + np.array([x, 0, 0])
            section = [(0.03, 0.03), (-0.03, 0.03), (-0.03, -0.03), (0.03, -0.03)]
            parts.append(sweep(legs, path, section, np.linspace(1.2, 0.9, 8), up=(0, 1, 0)))
    return parts


def _trestles(draw: Draw, legs: Material, under: float, long: float, short: float) -> list[Part]:
    """An A- or X-shaped frame near each end and a beam between them."""
    thick = draw.uniform("beam", 0.05, 0.08)
    x, foot = 0.32 * long, 0.38 * short
    crossed = draw.chance("crossed", 0.5)
    section = thick / 2 * np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    parts = [box(legs, (2 * x, 0.8 * thick, 0.6 * thick), (0, under * (0.5 if crossed else 0.3), 0))]
    for px in (-x, x):
        for side in (-1, 1):
            head = -side * 0.8 * foot if crossed else side * 0.15 * foot
            path = [(px, 0.0, side * foot), (px, under, head)]
            parts.append(sweep(legs, path, section, up=(1, 0, 0)))
        parts.append(box(legs, (thick, thick, 2 * foot), (px, under - thick / 2, 0)))
    return parts


FAMILY = Family("dining table", 532, "n03201208", "04379243", build)
