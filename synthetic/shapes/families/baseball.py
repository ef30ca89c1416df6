"""Baseball: white leather with red stitches along its seam."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.balls import ball, directions, seam_distance
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import darker
from synthetic.shapes.parts import Part


def build(draw: Draw) -> list[Part]:
    """One ball."""
    leather = draw.colour("leather", ("#f3efe4", "#f7f5ef", "#e6dcc6", "#efe9da"))
    thread = draw.colour("thread", ("#c2202c", "#d02a30", "#a81f2a"))
    wide = draw.uniform("stitch_length", 0.085, 0.12)
    near, (x, y, z) = seam_distance(), np.moveaxis(directions(), -1, 0)
    image = np.broadcast_to(leather, (*near.shape, 3)).copy()
    image[near < 0.018] = darker(leather, 0.3)
    along = np.arctan2(y, x) * draw.integer("stitches", 22, 28) / np.pi + np.sign(z) * 3 * near / wide
    image[(near < wide) & (near > 0.018) & (along % 1 < 0.5)] = thread
    return [ball(draw, "leather", textures.painted(image), 0.3)]


FAMILY = Family("baseball", 429, "n02799071", None, build)
