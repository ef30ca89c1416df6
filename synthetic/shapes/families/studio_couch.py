"""Studio couch: an upholstered seat for two or three with arms, cushions on it; people sit looking towards -Z."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.curves import superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, lighter
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, bar, cylinder, loft, sphere

CLOTHS = (
    "#8f4a3a",
    "#3f5f7a",
    "#5a7a5a",
    "#c9b08a",
    "#7a7f86",
    "#b5532e",
    "#2f4a5a",
    "#d9a93a",
    "#7a4f6a",
    "#6b4a35",
)


def build(draw: Draw) -> list[Part]:
    """Parts of one couch about 1.5 units wide."""
    seats = draw.integer("seats", 2, 3)
    wide, deep = draw.uniform("seat_width", 0.5, 0.58) * seats, draw.uniform("depth", 0.6, 0.7)
    low, seat, back = draw.uniform("leg", 0.07, 0.16), 0.34, draw.uniform("back", 0.62, 0.76)
    tone = draw.colour("cloth", CLOTHS)
    cloth = Material("cloth", tone, _cloth(draw, tone), gloss=0.05)
    arm, style = draw.uniform("arm_width", 0.13, 0.18), draw.choice("arms", ["square", "rolled", "slim"])
    parts = [_pad(cloth, wide + 0.02, 0.2, deep, 9).moved(0, low + 0.1, 0)]
    lean = draw.uniform("lean", 0.06, 0.2)
    parts.append(
        _pad(cloth, wide + 0.04, back - low, 0.17, 8)
        .turned("x", 0.4 * lean)
        .moved(0, (back + low) / 2, deep / 2 - 0.04)
    )
    for k in range(seats):
        x = (k - (seats - 1) / 2) * wide / seats
        parts.append(_pad(cloth, wide / seats - 0.012, 0.16, deep - 0.12, 5).moved(x, seat, -0.07))
        parts.append(
            _pad(cloth, wide / seats - 0.012, back - seat - 0.02, 0.15, 4.5)
            .turned("x", lean)
            .moved(x, (back + seat) / 2 + 0.06, deep / 2 - 0.2)
        )
    parts += _arms(cloth, style, arm, wide, deep, low)
    parts += _legs(draw, wide + arm, deep, low)
    return parts + _cushions(draw, wide, deep, seat)


def _pad(cloth: Material, wide: float, tall: float, deep: float, power: float) -> Part:
    """A soft box about the origin."""

    def round_off(v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Faces that swell a little."""
        x, y, z = np.moveaxis(v, 1, 0)
        swell = 1 + 0.05 * np.cos(np.pi * np.clip(x / wide, -0.5, 0.5))
        return np.column_stack([x, y * swell, z * swell])

    loop = superellipse(deep, tall, power, 32)
    at = np.array([-0.5, -0.485, -0.45, -0.3, 0, 0.3, 0.45, 0.485, 0.5]) * wide
    size = np.array([0.72, 0.9, 1, 1, 1, 1, 1, 0.9, 0.72])
    rings = [
        np.column_stack([np.full(32, x), s * loop[:, 1], s * loop[:, 0]])
        for x, s in zip(at, size, strict=True)
    ]
    part = loft(cloth, rings).warped(round_off)
    flat = part.vertices[part.faces]
    uv = np.stack([flat[..., 0], flat[..., 1] + flat[..., 2]], axis=-1) * 2.2
    return Part(part.material, part.vertices, part.faces, uv)


def _cloth(draw: Draw, tone: Colour) -> Texture:
    """Plain weave, stripes, checks or spots."""
    kind = draw.choice("pattern", ["plain", "plain", "plain", "plain", "stripes", "checks", "dots"])
    second = draw.colour("second", ("#efe6d3", "#3b4048", "#d9b36a", "#7a2f2a"))
    if kind == "stripes":
        return textures.columns([tone, tone, second], 4)
    if kind == "checks":
        return textures.checks(tone, lighter(tone, 0.25), 6, 6)
    if kind == "dots":
        return textures.dots(tone, second, 6, 6, 0.18)
    return textures.speckle(draw.rng, tone, 0.08)


def _arms(cloth: Material, style: str, arm: float, wide: float, deep: float, low: float) -> list[Part]:
    """Armrests at both ends."""
    parts = []
    for side in (-1, 1):
        x = side * (wide + arm) / 2
        width = 0.55 * arm if style == "slim" else arm
        parts.append(_pad(cloth, width, 0.5 - low, deep, 9).moved(x, (0.5 + low) / 2, 0))
        if style == "rolled":
            roll = cylinder(cloth, 0.62 * arm, deep + 0.02, 0.02, 26).turned("x", np.pi / 2)
            parts.append(roll.moved(x + 0.02 * side, 0.5, -deep / 2 - 0.01))
    return parts


def _legs(draw: Draw, wide: float, deep: float, low: float) -> list[Part]:
    """Short wooden feet."""
    wood = Material("leg", draw.colour("legs", (*WOODS, "#24262a")), gloss=0.3)
    slant = draw.uniform("leg_slant", 0.0, 0.05)
    places = [(x, z) for x in (-0.46 * wide, 0.46 * wide) for z in (-0.42 * deep, 0.42 * deep)]
    return [
        bar(wood, (x + slant * np.sign(x), 0, z + slant * np.sign(z)), (x, low + 0.03, z), 0.028, 12)
        for x, z in places
    ]


def _cushions(draw: Draw, wide: float, deep: float, seat: float) -> list[Part]:
    """Up to two loose cushions."""
    parts = []
    colours = ("#f0b429", "#e9e4d6", "#c8382e", "#2f7d7a", "#d98a6a", "#2f3f5a")
    for k in range(draw.integer("cushions", 0, 2)):
        tint = draw.colour(f"cushion{k}", colours)
        side = 1 - 2 * k
        soft = (
            sphere(Material(f"cushion{k}", tint, gloss=0.05), 0.5, 24).warped(_pillow).scaled(0.3, 0.3, 0.16)
        )
        soft = soft.turned("z", draw.uniform(f"cushion{k}_turn", -0.4, 0.4)).turned("x", 0.3)
        parts.append(soft.moved(side * (wide / 2 - 0.2), seat + 0.2, deep / 2 - 0.33))
    return parts


def _pillow(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns a ball of diameter 1 into a square cushion."""
    big = np.maximum(np.abs(v[:, 0]), np.abs(v[:, 1]))
    grow = (np.hypot(v[:, 0], v[:, 1]) / np.maximum(big, 1e-9))[:, None] ** 0.85
    return np.column_stack([v[:, :2] * grow, v[:, 2]])


FAMILY = Family("studio couch", 831, "n04344873", "04256520", build)
