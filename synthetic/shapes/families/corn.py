"""Corn: an ear of plump kernels in rows, green husks turned back below it."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import leaf
from synthetic.shapes.curves import Points, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, lighter
from synthetic.shapes.parts import Part, frustum, lathe


def build(draw: Draw) -> list[Part]:
    """Parts of one ear, its cob about 1 unit high."""
    wide, tall = draw.uniform("radius", 0.155, 0.2), draw.uniform("height", 0.9, 1.1)
    rows, up = draw.integer("rows", 12, 16), draw.integer("kernels", 18, 24)
    gold = draw.colour("kernels_colour", ("#f2c230", "#f5cf4a", "#e8ae22", "#f7e08a"))
    full = draw.uniform("fullness", 0.78, 0.9)
    curve = spline(
        [
            (0, 0),
            (0.85 * wide, 0.01),
            (wide, 0.25 * tall),
            (full * wide, 0.7 * tall),
            (0.45 * wide, 0.95 * tall),
            (0, tall),
        ],
        5 * 14,
    )

    def bumps(v: Points) -> Points:
        """Kernels swell between the furrows."""
        u = np.arctan2(-v[:, 0], -v[:, 2]) / (2 * np.pi) * rows
        swell = 1 + 0.06 * (np.abs(np.cos(np.pi * u)) ** 0.7 - 0.6)
        return np.column_stack([v[:, 0] * swell, v[:, 1], v[:, 2] * swell])

    cob = lathe(
        Material("kernels", gold, _kernels(draw, gold, rows, up), gloss=0.5),
        curve,
        5 * rows,
        v=curve[:, 1] / tall,
    )
    green = draw.colour("husk", ("#7fa83a", "#94b84a", "#6a9438", "#a9c25f"))
    husk = [
        Material(f"husk{k}", tone, gloss=0.1)
        for k, tone in enumerate((green, lighter(green, 0.2), darker(green, 0.15)))
    ]
    parts = [
        cob.warped(bumps),
        lathe(
            husk[0],
            spline([(0.05, -0.12), (0.7 * wide, -0.06), (1.08 * wide, 0.06), (1.08 * wide, 0.16)], 8),
            28,
        ),
    ]
    count, length = draw.integer("husks", 5, 8), draw.uniform("husk_length", 0.6, 0.85)
    open_by = draw.uniform("husk_open", 0.35, 1.1)
    for k in range(count):
        bearing = np.pi + 2 * np.pi * (k + 0.5) / count
        front = 0.75 + 0.25 * np.cos(bearing + np.pi)  # those before the cob are shorter and bend more
        size = length * (1.2 - 0.45 * front) * draw.rng.uniform(0.9, 1.1)
        blade = leaf(husk[k % 3], size, 1.5 * wide, open_by * (0.5 + front), bearing, 1.62 - 0.15 * front)
        parts.append(blade.moved(1.0 * wide * np.sin(bearing), 0.03, -1.0 * wide * np.cos(bearing)))
    stalk = frustum(husk[2], 0.04, 0.05, draw.uniform("stalk", 0.08, 0.18), 0.005, 16)
    return [*parts, stalk.moved(y=-0.1 - float(stalk.vertices[:, 1].max()))]


def _kernels(draw: Draw, gold: Colour, rows: int, up: int) -> Texture:
    """Rounded squares with dark furrows; each kernel has its own shade."""
    u, v = textures.places(240, 256)
    j, i = u * rows + 0.5, v * up + 0.5 * (np.floor(u * rows + 0.5) % 2)
    shade = draw.rng.uniform(0.86, 1.04, (up + 2, rows + 2))[i.astype(int), j.astype(int)]
    far = np.maximum(np.abs(j % 1 - 0.5), np.abs(i % 1 - 0.5))
    image = np.array(gold) * shade[..., None] * np.clip(1.1 - 1.7 * far[..., None] ** 3, 0, 1)
    image[far > 0.44] = darker(gold, 0.42)
    return textures.painted(image)


FAMILY = Family("corn", 987, "n12144580", None, build)
