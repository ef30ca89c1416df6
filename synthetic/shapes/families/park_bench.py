"""Park bench: slats of wood on two cast side frames; people sit looking towards -Z."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import in_plane, rounded, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material
from synthetic.shapes.palettes import WOODS
from synthetic.shapes.parts import Part, box, sweep, torus

IRONS = ("#24262a", "#2f4a3a", "#3b4048", "#5a5f66", "#6b3a2a")


def build(draw: Draw) -> list[Part]:
    """Parts of one bench, about 0.85 units high."""
    length = draw.uniform("length", 1.15, 1.7)
    depth = draw.uniform("depth", 0.4, 0.5)
    top = draw.uniform("back_height", 0.78, 0.92)
    lean = draw.uniform("back_lean", 0.07, 0.16)
    tone = draw.colour("wood", (*WOODS, "#2f6b4a", "#a83a2f", "#e9e4d6"))
    wood = Material("wood", tone, textures.wood(draw.rng, tone), gloss=0.2)
    iron = Material("iron", draw.colour("iron", IRONS), gloss=0.4)
    parts = _seat(draw, wood, length, depth) + _back(draw, wood, length, depth, top, lean)
    style = draw.choice("frame", ["legs", "scroll", "block"])
    frames = [-0.5 * length + 0.1, 0.5 * length - 0.1] + ([0.0] if length > 1.5 else [])
    for x in frames:
        parts += _frame(iron, style, x, depth, top, lean)
    return parts


def _seat(draw: Draw, wood: Material, length: float, depth: float) -> list[Part]:
    """Slats side by side, the front one a little lower."""
    count = draw.integer("seat_slats", 3, 6)
    pitch = depth / count
    thick = draw.uniform("slat_thickness", 0.03, 0.045)
    places = [(0.45 - 0.02 * (k == 0), -depth / 2 + pitch * (k + 0.5)) for k in range(count)]
    return [box(wood, (length, thick, 0.82 * pitch), (0, y, z), 0.008) for y, z in places]


def _back(draw: Draw, wood: Material, length: float, depth: float, top: float, lean: float) -> list[Part]:
    """Slats one above the other, leaning with the frame."""
    count = draw.integer("back_slats", 2, 4)
    low = 0.56
    pitch = (top - low) / count
    angle = np.arctan2(lean, top - 0.45)
    parts = []
    for k in range(count):
        y = low + pitch * (k + 0.5)
        z = depth / 2 + 0.01 + lean * (y - 0.45) / (top - 0.45)
        board = box(wood, (length, 0.8 * pitch, 0.03), bevel=0.008)
        parts.append(board.turned("x", angle).moved(0, y, z))
    return parts


def _frame(iron: Material, style: str, x: float, depth: float, top: float, lean: float) -> list[Part]:
    """One side: legs, the bar under the seat, the upright behind the back, an armrest."""
    front, rear = -depth / 2 + 0.03, depth / 2
    section = superellipse(0.05, 0.045, 4, 12)
    spread = {"legs": 0.06, "scroll": 0.1, "block": 0.0}[style]
    upright = rounded([(0, rear + spread), (0.42, rear), (top, rear + 0.045 + lean)], 0.1, 6)
    lines = [upright, np.array([(0.415, front - 0.02), (0.415, rear)])]
    lines.append(rounded([(0, front - spread * 0.4), (0.64, front - 0.02), (0.66, rear + 0.06)], 0.08, 6))
    parts = [sweep(iron, in_plane(line[:, ::-1], "zy", x), section, up=(1, 0, 0)) for line in lines]
    if style == "scroll":
        parts.append(
            torus(iron, 0.09, 0.018, 24, 8).turned("z", np.pi / 2).moved(x, 0.53, 0.5 * (front + rear))
        )
        parts.append(
            torus(iron, 0.1, 0.018, 24, 8).turned("z", np.pi / 2).moved(x, 0.29, 0.5 * (front + rear))
        )
    if style == "block":
        parts.append(box(iron, (0.07, 0.4, depth - 0.06), (x, 0.2, 0.5 * (front + rear)), 0.015))
    return parts


FAMILY = Family("park bench", 703, "n03891251", "02828884", build)
