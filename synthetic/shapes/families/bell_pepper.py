"""Bell pepper: a lobed, shiny fruit with a thick green stalk."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points, circle, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, lighter, mix
from synthetic.shapes.parts import Part, lathe, sphere, sweep


def build(draw: Draw) -> list[Part]:
    """Parts of one pepper of radius about 0.45."""
    skin = draw.colour("skin", ("#c9202a", "#f2b81f", "#4a9a3a", "#ea7a1f", "#d62a2a", "#f0c52a"))
    wide, tall = draw.uniform("radius", 0.42, 0.5), draw.uniform("height", 0.85, 1.15)
    taper = draw.uniform("taper", 0.6, 0.82)
    lobes, depth = draw.integer("lobes", 3, 4), draw.uniform("lobe_depth", 0.09, 0.14)
    phase = draw.uniform("phase", 0.0, 6.28)
    low = taper * wide
    outline = [
        (0, 0.09),
        (0.35 * low, 0.0),
        (0.9 * low, 0.08),
        (0.95 * wide, 0.6),
        (wide, 0.8),
        (0.7 * wide, 0.98),
        (0.3 * wide, 0.92),
    ]
    curve = spline(np.array([*outline, (0, 0.86)]) * [1, tall], 36)

    def lobed(v: Points) -> Points:
        """Deep furrows between round lobes."""
        wave = np.abs(np.cos(0.5 * lobes * np.arctan2(v[:, 0], v[:, 2]) + phase))
        swell = 1 - 2 * depth * (1 - wave) ** 1.5
        return np.column_stack(
            [v[:, 0] * swell, v[:, 1] - 0.06 * (1 - wave) * (v[:, 1] / tall - 0.5), v[:, 2] * swell]
        )

    cloud = textures.noise(draw.rng, (64, 64), (6.0, 6.0))
    image = textures.ramp(cloud, darker(skin, draw.uniform("shade", 0.05, 0.22)), lighter(skin, 0.06))
    parts = [lathe(Material("skin", skin, image, gloss=0.75), curve, 60).warped(lobed)]
    green = draw.colour("stalk", ("#4f8a35", "#6b9a45", "#3f7a3a"))
    stem = Material("stalk", mix(green, skin, 0.08), gloss=0.3)
    parts.append(sphere(stem, 0.15, 20).scaled(1, 0.35, 1).moved(y=0.9 * tall))
    lean, rise = draw.uniform("stalk_lean", -0.18, 0.18), draw.uniform("stalk_height", 0.22, 0.32)
    path = spline(
        [(0, 0.88 * tall, 0), (0.2 * lean, 0.88 * tall + 0.6 * rise, 0), (lean, 0.88 * tall + rise, -0.03)],
        10,
    )
    return [*parts, sweep(stem, path, circle(0.05, 10), np.linspace(1.25, 0.95, 10))]


FAMILY = Family("bell pepper", 945, "n07720875", None, build)
