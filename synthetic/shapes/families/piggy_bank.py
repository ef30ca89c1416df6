"""Piggy bank: a round pig that looks to the front and a little aside (+X), a coin in the slot on its back."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter
from synthetic.shapes.parts import Part, box, cylinder, frustum, loft, sphere, tube

ASIDE = 0.75  # radians from the front to the pig's nose: a pig is known by its face and its side


def build(draw: Draw) -> list[Part]:
    """Parts of one bank about 1 unit long."""
    skin = draw.colour("skin", ("#f0a3b5", "#ee8fa8", "#f5bcc8", "#f0a3b5", "#e9a23a", "#9fc4dd", "#f4efe6"))
    china = Material("china", skin, _decor(draw, skin), gloss=0.65)
    plain = Material("plain", skin, gloss=0.65)
    wide, tall, long = (
        draw.uniform("width", 0.36, 0.42),
        draw.uniform("height", 0.34, 0.4),
        draw.uniform("length", 0.42, 0.5),
    )
    parts = [sphere(china, 1.0, 40).turned("x", -np.pi / 2).scaled(wide, tall, long)]
    parts += _face(draw, plain, skin, tall, long)
    legs = draw.uniform("legs", 0.1, 0.18)
    for x in (-0.5, 0.5):
        for z in (-0.5, 0.45):
            parts.append(
                frustum(plain, 0.085, 0.12, 0.3, 0.02, 18).moved(x * wide, -tall - legs + 0.05, z * long)
            )
    t = np.linspace(0, 1, 26)
    curl = np.stack([0.05 * np.sin(9 * t), 0.05 * np.cos(9 * t) - 0.05, long - 0.03 + 0.13 * t], axis=1)
    parts.append(tube(plain, curl, 0.022, 8, round_ends=True))
    slot = Material("slot", darker(skin, 0.75), gloss=0.1)
    parts.append(box(slot, (0.04, 0.03, 0.26), (0, tall - 0.006, 0.02), 0.005))
    if draw.chance("coin", 0.75):
        metal = Material("coin", draw.colour("coin_metal", ("#e8b93a", "#d9a42a", "#c9ced4")), gloss=0.8)
        coin = cylinder(metal, 0.13, 0.03, 0.006, 32).turned("z", np.pi / 2)
        parts.append(coin.moved(0.015, tall + draw.uniform("coin_up", 0.03, 0.1), 0.02))
    return [part.turned("y", -ASIDE) for part in parts]


def _decor(draw: Draw, skin: Colour) -> Texture:
    """Plain, spotted or flowered glaze."""
    second = draw.colour("second", ("#f7f4ec", "#f7f4ec", "#d8607a", "#f0c23a"))
    if draw.choice("decor", ["plain", "plain", "dots"]) == "dots":
        return textures.dots(
            skin,
            second,
            draw.integer("dots", 8, 12),
            draw.integer("dot_rows", 5, 7),
            draw.uniform("dot_size", 0.2, 0.3),
        )
    return textures.plain(skin)


def _face(draw: Draw, plain: Material, skin: Colour, tall: float, long: float) -> list[Part]:
    """Snout with nostrils, cheeks, eyes and ears."""
    size = draw.uniform("snout", 0.12, 0.15)
    pink, dark = (
        Material("snout", darker(skin, 0.12), gloss=0.6),
        Material("eye", from_hex("#1d1a1c"), gloss=0.9),
    )
    z = [-long + 0.09, -long - 0.05, -long - 0.075]
    loop = superellipse(2.2 * size, 1.8 * size, 2.2, 26)
    rings = [
        np.column_stack([s * loop[:, 0], s * loop[:, 1], np.full(26, at)])
        for s, at in zip((1.15, 1, 0.88), z, strict=True)
    ]
    parts = [loft(pink, rings)]
    ear = draw.uniform("ear", 0.17, 0.22)
    soft = Material("ear_inside", lighter(darker(skin, 0.18), 0.05), gloss=0.5)
    for side in (-1, 1):
        nostril = cylinder(Material("nostril", darker(skin, 0.6)), 0.028, 0.02, segments=12).turned(
            "x", -np.pi / 2
        )
        parts.append(nostril.scaled(0.8, 1.3, 1).moved(0.42 * side * size, 0, -long - 0.062))
        parts.append(sphere(dark, 0.035, 14).moved(0.15 * side, 0.36 * tall, -0.87 * long))
        flap = _ear(plain, ear, 0.0), _ear(soft, 0.75 * ear, -0.018)
        parts += [
            part.turned("x", -0.35).turned("z", -0.45 * side).moved(0.19 * side, 0.74 * tall, -0.55 * long)
            for part in flap
        ]
    return parts


def _ear(paint: Material, size: float, z: float) -> Part:
    """A pointed flap standing on the origin."""
    t = np.linspace(0, 1, 10)
    half = 0.48 * np.interp(t, [0, 0.25, 0.6, 1], [0.85, 1.0, 0.7, 0.12]) * size
    loop = superellipse(2, 2, 2, 18)
    rings = [
        np.column_stack([h * loop[:, 0], np.full(18, size * s - 0.03), 0.18 * h * loop[:, 1] + z])
        for h, s in zip(half, t, strict=True)
    ]
    return loft(paint, rings)


FAMILY = Family("piggy bank", 719, "n03935335", None, build)
