"""Folding chair: crossed side frames, a seat and a backrest; the sitter looks towards -Z."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import arc, in_plane, rounded
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material
from synthetic.shapes.palettes import METALS, PAINTS, WOODS
from synthetic.shapes.parts import Part, bar, box, sweep, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one chair, about 0.9 units high."""
    width = draw.uniform("width", 0.42, 0.5)
    seat = draw.uniform("seat_height", 0.43, 0.48)
    depth = draw.uniform("seat_depth", 0.36, 0.42)
    top = draw.uniform("back_height", 0.78, 0.92)
    lean = draw.uniform("back_lean", 0.05, 0.12)
    if draw.chance("wooden", 0.45):
        wood = draw.colour("wood", (*WOODS, "#f1efe9", "#3b4048"))
        frame = Material("wood", wood, textures.wood(draw.rng, wood), gloss=0.25)
        cover = frame
    else:
        frame = Material("frame", draw.colour("frame", METALS), gloss=0.7)
        cover = Material("cover", draw.colour("cover", PAINTS), gloss=0.3)
    wooden = cover is frame
    parts = _frames(frame, wooden, width, seat, depth, top, lean)
    slats = draw.integer("slats", 4, 6) if wooden else 1
    parts += _seat(cover, slats, width, seat, depth)
    parts += _back(draw, cover, wooden, width, top, lean, depth)
    return parts


def _frames(
    frame: Material, wooden: bool, width: float, seat: float, depth: float, top: float, lean: float
) -> list[Part]:
    """Both sides: a long leg from the front floor to the top of the back, a short one crossing it, and the rungs."""
    rear = depth / 2
    long_leg = [(0.02, -rear - 0.06), (seat + 0.02, rear - 0.05), (top, rear - 0.02 + lean)]
    short_leg = [(0.02, rear + 0.1), (seat - 0.03, -rear + 0.05)]
    parts = []
    for side in (-1, 1):
        for leg, inset in ((rounded(long_leg, 0.12, 6), 0.0), (np.array(short_leg), 0.03)):
            path = in_plane(leg[:, ::-1], "zy", side * (width / 2 - inset))
            if wooden:
                parts.append(
                    sweep(
                        frame,
                        path,
                        [(0.011, 0.02), (-0.011, 0.02), (-0.011, -0.02), (0.011, -0.02)],
                        up=(0, 0, 1),
                    )
                )
            else:
                parts.append(tube(frame, path, 0.0125, 12, round_ends=True))
    for y, z, inset in (
        (0.12, -rear - 0.01, 0.0),
        (0.12, rear + 0.04, 0.03),
        (seat - 0.03, -rear + 0.05, 0.03),
    ):
        reach = width / 2 - inset
        parts.append(bar(frame, (-reach, y, z), (reach, y, z), 0.011, 10))
    return parts


def _seat(cover: Material, slats: int, width: float, seat: float, depth: float) -> list[Part]:
    """One padded board, or several slats running across."""
    if slats == 1:
        return [box(cover, (width - 0.07, 0.045, depth), (0, seat, 0), 0.018)]
    pitch = depth / slats
    starts = -depth / 2 + pitch * (np.arange(slats) + 0.5)
    boards = [box(cover, (width - 0.06, 0.02, 0.8 * pitch), (0, seat, z), 0.005) for z in starts]
    rails = [
        box(cover, (0.022, 0.03, depth), (x, seat - 0.02, 0)) for x in (0.3 - width / 2, width / 2 - 0.3)
    ]
    return boards + rails[: 2 if width > 0.62 else 0]


def _back(
    draw: Draw, cover: Material, wooden: bool, width: float, top: float, lean: float, depth: float
) -> list[Part]:
    """A curved panel between the long legs, or two to three curved slats."""
    count = draw.integer("back_slats", 2, 3) if wooden else 1
    tall = draw.uniform("back_panel", 0.14, 0.22)
    parts = []
    for k in range(count):
        y = top - 0.015 - tall * (k + 0.5) / count
        share = (y - 0.45) / (top - 0.45)
        across = arc(width / 2, 0.045, np.pi, 0, 12)
        path = in_plane(across, "xz", y)
        path[:, 2] += depth / 2 - 0.035 + lean * share - 0.005
        half = 0.42 * tall / count
        section = [(0.009, -half), (0.009, half), (-0.009, half), (-0.009, -half)]
        parts.append(sweep(cover, path, section, up=(0, 1, 0)))
    return parts


FAMILY = Family("folding chair", 559, "n03376595", "03001627", build)
