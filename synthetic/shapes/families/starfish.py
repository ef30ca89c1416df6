"""Starfish: five arms with rows of knobs, its upper side to the front."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import Points
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, lighter
from synthetic.shapes.parts import Part, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one animal of radius about 0.5."""
    skin = draw.colour("skin", ("#d9622e", "#c8402f", "#e08a3a", "#8a4a9a", "#b5532a", "#3f6fa8", "#d98a6a"))
    waist, sharp = draw.uniform("waist", 0.3, 0.42), draw.uniform("sharpness", 0.8, 1.3)
    thick, turn = draw.uniform("thickness", 0.1, 0.14), draw.uniform("turn", -0.3, 0.3)
    curl = [draw.uniform(f"curl{k}", -0.22, 0.22) for k in range(5)]
    cloud = textures.noise(draw.rng, (96, 160), (2.0, 2.0))
    image = textures.ramp(cloud, darker(skin, 0.25), lighter(skin, 0.16))
    body = sphere(Material("skin", skin, image, gloss=0.15), 1.0, 100).turned("x", -np.pi / 2)

    def arms(v: Points) -> Points:
        """A ball drawn out into five arms that grow lower outwards and bend a little in their plane."""
        angle, out = np.arctan2(v[:, 0], v[:, 1]), np.hypot(v[:, 0], v[:, 1])
        near = np.abs((angle * 5 / (2 * np.pi) + 0.5) % 1 - 0.5) * 2
        reach = waist * 0.5 + (0.5 - waist * 0.5) * (1 - near) ** (1.6 * sharp) * 1.06
        radius = out * reach
        which = np.round(angle * 5 / (2 * np.pi)).astype(int) % 5
        bent = angle + turn + np.array(curl)[which] * np.maximum(radius - 0.5 * waist, 0) * (1 - near)
        height = v[:, 2] * thick * (1.15 - 1.1 * radius) * np.where(v[:, 2] > 0, 0.35, 1.0)
        return np.column_stack([radius * np.sin(bent), radius * np.cos(bent), height])

    parts = [body.warped(arms)]
    knob = Material("knobs", lighter(skin, draw.uniform("knob_pale", 0.3, 0.65)), gloss=0.2)
    rows = draw.integer("knobs", 5, 8)
    for arm in range(5):
        for k in range(rows):
            radius = 0.07 + 0.38 * (k + 0.2) / rows
            angle = 2 * np.pi * arm / 5 + turn + curl[arm] * max(radius - 0.5 * waist, 0)
            z = -thick * (1.15 - 1.1 * radius) * np.sqrt(max(1 - (radius / 0.52) ** 2, 0.05))
            size = 0.026 * (1.15 - 1.3 * radius)
            parts.append(sphere(knob, size, 8).moved(radius * np.sin(angle), radius * np.cos(angle), z))
    return parts


FAMILY = Family("starfish", 327, "n02317335", None, build)
