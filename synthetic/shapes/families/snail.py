"""Snail: seen from its side, crawling towards +X, a coiled shell on its back."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import circle, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter
from synthetic.shapes.parts import Part, sphere, sweep, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one snail about 1.2 units long."""
    flesh = draw.colour("flesh", ("#b99a6b", "#a3855f", "#c9b08a", "#8a7560", "#7a6a5f"))
    shell = draw.colour("shell", ("#a8622e", "#c98a4a", "#8a4a26", "#d9b06a", "#b5542e", "#9a7a4a"))
    size = draw.uniform("shell_size", 0.88, 1.1)
    parts = _body(draw, flesh)
    coil = _shell(draw, shell).scaled(size, size, size).turned("z", draw.uniform("shell_tilt", -0.25, 0.15))
    return [*parts, coil.moved(-0.1, 0.1 + 0.34 * size, 0.0)]


def _body(draw: Draw, flesh: Colour) -> list[Part]:
    """Foot, raised neck and two pairs of feelers."""
    cloud = textures.noise(draw.rng, (64, 64), (2.0, 2.5))
    skin = Material(
        "flesh", flesh, textures.ramp(cloud, darker(flesh, 0.22), lighter(flesh, 0.14)), gloss=0.5
    )
    reach, lift = draw.uniform("reach", 0.5, 0.6), draw.uniform("lift", 0.22, 0.34)
    line = [
        (-0.72, 0.02),
        (-0.5, 0.055),
        (-0.1, 0.09),
        (0.22, 0.09),
        (reach - 0.1, 0.16),
        (reach, lift),
        (reach + 0.06, lift + 0.05),
    ]
    path = spline(np.column_stack([np.array(line), np.zeros(7)]), 26)
    size = np.interp(np.linspace(0, 1, 26), [0, 0.2, 0.5, 0.75, 0.92, 1], [0.1, 0.6, 1.0, 0.9, 0.75, 0.35])
    parts = [sweep(skin, path, superellipse(0.27, 0.2, 2.2, 18), size, up=(0, 1, 0))]
    dark = Material("eye", from_hex("#211d1a"), gloss=0.8)
    spread, tall = draw.uniform("feeler_spread", 0.06, 0.12), draw.uniform("feelers", 0.2, 0.3)
    for side in (-1, 1):
        root = np.array([reach + 0.03, lift + 0.04, 0.035 * side])
        tip = root + np.array([0.09, tall, spread * side])
        parts += [
            tube(skin, spline([root, (root + tip) / 2 + [0.02, -0.01, 0], tip], 7), 0.02, 8),
            sphere(dark, 0.03, 10).moved(*tip),
        ]
        low = root + np.array([0.0, -0.07, 0.0])
        parts.append(
            tube(skin, np.stack([low, low + np.array([0.1, 0.0, 0.03 * side])]), 0.014, 8, round_ends=True)
        )
    return parts


def _shell(draw: Draw, colour: Colour) -> Part:
    """A tube that winds inwards and to the front as it narrows, its mouth below the front edge."""
    turns, shrink = draw.uniform("turns", 2.6, 3.2), draw.uniform("shrink", 0.5, 0.58)
    t = np.linspace(0, turns, 72)
    radius = 0.36 * shrink**t
    tube_radius = np.minimum(0.62 * radius * (1 - shrink * 0.35), 0.2)
    angle = -0.9 + 2 * np.pi * t
    rise = draw.uniform("rise", 0.1, 0.22)
    middle = radius - 0.5 * tube_radius
    path = np.stack([middle * np.cos(angle), middle * np.sin(angle), -rise * (1 - shrink**t)], axis=1)
    part = sweep(Material("shell", colour), path, circle(1.0, 18), tube_radius, up=(0, 0, 1))
    image = _bands(draw, colour)
    uv = part.uv.copy()
    uv[: -2 * 18, :, 0] /= 2.0
    return Part(Material("shell", colour, image, gloss=0.6), part.vertices, part.faces, uv)


def _bands(draw: Draw, colour: Colour) -> Texture:
    """Stripes along the coil crossed by growth lines."""
    second = draw.colour("bands", ("#f1dfb8", "#5a3018", "#f4ead2", "#3f2a1c"))
    _, v = textures.places(128, 256)
    stripe = np.abs((v * draw.choice("band_count", [2, 3, 4]) + 0.25) % 1 - 0.5) < draw.uniform(
        "band_width", 0.08, 0.2
    )
    lines = textures.noise(draw.rng, (128, 256), (20.0, 1.2))[..., None]
    image = np.where(stripe[..., None], second, colour) * (0.8 + 0.3 * lines)
    return textures.painted(image)


FAMILY = Family("snail", 113, "n01944390", None, build)
