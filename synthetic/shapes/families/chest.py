"""Chest: a wooden coffer with iron bands and a lock in front, its round lid shut or open on gold."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GOLDEN_ANGLE
from synthetic.shapes.curves import Points, arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, box, cylinder, loft, prism, sphere, torus


def build(draw: Draw) -> list[Part]:
    """Parts of one chest about 1 unit wide."""
    wide, deep = draw.uniform("width", 0.9, 1.1), draw.uniform("depth", 0.52, 0.64)
    tall, rise = draw.uniform("height", 0.36, 0.44), draw.uniform("lid", 0.18, 0.27)
    tone = draw.colour("wood", (*WOODS, "#6b4226", "#7a3f24"))
    wood = Material("wood", tone, textures.wood(draw.rng, tone, 0.3), gloss=0.15)
    iron = Material(
        "iron", draw.colour("iron", ("#3a3d42", "#24262a", "#b98a46", "#c9a03a", "#5a4632")), gloss=0.6
    )
    opened = draw.chance("open", 0.35)
    parts = _coffer(wood, wide, deep, tall)
    straps = (
        np.array([-0.44, 0.0, 0.44] if draw.chance("middle_strap", 0.4) else [-0.44, -0.18, 0.18, 0.44])
        * wide
    )
    for x in straps:
        parts.append(box(iron, (0.075, tall + 0.012, deep + 0.03), (x, tall / 2, 0), 0.008))
    parts.append(box(iron, (wide + 0.02, 0.04, deep + 0.02), (0, 0.014, 0), 0.008))
    lid = [_vault(wood, wide, deep, rise)]
    lid += [_vault(iron, 0.075, deep + 0.03, rise + 0.015).moved(x=x, y=-0.003) for x in straps]
    lid.append(box(iron, (wide + 0.015, 0.04, deep + 0.022), (0, 0.026, 0), 0.008))
    lid.append(box(iron, (0.13, 0.1, 0.04), (0, -0.0, -deep / 2 - 0.01), 0.008))
    angle = draw.uniform("opening", 0.7, 1.15) if opened else 0.0
    parts += [part.moved(z=-deep / 2).turned("x", angle).moved(y=tall, z=deep / 2) for part in lid]
    parts += _fittings(draw, iron, wide, deep, tall)
    return parts + (_treasure(draw, wide, deep, tall) if opened else [])


def _coffer(wood: Material, wide: float, deep: float, tall: float) -> list[Part]:
    """The lower box: floor and four boards."""
    t = 0.045
    parts = [box(wood, (wide, t, deep), (0, t / 2, 0), 0.008)]
    parts += [box(wood, (wide, tall, t), (0, tall / 2, s * (deep - t) / 2), 0.008) for s in (-1, 1)]
    return parts + [box(wood, (t, tall, deep), (s * (wide - t) / 2, tall / 2, 0), 0.008) for s in (-1, 1)]


def _vault(material: Material, wide: float, deep: float, rise: float) -> Part:
    """A solid with a round back along x, standing on y = 0, centred on z = 0; its hinge edge is at z = deep / 2."""
    bow = arc(deep / 2, rise, 0, np.pi, 15) + np.array([0, 0.05])
    outline = np.concatenate([[(-deep / 2, 0), (deep / 2, 0)], bow])
    solid = prism(material, outline, wide).turned("y", np.pi / 2)
    corners = solid.vertices[solid.faces]
    grain = np.stack([corners[..., 0], corners[..., 1] + corners[..., 2]], axis=-1)
    return Part(material, solid.vertices, solid.faces, grain)


def _fittings(draw: Draw, iron: Material, wide: float, deep: float, tall: float) -> list[Part]:
    """Lock plate with its keyhole, rings at the sides, studs."""
    z = -deep / 2 - 0.015
    gold = Material("lock", draw.colour("lock", ("#d9a93a", "#c9a03a", "#b7bcc2")), gloss=0.8)
    plate: Points = np.array([(-0.09, -0.1), (0, -0.15), (0.09, -0.1), (0.09, 0.07), (-0.09, 0.07)])
    parts = [prism(gold, plate, 0.035).moved(0, tall - 0.06, z - 0.005)]
    hole = Material("keyhole", from_hex("#1d1a18"), gloss=0.1)
    parts += [
        cylinder(hole, 0.024, 0.02, segments=14).turned("x", -np.pi / 2).moved(0, tall - 0.06, z - 0.01),
        box(hole, (0.02, 0.055, 0.02), (0, tall - 0.095, z - 0.018)),
    ]
    for side in (-1, 1):
        parts.append(
            torus(iron, 0.08, 0.016, 22, 8)
            .turned("z", np.pi / 2)
            .scaled(1.6, 0.8, 1)
            .moved(side * (wide / 2 + 0.02), 0.55 * tall, 0)
        )
        for y in (0.2, 0.5, 0.8):
            parts.append(sphere(gold, 0.017, 8).moved(side * 0.44 * wide, y * tall, z + 0.002))
    return parts


def _treasure(draw: Draw, wide: float, deep: float, tall: float) -> list[Part]:
    """A heap of gold with coins and gems on it."""
    gold = draw.colour("gold", ("#f0c23a", "#e8b02a", "#f5cf5a"))
    heap = Material("gold", gold, textures.dots(darker(gold, 0.3), gold, 26, 14, 0.45), gloss=0.8)
    parts = [sphere(heap, 1.0, 30).scaled(0.45 * wide, 0.2, 0.44 * deep).moved(y=tall - 0.07)]
    for k in range(draw.integer("coins", 8, 16)):
        out, angle = 0.8 * np.sqrt((k + 0.5) / 16), GOLDEN_ANGLE * k
        x, z = 0.42 * wide * out * np.sin(angle), 0.4 * deep * out * np.cos(angle)
        y = tall - 0.07 + 0.2 * np.sqrt(max(1 - 0.8 * out**2, 0))
        coin = (
            cylinder(Material(f"coin{k}", gold, gloss=0.8), 0.05, 0.016, 0.004, 14)
            .turned("x", 0.8 * np.sin(3.0 * k))
            .turned("z", 0.9 * np.cos(2.0 * k))
        )
        parts.append(coin.moved(x, y, z))
    for k, tint in enumerate(("#d8262e", "#2f7fd8", "#2fa85a")):
        gem = loft(
            Material(f"gem{k}", from_hex(tint), gloss=0.9),
            [
                np.column_stack([r * np.cos(a := np.arange(6) * np.pi / 3), np.full(6, y), r * np.sin(a)])
                for r, y in ((0.012, -0.05), (0.05, 0.0), (0.032, 0.025))
            ],
        )
        parts.append(gem.moved(0.26 * (k - 1) * wide, tall + 0.09, -0.2 * deep))
    return parts


FAMILY = Family("chest", 492, "n03014705", None, build)
