"""Cowboy hat: a pinched crown with a band and a wide brim turned up at the sides; its front dips towards -Z."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material
from synthetic.shapes.parts import Part, lathe, prism, sphere, torus

FELTS = ("#8a5a32", "#b5814a", "#6b4226", "#24262a", "#d8c09a", "#f1ead8", "#7a4a3a", "#5a4a42", "#a83a2f")


def build(draw: Draw) -> list[Part]:
    """Parts of one hat, its brim about 1.1 units from front to back."""
    crown, tall = draw.uniform("crown", 0.23, 0.27), draw.uniform("height", 0.32, 0.42)
    brim, roll = draw.uniform("brim", 0.48, 0.56), draw.uniform("roll", 0.2, 0.34)
    dip, pinch = draw.uniform("dip", 0.05, 0.12), draw.uniform("pinch", 0.07, 0.12)
    tone = draw.colour("felt", FELTS)
    felt = Material("felt", tone, textures.speckle(draw.rng, tone, 0.08), gloss=0.08)
    upper = spline(
        [
            (brim, 0.02),
            (brim - 0.01, 0.034),
            (0.75 * brim, 0.028),
            (crown + 0.03, 0.02),
            (crown, 0.05),
            (0.95 * crown, 0.55 * tall),
            (0.84 * crown, 0.9 * tall),
            (0.62 * crown, tall),
            (0, tall - 0.01),
        ],
        40,
    )
    lower = np.column_stack(
        [np.where(upper[:, 0] > crown + 0.02, upper[:, 0], 0.94 * upper[:, 0]), upper[:, 1] - 0.028]
    )[::-1]

    def shape(v: NDArray[np.float64]) -> NDArray[np.float64]:
        """Oval head, brim up at the sides and down before and behind, crease along the top, pinches in front."""
        x, y, z = np.moveaxis(v, 1, 0)
        out = np.clip((np.hypot(x, z) - crown) / (brim - crown), 0, 1)
        side = (x / np.maximum(np.hypot(x, z), 1e-9)) ** 2
        lift = roll * side**1.5 * out**1.8 - dip * (1 - side) * out**1.5
        rise = np.clip(y / tall, 0, 1.1) * (out < 0.05)
        crease = -0.22 * tall * np.exp(-((x / 0.07) ** 2)) * np.clip((rise - 0.6) / 0.4, 0, 1)
        front = pinch * np.exp(-((np.abs(x) - 0.13) ** 2) / 0.006) * np.exp(-((z + 0.17) ** 2) / 0.014) * rise
        tilt = 0.1 * z / crown * rise
        narrow = 1 - 0.14 * out * side - 0.12 * rise
        return np.column_stack(
            [
                x * narrow * (1 - 0.9 * front),
                y + lift + crease - tall * 0.5 * front + tilt * tall * 0.7,
                1.14 * z + 0.6 * front,
            ]
        )

    parts = [lathe(felt, np.concatenate([lower, upper]), 72).warped(shape)]
    band = Material(
        "band",
        draw.colour("band", ("#3a2418", "#24262a", "#c8262e", "#f0e6d0", "#d9a93a", "#2f4a6a")),
        gloss=0.3,
    )
    ring = torus(band, crown - 0.002, 0.02, 60, 8).scaled(1, draw.uniform("band_width", 1.3, 2.2), 1.15)
    parts.append(ring.moved(y=0.075))
    if draw.chance("badge", 0.45):
        gold = Material("badge", draw.colour("badge_metal", ("#d9a93a", "#c9ced4")), gloss=0.8)
        angle = np.pi / 2 + np.pi * np.arange(10) / 5
        star = np.where(np.arange(10) % 2 == 0, 0.07, 0.03)[:, None] * np.column_stack(
            [np.cos(angle), np.sin(angle)]
        )
        parts.append(prism(gold, star, 0.02).moved(0, 0.1, -1.15 * crown - 0.02))
    if draw.chance("buckle", 0.3):
        parts.append(
            sphere(Material("buckle", (0.79, 0.8, 0.83), gloss=0.8), 0.04, 12)
            .scaled(0.6, 1, 1)
            .moved(-crown - 0.004, 0.08, 0)
        )
    return parts


FAMILY = Family("cowboy hat", 515, "n03124170", None, build)
