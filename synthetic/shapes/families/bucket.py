"""Bucket: a tapered vessel with a bail handle that hangs to the left and right."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vessels import radius_at, vessel
from synthetic.shapes.curves import Points, arc, in_plane
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker
from synthetic.shapes.palettes import PAINTS, WOODS
from synthetic.shapes.parts import Part, bar, lathe, sphere, torus, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one bucket, about 0.8 units high without its handle."""
    height = draw.uniform("height", 0.62, 0.85)
    top = draw.uniform("top_radius", 0.36, 0.46)
    bottom = top * draw.uniform("taper", 0.62, 0.85)
    wall = np.array([(0.94 * bottom, 0), (bottom, 0.02), ((top + bottom) / 2, height / 2), (top, height)])
    kind = draw.choice("kind", ["plastic", "zinc", "wood"])
    metal = Material("metal", draw.colour("metal", ("#8f959c", "#5a5f66", "#b7bcc2", "#3a3d42")), gloss=0.6)
    if kind == "wood":
        tone = draw.colour("wood", WOODS)
        image = textures.staves(draw.rng, tone, draw.integer("staves", 14, 20))
        body, thick = Material("staves", tone, image, gloss=0.15), 0.035
    elif kind == "zinc":
        tone = draw.colour("zinc", ("#a9b0b6", "#8f979e", "#c3c8cc"))
        body, thick = Material("zinc", tone, textures.speckle(draw.rng, tone, 0.1), gloss=0.6), 0.014
    else:
        tone = draw.colour("plastic", PAINTS)
        body, thick = Material("plastic", tone, gloss=0.4), 0.02
    parts = [vessel(body, wall, thick, 44)]
    if kind == "plastic":
        parts.append(_hoop(body, wall, height - 0.03, 0.07, 0.022))
    else:
        hoop = metal if kind == "wood" else Material("rib", darker(tone, 0.12), gloss=0.6)
        parts += [_hoop(hoop, wall, y * height, 0.05, 0.01) for y in (0.12, draw.uniform("hoop", 0.68, 0.82))]
        if kind == "zinc":
            parts.append(torus(body, top, 0.02, 44, 10).moved(y=height))
    return parts + _bail(draw, wall, height, metal, tone)


def _hoop(material: Material, wall: Points, y: float, wide: float, thick: float) -> Part:
    """A band around the wall."""
    low, high = radius_at(wall, y - wide / 2), radius_at(wall, y + wide / 2)
    loop = [
        (low - 0.005, y - wide / 2),
        (low + thick, y - wide / 2),
        (high + thick, y + wide / 2),
        (high - 0.005, y + wide / 2),
    ]
    return lathe(material, loop, 44, ring=True)


def _bail(
    draw: Draw, wall: Points, height: float, metal: Material, tone: tuple[float, float, float]
) -> list[Part]:
    """A wire bow with a grip, standing up or fallen to the back, and its two ears."""
    y = height - 0.05
    reach = radius_at(wall, y) + 0.02
    tilt = draw.choice("bail", [0.0, 0.5, 1.25])
    bow = in_plane(arc(reach, 0.95 * reach, 0, np.pi, 31), "xy")
    wire = tube(metal, bow, 0.013, 8, round_ends=True)
    grip_tone = draw.colour("grip", ("#6b4226", "#24262a", "#c9975b", "#f1efe9"))
    grip = bar(
        Material("grip", grip_tone, gloss=0.3), (-0.11, 0.95 * reach, 0), (0.11, 0.95 * reach, 0), 0.028, 14
    )
    ears = [sphere(metal, 0.035, 14).moved(x, y, 0) for x in (-reach, reach)]
    return [*(part.turned("x", tilt).moved(y=y) for part in (wire, grip)), *ears]


FAMILY = Family("bucket", 463, "n02909870", None, build)
