"""Soccer ball: twelve pentagons and twenty hexagons with seams, in black and white or in colours."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.components.balls import ball, directions
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import darker
from synthetic.shapes.parts import Part

# distances of the faces of a truncated icosahedron from its centre, edge 1
PENTAGON, HEXAGON = 2.32744, 2.26728


@cache
def panels() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each texel its panel (0-11 pentagons, 12-31 hexagons) and how far it is from the next one."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [np.roll((0, a, b * golden), k) for k in range(3) for a in (-1, 1) for b in (-1, 1)]
    pentagons = np.array(corners) / np.hypot(1, golden)
    triples = [(i, j, k) for i in range(12) for j in range(i) for k in range(j)]
    near = [t for t in triples if min(pentagons[a] @ pentagons[b] for a in t for b in t) > 0.4]
    hexagons = np.array([pentagons[list(t)].sum(axis=0) for t in near])
    hexagons /= np.linalg.norm(hexagons, axis=1, keepdims=True)
    score = directions() @ np.concatenate([pentagons / PENTAGON, hexagons / HEXAGON]).T
    best = np.sort(score, axis=-1)[..., -2:]
    return score.argmax(axis=-1), (best[..., 1] - best[..., 0]) * HEXAGON


def build(draw: Draw) -> list[Part]:
    """One ball."""
    light = draw.colour("hexagons", ("#f4f3ee", "#ffffff", "#eeeade", "#f4f3ee", "#f2d64b"))
    dark = draw.colour("pentagons", ("#1c1d20", "#1c1d20", "#1c1d20", "#1f3f8f", "#b3242c", "#17603a"))
    panel, gap = panels()
    image = np.where((panel < 12)[..., None], dark, light)
    image[gap < draw.uniform("seam", 0.018, 0.03)] = darker(light, draw.uniform("seam_dark", 0.45, 0.7))
    return [ball(draw, "leather", textures.painted(image), 0.35)]


FAMILY = Family("soccer ball", 805, "n04254680", None, build)
