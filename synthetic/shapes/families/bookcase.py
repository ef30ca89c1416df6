"""Bookcase: shelves open towards the front, filled with books and a few other things."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, box, cylinder, sphere

SPINES = (
    "#8e1b2a",
    "#21406b",
    "#2f5a3a",
    "#c9a24a",
    "#e9e4d6",
    "#3a3d42",
    "#c4673e",
    "#57809a",
    "#6a4c93",
    "#d9c29a",
)


def build(draw: Draw) -> list[Part]:
    """Parts of one bookcase, about 1.2 units high."""
    width, height = draw.uniform("width", 0.55, 1.0), draw.uniform("height", 0.9, 1.35)
    depth = draw.uniform("depth", 0.24, 0.32)
    board = draw.uniform("board", 0.025, 0.04)
    tone = draw.colour("wood", (*WOODS, "#f1efe9", "#3b2a20", "#4f6b78"))
    wood = Material("wood", tone, textures.wood(draw.rng, tone), gloss=0.3)
    back = Material("back", darker(tone, 0.22), gloss=0.1)
    foot = draw.uniform("foot", 0.03, 0.09)
    count = draw.integer("shelves", 3, 5)
    parts = [
        box(wood, (board, height, depth), (x, height / 2, 0))
        for x in (-(width - board) / 2, (width - board) / 2)
    ]
    parts.append(
        box(back, (width - board, height - foot, 0.012), (0, (height + foot) / 2, depth / 2 - 0.012))
    )
    levels = foot + (height - foot - board) * np.arange(count + 1) / count
    parts += [box(wood, (width - board, board, depth - 0.01), (0, y + board / 2, 0)) for y in levels]
    if draw.chance("cornice", 0.5):
        parts.append(box(wood, (width + 0.06, 0.045, depth + 0.05), (0, height + 0.015, -0.01), 0.012))
    if draw.chance("plinth", 0.5):
        parts.append(box(wood, (width, foot + 0.01, 0.02), (0, foot / 2, -depth / 2 + 0.015)))
    bindings = [Material(f"book{k}", from_hex(c), gloss=0.2) for k, c in enumerate(SPINES)]
    fill = draw.uniform("fill", 0.6, 1.0)
    clear = (height - foot - board) / count - board
    for y in levels[:-1]:
        parts += _row(draw, bindings, width - 2 * board, y + board, clear, depth, fill)
    return parts


def _row(
    draw: Draw, bindings: list[Material], width: float, y: float, clear: float, depth: float, fill: float
) -> list[Part]:
    """Books side by side until the shelf is as full as wished, then perhaps an ornament."""
    rng = draw.rng
    left, right = -width / 2 + 0.004, width / 2
    limit = left + width * fill * rng.uniform(0.7, 1.0)
    parts: list[Part] = []
    while True:
        thick = rng.uniform(0.028, 0.06)
        if left + thick > min(limit, right - 0.004):
            break
        tall, deep = clear * rng.uniform(0.62, 0.92), depth * rng.uniform(0.62, 0.8)
        material = bindings[int(rng.integers(len(bindings)))]
        front = -depth / 2 + 0.03
        parts.append(
            box(
                material,
                (thick - 0.003, tall, deep),
                (-(left + thick / 2), y + tall / 2, front + deep / 2),
                0.004,
            )
        )
        left += thick
    if right - left > 0.14:
        x, z = -(left + right) / 2, -0.02
        size = min(0.3 * clear, 0.35 * (right - left))
        ornament = bindings[int(rng.integers(len(bindings)))]
        if rng.random() < 0.5:
            parts.append(sphere(ornament, size, 16).moved(x, y + size, z))
        else:
            parts.append(cylinder(ornament, 0.7 * size, 1.8 * size, 0.2 * size, 18).moved(x, y, z))
    return parts


FAMILY = Family("bookcase", 453, "n02870880", "02871439", build)
