"""Tennis ball: yellow-green felt with one white wavy seam."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.balls import COLUMNS, ROWS, ball, seam_distance
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.parts import Part


def build(draw: Draw) -> list[Part]:
    """One ball."""
    felt = draw.colour("felt", ("#cfe03a", "#d8e84a", "#c2d62e", "#dbe65a"))
    seam = draw.colour("seam", ("#f4f3ea", "#eef0dc"))
    wide = draw.uniform("seam_width", 0.06, 0.09)
    fuzz = textures.noise(draw.rng, (ROWS, COLUMNS), (1.2, 1.2))[..., None]
    line = np.clip((wide - seam_distance()) / 0.02, 0, 1)[..., None]
    image = (1 - line) * np.array(felt) * (0.9 + 0.16 * fuzz) + line * np.array(seam)
    return [ball(draw, "felt", textures.painted(image), 0.05)]


FAMILY = Family("tennis ball", 852, "n04409515", None, build)
