"""Church: a nave behind a steeple with a cross, its door to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, from_hex
from synthetic.shapes.parts import Part, box, cylinder, lathe, prism, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one church about 1.4 units high, the tower's front at z = 0."""
    tone = draw.colour("walls", ("#f4f1e8", "#efe8d8", "#d9c9a8", "#c9b8a0", "#a8553f", "#f4f1e8"))
    wall = Material("walls", tone, textures.speckle(draw.rng, tone, 0.05), gloss=0.05)
    roof = Material(
        "roof", draw.colour("roof", ("#5a4a42", "#3f5f7a", "#8a3a2f", "#3b4048", "#4f6b5a")), gloss=0.2
    )
    tower, high = draw.uniform("tower", 0.24, 0.3), draw.uniform("tower_height", 0.72, 0.92)
    wide, eaves = draw.uniform("nave", 0.5, 0.66), draw.uniform("eaves", 0.36, 0.46)
    rise, deep = draw.uniform("rise", 0.24, 0.34), draw.uniform("depth", 0.6, 0.9)
    parts = [box(wall, (tower, high, tower), (0, high / 2, tower / 2), 0.004)]
    z = 0.5 * tower
    gable = [(-wide / 2, 0), (wide / 2, 0), (wide / 2, eaves), (0, eaves + rise), (-wide / 2, eaves)]
    parts.append(prism(wall, gable, deep).moved(z=z + deep / 2))
    angle, slope = np.arctan2(rise, wide / 2), np.hypot(rise, wide / 2)
    for side in (-1, 1):
        slab = box(roof, (slope + 0.05, 0.03, deep + 0.06), bevel=0.004).turned("z", -side * angle)
        parts.append(slab.moved(side * 0.26 * wide, eaves + 0.49 * rise, z + deep / 2))
    parts += _openings(draw, tower, high, wide, eaves, z, deep)
    return parts + _steeple(draw, wall, roof, tower, high)


def _arch(width: float, straight: float) -> Points:
    """Outline of a round-headed opening standing on y = 0."""
    return np.concatenate(
        [
            [(-width / 2, 0), (width / 2, 0)],
            arc(width / 2, 0.65 * width, 0, np.pi, 11) + np.array([0, straight]),
        ]
    )


def _openings(
    draw: Draw, tower: float, high: float, wide: float, eaves: float, z: float, deep: float
) -> list[Part]:
    """Door, belfry windows, a rose or clock, windows beside the tower and along the nave."""
    leaf = Material("door", draw.colour("door", ("#6b4226", "#8a2f2a", "#24402f", "#4a3222")), gloss=0.2)
    glass = Material("window", draw.colour("window", ("#2b3d52", "#34506b", "#3a3040", "#2b333d")), gloss=0.8)
    stone = Material("frame", draw.colour("frame", ("#f7f5ef", "#cfc6b4", "#a79f92")), gloss=0.1)
    parts = [
        prism(stone, _arch(0.56 * tower, 0.19), 0.03).moved(z=-0.004),
        prism(leaf, _arch(0.44 * tower, 0.18), 0.04).moved(z=-0.006),
    ]
    parts += [
        prism(stone, _arch(0.42 * tower, 0.1), 0.02).moved(y=0.8 * high, z=-0.002),
        prism(glass, _arch(0.3 * tower, 0.1), 0.03).moved(y=0.805 * high, z=-0.004),
    ]
    if draw.chance("clock", 0.5):
        face = cylinder(
            Material("clock", from_hex("#f7f5ef"), gloss=0.3), 0.2 * tower, 0.03, 0.004, 24
        ).turned("x", -np.pi / 2)
        hand = Material("hand", from_hex("#1f2226"), gloss=0.2)
        parts += [
            face.moved(0, 0.66 * high, 0.01),
            box(hand, (0.01, 0.16 * tower, 0.01), (0, 0.66 * high + 0.06 * tower, -0.024)),
            box(hand, (0.12 * tower, 0.01, 0.01), (-0.05 * tower, 0.66 * high, -0.024)),
        ]
    else:
        parts += [
            cylinder(m, r * tower, d, segments=24).turned("x", -np.pi / 2).moved(0, 0.62 * high, 0.01)
            for m, r, d in ((stone, 0.2, 0.02), (glass, 0.15, 0.03))
        ]
    for side in (-1, 1):
        x = side * (0.25 * wide + 0.25 * tower)
        parts += [
            prism(stone, _arch(0.1, 0.15), 0.02).moved(x, 0.3 * eaves, z - 0.002),
            prism(glass, _arch(0.074, 0.145), 0.03).moved(x, 0.32 * eaves, z - 0.004),
        ]
        for k in range(3):
            pane = prism(glass, _arch(0.1, 0.15), 0.03).turned("y", np.pi / 2)
            parts.append(pane.moved(side * 0.5 * wide, 0.3 * eaves, z + deep * (k + 0.6) / 3.2))
    return parts


def _steeple(draw: Draw, wall: Material, roof: Material, tower: float, high: float) -> list[Part]:
    """Cornice, spire or onion, and the cross above."""
    middle, kind = tower / 2, draw.choice("steeple", ["spire", "spire", "pyramid", "onion"])
    parts = [box(wall, (1.1 * tower, 0.03, 1.1 * tower), (0, high, middle))]
    tall = draw.uniform("spire", 0.42, 0.6)
    if kind == "onion":
        shape = np.array(
            [
                (0.4, 0),
                (0.42, 0.06),
                (0.56, 0.16),
                (0.6, 0.26),
                (0.42, 0.42),
                (0.14, 0.6),
                (0.05, 0.75),
                (0, 0.8),
            ]
        )
        top = 0.8 * tall
        parts.append(lathe(roof, shape * [tower, tall], 24).moved(0, high, middle))
    else:
        top = tall if kind == "spire" else 0.6 * tall
        half = 0.76 * tower if kind == "pyramid" else 0.58 * tower
        parts.append(
            lathe(roof, [(half, 0), (half, 0.01), (0, top)], 4 if kind == "pyramid" else 8)
            .turned("y", np.pi / 4 if kind == "pyramid" else np.pi / 8)
            .moved(0, high + 0.01, middle)
        )
    gold = Material("cross", draw.colour("cross", ("#d9a93a", "#2a2c30", "#c9ced4")), gloss=0.7)
    y = high + top
    return [
        *parts,
        sphere(gold, 0.022, 12).moved(0, y, middle),
        box(gold, (0.022, 0.16, 0.022), (0, y + 0.08, middle)),
        box(gold, (0.1, 0.022, 0.022), (0, y + 0.11, middle)),
    ]


FAMILY = Family("church", 497, "n03028079", None, build)
