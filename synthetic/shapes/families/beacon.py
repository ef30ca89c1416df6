"""Beacon: a banded lighthouse with a gallery and a lantern under a dome, its door in front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc, circle
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.parts import Part, bar, box, cylinder, frustum, lathe, prism, sphere, torus


def build(draw: Draw) -> list[Part]:
    """Parts of one lighthouse, about 1.3 units high."""
    height = draw.uniform("height", 0.75, 1.05)
    bottom = draw.uniform("base_radius", 0.17, 0.24)
    top = bottom * draw.uniform("taper", 0.5, 0.72)
    paint = draw.colour("paint", ("#c8302b", "#1f3f73", "#24262a", "#c8302b", "#2f6b4f"))
    white = draw.colour("white", ("#f4f2ec", "#efe8d8", "#e4e6e6"))
    wall = Material("wall", white, _bands(draw, paint, white), gloss=0.2)
    parts = [frustum(wall, bottom, top, height, segments=draw.choice("sides", [8, 40, 40])).moved(y=0.05)]
    stone = Material("stone", draw.colour("stone", ("#8d8a83", "#6f6a62", "#a79f92")), gloss=0.05)
    parts.append(frustum(stone, bottom + 0.08, bottom + 0.03, 0.07, 0.012, 28))
    parts += _openings(draw, bottom, top, height)
    parts += [part.moved(y=height + 0.05) for part in _lantern(draw, top, paint)]
    if draw.chance("house", 0.35):
        parts += _house(draw, bottom, white)
    return parts


def _bands(draw: Draw, paint: Colour, white: Colour) -> Texture:
    """Horizontal bands, a spiral, a half-painted tower or plain white."""
    kind = draw.choice("pattern", ["bands", "bands", "spiral", "half", "plain"])
    if kind == "bands":
        count = draw.integer("bands", 3, 7)
        return textures.rows([((k + 1) / count, (paint, white)[k % 2]) for k in range(count)])
    if kind == "half":
        return textures.rows([(draw.uniform("half_at", 0.35, 0.6), white), (1, paint)])
    if kind == "plain":
        return textures.plain(white)
    v, u = np.mgrid[1:0:192j, 0:1:192j]
    return textures.ramp(
        ((u + draw.choice("spiral", [2.0, 3.0]) * v) % 1 < 0.5).astype(np.float64), white, paint
    )


def _openings(draw: Draw, bottom: float, top: float, height: float) -> list[Part]:
    """A door below and small windows above it."""
    dark = Material("window", from_hex("#2b333d"), gloss=0.7)
    leaf = Material("door", draw.colour("door", ("#6b4226", "#24402f", "#7a2f2a", "#21406b")), gloss=0.2)
    outline = np.concatenate([[(-0.045, 0), (0.045, 0)], arc(0.045, 0.045, 0, np.pi, 9) + np.array([0, 0.1])])
    lean = np.arctan2(bottom - top, height)
    parts = [prism(leaf, outline, 0.05).turned("x", lean).moved(y=0.07, z=-bottom + 0.012)]
    for share in (0.4, 0.62, 0.84)[: draw.integer("windows", 1, 3)]:
        z = -(bottom + (top - bottom) * share)
        parts.append(box(dark, (0.04, 0.065, 0.03)).turned("x", lean).moved(y=0.05 + share * height, z=z))
    return parts


def _lantern(draw: Draw, top: float, paint: Colour) -> list[Part]:
    """Gallery with railing, glazed room with mullions, roof and ball."""
    iron = Material("iron", paint if draw.chance("painted_iron", 0.6) else from_hex("#24262a"), gloss=0.4)
    pane = Material("lamp", draw.colour("lamp", ("#ffe9a0", "#fff3c8", "#ffd25e")), gloss=0.8)
    out, room = top + 0.055, 0.72 * top
    tall = draw.uniform("lantern", 0.12, 0.17)
    parts = [lathe(iron, [(top - 0.005, -0.05), (out, -0.005), (out, 0.02)], 36)]
    parts += [torus(iron, out - 0.012, 0.006, 32, 6).moved(y=y) for y in (0.05, 0.08)]
    parts += [bar(iron, (x, 0.01, z), (x, 0.08, z), 0.006, 6) for x, z in circle(out - 0.012, 12)]
    parts += [
        cylinder(pane, room, tall, segments=24).moved(y=0.015),
        cylinder(iron, room + 0.012, 0.035, 0.005, 24).moved(y=0.015),
    ]
    parts += [bar(iron, (x, 0.02, z), (x, 0.02 + tall, z), 0.008, 6) for x, z in circle(room, 8)]
    if draw.choice("roof_shape", ["dome", "cone"]) == "dome":
        cap = np.concatenate(
            [
                [(room + 0.03, 0), (room + 0.03, 0.015)],
                arc(room, 0.85 * room, 0, np.pi / 2, 9) + np.array([0, 0.015]),
            ]
        )
    else:
        cap = np.array([(room + 0.04, 0), (room + 0.04, 0.012), (0.02, 1.15 * room), (0, 1.15 * room)])
    roof = 0.015 + tall
    tip = roof + float(cap[-1, 1])
    return [
        *parts,
        lathe(iron, cap, 28).moved(y=roof),
        sphere(iron, 0.02, 12).moved(y=tip + 0.01),
        bar(iron, (0, tip, 0), (0, tip + 0.09, 0), 0.005, 6),
    ]


def _house(draw: Draw, bottom: float, white: Colour) -> list[Part]:
    """The keeper's house beside the tower."""
    wall = Material("house", white, gloss=0.1)
    roof = Material("roof", draw.colour("roof", ("#a83a2f", "#5a4a42", "#3f5f7a")), gloss=0.1)
    x = draw.choice("house_side", [-1, 1]) * (bottom + 0.17)
    gable = prism(roof, [(-0.19, 0), (0.19, 0), (0, 0.14)], 0.36).moved(x, 0.2, 0)
    window = Material("house_window", from_hex("#2b333d"), gloss=0.7)
    panes = [box(window, (0.05, 0.06, 0.02), (x + dx, 0.12, -0.16)) for dx in (-0.08, 0.08)]
    return [box(wall, (0.32, 0.22, 0.32), (x, 0.11, 0)), gable, *panes]


FAMILY = Family("beacon", 437, "n02814860", "04460130", build)
