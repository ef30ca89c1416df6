"""Orange: a round fruit with pores and a button, with leaves or beside a half that shows its segments."""

import numpy as np

from synthetic.shapes.components.citrus import half, peel
from synthetic.shapes.components.leaves import GREENS, leaf
from synthetic.shapes.curves import Points
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, from_hex, lighter
from synthetic.shapes.parts import Part, bar, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one or two fruits of radius about 0.5."""
    skin = draw.colour("skin", ("#f28a1c", "#ee7a14", "#f59a2a", "#e8741a"))
    height = draw.uniform("height", 0.9, 1.02)
    depth = draw.uniform("depth", 0.94, 1.0)
    fruit = sphere(peel(draw, skin), 0.5, 40).scaled(1, height, depth).warped(_dimple)
    parts = [fruit]
    green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.4)
    top = 0.5 * height - 0.04
    parts.append(sphere(green, 0.045, 10).scaled(1, 0.5, 1).moved(y=top + 0.01))
    if draw.chance("stalk", 0.6):
        parts.append(
            bar(Material("stalk", from_hex("#6b5a2e")), (0, top - 0.02, 0), (0.02, top + 0.13, 0), 0.022, 8)
        )
        for k in range(draw.integer("leaves", 1, 2)):
            bearing = draw.uniform(f"bearing{k}", 0.6, 1.4) * (1 - 2 * k)
            parts.append(
                leaf(green, draw.uniform(f"leaf{k}_length", 0.4, 0.55), 0.24, 1.1, bearing, 0.9).moved(
                    0.01, top + 0.05
                )
            )
    if draw.chance("with_half", 0.55):
        flesh = lighter(from_hex("#f79a1e"), draw.uniform("pale", 0.0, 0.15))
        cut = half(draw, skin, flesh, 0.47, draw.integer("segments", 9, 11)).turned("x", 0.25)
        side = draw.choice("side", [-1, 1])
        parts.append(cut.turned("y", 0.12 * side).moved(0.5 * side, -0.5 * height + 0.46, -0.46))
    return parts


def _dimple(v: Points) -> Points:
    """A small hollow around the button."""
    near = np.exp(-(v[:, 0] ** 2 + v[:, 2] ** 2) / 0.012) * (v[:, 1] > 0)
    return np.column_stack([v[:, 0], v[:, 1] - 0.04 * near, v[:, 2]])


FAMILY = Family("orange", 950, "n07747607", None, build)
