"""Castle: walls with battlements between round towers, a gate to the front and a keep behind it."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex
from synthetic.shapes.parts import Part, bar, box, lathe, prism


def build(draw: Draw) -> list[Part]:
    """Parts of one castle about 1 unit wide, its front wall at z = 0."""
    tone = draw.colour("stone", ("#a79f92", "#b8ab94", "#8d8a83", "#c9b8a0", "#9a8f88", "#b59a7a"))
    stone = Material("stone", tone, textures.speckle(draw.rng, tone, 0.16), gloss=0.03)
    roof = Material(
        "roof", draw.colour("roof", ("#3f5f8a", "#8a3a2f", "#4a4d5a", "#2f6b5a", "#6a4a7a")), gloss=0.15
    )
    dark = Material("opening", from_hex("#23211f"), gloss=0.1)
    wide, deep = draw.uniform("width", 0.72, 0.9), draw.uniform("depth", 0.5, 0.7)
    wall, high = draw.uniform("wall", 0.3, 0.4), draw.uniform("tower", 0.5, 0.66)
    radius = draw.uniform("tower_radius", 0.1, 0.125)
    cone = draw.uniform("cone", 0.2, 0.3) if draw.chance("pointed", 0.6) else 0.0
    parts = []
    for z in (0.0, deep):
        parts += [part.moved(z=z) for part in _wall(stone, wide, wall)]
        for side in (-1, 1):
            tower = _tower(stone, roof, dark, radius, high * (1.0 if z == 0 else 1.08), cone)
            parts += [part.moved(side * wide / 2, 0, z) for part in tower]
    for side in (-1, 1):
        parts += [
            part.turned("y", np.pi / 2).moved(side * wide / 2, 0, deep / 2)
            for part in _wall(stone, deep, wall)
        ]
    parts += _gate(draw, stone, roof, dark, wall)
    keep = draw.uniform("keep", 1.15, 1.5) * high
    size = draw.uniform("keep_width", 0.24, 0.3)
    keep_parts = [
        box(stone, (size, keep, size), (0, keep / 2, 0), 0.004),
        *_battlements(stone, size, size, keep),
    ]
    keep_parts += [
        box(dark, (0.035, 0.09, 0.02), (x, 0.82 * keep, -size / 2)) for x in (-0.2 * size, 0.2 * size)
    ]
    return parts + [part.moved(z=0.6 * deep) for part in keep_parts + _flag(draw, keep)]


def _battlements(stone: Material, wide: float, deep: float, y: float) -> list[Part]:
    """Teeth around the rim of a rectangular roof."""
    parts = [box(stone, (wide + 0.03, 0.04, deep + 0.03), (0, y, 0), 0.004)]
    for k in range(4):
        share = (k + 0.5) / 4 - 0.5
        for side in (-1, 1):
            parts.append(box(stone, (0.14 * wide, 0.06, 0.03), (share * wide, y + 0.045, side * deep / 2)))
            parts.append(box(stone, (0.03, 0.06, 0.14 * deep), (side * wide / 2, y + 0.045, share * deep)))
    return parts


def _wall(stone: Material, long: float, tall: float) -> list[Part]:
    """A wall along x with teeth on top."""
    count = int(long / 0.1)
    teeth = [
        box(stone, (0.055, 0.06, 0.06), ((k + 0.5) * long / count - long / 2, tall + 0.03, 0))
        for k in range(count)
    ]
    return [box(stone, (long, tall, 0.06), (0, tall / 2, 0), 0.004), *teeth]


def _tower(
    stone: Material, roof: Material, dark: Material, radius: float, tall: float, cone: float
) -> list[Part]:
    """A round tower with a wider head and slits to the front, under a cone of that height or toothed."""
    head = 1.18 * radius
    shaft = lathe(
        stone,
        [(1.08 * radius, 0), (radius, 0.06), (radius, 0.78 * tall), (head, 0.84 * tall), (head, tall)],
        28,
    )
    parts = [shaft, *(box(dark, (0.024, 0.08, 0.02), (0, s * tall, -radius)) for s in (0.4, 0.64))]
    if cone > 0:
        return [
            *parts,
            lathe(
                roof,
                [(1.12 * head, 0), (1.12 * head, 0.012), (0.5 * head, 0.52 * cone), (0, cone + 0.04)],
                28,
            ).moved(y=tall),
        ]
    for k in range(8):
        tooth = box(stone, (0.05, 0.06, 0.03), (0, tall + 0.03, -head + 0.018))
        parts.append(tooth.turned("y", 2 * np.pi * (k + 0.5) / 8))
    return parts


def _gate(draw: Draw, stone: Material, roof: Material, dark: Material, wall: float) -> list[Part]:
    """Gatehouse with an arch, a portcullis and two turrets."""
    wide, high = draw.uniform("gate_width", 0.24, 0.3), wall + draw.uniform("gate_rise", 0.08, 0.16)
    arch = np.concatenate([[(-0.075, 0), (0.075, 0)], arc(0.075, 0.08, 0, np.pi, 13) + np.array([0, 0.13])])
    parts = [
        box(stone, (wide, high, 0.14), (0, high / 2, -0.02), 0.004),
        prism(Material("arch", darker(stone.colour, 0.3)), arch * [1.25, 1.1], 0.02).moved(z=-0.092),
        prism(dark, arch, 0.03).moved(z=-0.095),
    ]
    wood = Material("portcullis", draw.colour("portcullis", ("#6b4a2e", "#4a4d52")), gloss=0.1)
    parts += [
        bar(wood, (x, 0.0, -0.112), (x, 0.19, -0.112), 0.007, 6) for x in (-0.045, -0.015, 0.015, 0.045)
    ]
    parts += [bar(wood, (-0.07, y, -0.112), (0.07, y, -0.112), 0.007, 6) for y in (0.06, 0.12)]
    parts += [
        box(stone, (0.05, 0.06, 0.03), (x, high + 0.03, -0.075)) for x in np.linspace(-0.4, 0.4, 4) * wide
    ]
    banner = Material("banner", roof.colour, gloss=0.1)
    return (
        [*parts, box(banner, (0.07, 0.1, 0.012), (0, high - 0.08, -0.096))]
        if draw.chance("banner", 0.5)
        else parts
    )


def _flag(draw: Draw, y: float) -> list[Part]:
    """A pennant on the keep."""
    pole = Material("pole", from_hex("#4a3a2a"), gloss=0.2)
    cloth = Material("flag", draw.colour("flag", ("#c8262e", "#2f62a3", "#f0b429", "#2f7d4f")), gloss=0.1)
    pennant = prism(cloth, [(-0.18, 0.045), (0, 0), (0, 0.09)], 0.014)
    return [bar(pole, (0, y, 0), (0, y + 0.24, 0), 0.009, 6), pennant.moved(y=y + 0.14)]


FAMILY = Family("castle", 483, "n02980441", None, build)
