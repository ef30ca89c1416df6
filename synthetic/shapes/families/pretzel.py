"""Pretzel: a rope of dough tied in the old knot, standing with its face to the front, salted."""

import numpy as np
from scipy.interpolate import CubicSpline

from synthetic.shapes import textures
from synthetic.shapes.curves import circle
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex, lighter
from synthetic.shapes.parts import Part, box, sphere, sweep

HALF = [  # (x, y, z) from the middle of the bow below up one side and over the cross; the front is at -z
    (0.0, -0.43, 0.0),
    (0.3, -0.36, 0.0),
    (0.53, -0.08, 0.0),
    (0.5, 0.25, 0.0),
    (0.25, 0.38, 0.0),
    (0.05, 0.2, -0.02),
    (-0.05, 0.02, -0.05),
    (-0.17, -0.17, -0.07),
    (-0.3, -0.36, -0.1),
]


def build(draw: Draw) -> list[Part]:
    """Parts of one pretzel about 1 unit wide."""
    crust = draw.colour("crust", ("#8a4a1c", "#a05a22", "#74390f", "#b56f2e"))
    wide, tall = draw.uniform("width", 0.92, 1.1), draw.uniform("height", 0.88, 1.05)
    half = np.array(HALF) * [wide, tall, 1.0]
    over = half * [-1, 1, 1]
    over[5:, 2] += [0.04, 0.12, 0.08, 0.0]  # one end crosses behind the other
    knots = np.concatenate([over[:0:-1], half])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    samples = 110
    s = np.linspace(0, length[-1], samples)
    path = CubicSpline(length, knots)(s)
    thick = draw.uniform("thickness", 0.07, 0.088)
    belly = draw.uniform("belly", 0.1, 0.5)
    middle = np.abs(s / length[-1] - 0.5) * 2
    size = (1 + belly * np.exp(-((middle / 0.35) ** 2))) * np.interp(
        middle, [0, 0.7, 0.97, 0.99, 1], [1, 1, 0.72, 0.6, 0.35]
    )
    cloud = textures.noise(draw.rng, (64, 64), (5.0, 8.0))
    bake = Material("crust", crust, textures.ramp(cloud, darker(crust, 0.2), lighter(crust, 0.16)), gloss=0.6)
    parts = [sweep(bake, path, circle(thick, 14), size, up=(0, 0, 1))]
    if draw.chance("split", 0.6):  # the pale crack in the belly
        crack = Material("crumb", draw.colour("crumb", ("#ecd3a0", "#e3c48a")), gloss=0.05)
        parts.append(
            sphere(crack, 0.1, 16).scaled(1.9, 0.32, 0.6).moved(0, -0.43 * tall, -(1 + belly) * thick + 0.035)
        )
    salt = Material("salt", from_hex("#f8f5ee"), gloss=0.5)
    for _ in range(draw.integer("salt", 16, 40)):
        k = int(draw.rng.integers(8, samples - 8))
        side = draw.rng.uniform(-0.6, 0.6)
        out = thick * size[k]
        tangent = path[k + 1] - path[k - 1]
        across = np.array([-tangent[1], tangent[0], 0.0]) / np.hypot(tangent[0], tangent[1])
        at = path[k] + out * (np.sin(side) * across + [0, 0, -np.cos(side)])
        grain = box(salt, (0.024, 0.026, 0.022)).turned("z", draw.rng.uniform(0, 3))
        parts.append(grain.moved(*at))
    return parts


FAMILY = Family("pretzel", 932, "n07695742", None, build)
