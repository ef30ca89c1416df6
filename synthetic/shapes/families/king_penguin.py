"""King penguin: upright, slate back and white front, orange at the ears and the throat."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import in_plane, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex, lighter
from synthetic.shapes.parts import Part, lathe, sphere, sweep


def build(draw: Draw) -> list[Part]:
    """Parts of one bird about 1.1 units high."""
    tall, wide = draw.uniform("height", 0.78, 0.92), draw.uniform("girth", 0.2, 0.25)
    coat = draw.colour("coat", ("#3c4450", "#4a5460", "#2c323b", "#555f6b"))
    belly = draw.colour("belly", ("#f6f4ee", "#f2eee2", "#faf9f5"))
    gold = draw.colour("gold", ("#f2a01f", "#f5b52a", "#ee8a1a"))
    outline = [
        (0, 0),
        (0.62 * wide, 0.01),
        (0.95 * wide, 0.18),
        (wide, 0.36),
        (0.86 * wide, 0.62),
        (0.5 * wide, 0.84),
        (0.4 * wide, 0.93),
        (0, 1),
    ]
    curve = spline(np.array(outline) * [1, tall], 40)
    skin = Material("plumage", coat, _plumage(draw, coat, belly, gold), gloss=0.25)
    body = lathe(skin, curve, 48, v=curve[:, 1] / tall).scaled(1, 1, draw.uniform("depth", 0.9, 1.02))
    parts = [body, *_flippers(draw, coat, wide, tall), *_feet(draw, wide)]
    look = draw.uniform("look", -0.7, 0.7)
    return parts + [
        part.turned("y", look).moved(y=0.99 * tall, z=-0.01) for part in _head(draw, coat, gold, wide)
    ]


def _plumage(draw: Draw, coat: Colour, belly: Colour, gold: Colour) -> Texture:
    """Back and front with a dark line between, the chest turning gold towards the throat."""
    u, v = textures.places(128, 192)
    side = np.abs(u - 0.5)
    edge = draw.uniform("front_width", 0.19, 0.24) * np.interp(
        v, [0, 0.15, 0.6, 0.85, 1], [0.8, 1, 1, 0.75, 0.6]
    )
    warm = np.clip((v - draw.uniform("gold_from", 0.6, 0.7)) / 0.25, 0, 1)[..., None]
    image = np.where((side < edge)[..., None], (1 - warm) * np.array(belly) + warm * np.array(gold), coat)
    image[np.abs(side - edge) < 0.014] = from_hex("#1b1d21")
    return textures.painted(image)


def _flippers(draw: Draw, coat: Colour, wide: float, tall: float) -> list[Part]:
    """Long flat wings hanging at the sides."""
    skin, open_by = Material("flipper", coat, gloss=0.25), draw.uniform("flipper_open", 0.12, 0.55)
    long = draw.uniform("flipper_length", 0.44, 0.54) * tall
    t = np.linspace(0, 1, 12)
    size = np.interp(t, [0, 0.15, 0.6, 1], [0.55, 1.0, 0.9, 0.2])
    path = np.stack([0.07 * np.sin(np.pi * t), -long * t, 0 * t], axis=1)
    wing = sweep(skin, path, superellipse(0.05, 0.16, 2, 12), size, up=(0, 0, 1))
    shoulder = (0.8 * wide, 0.68 * tall, 0.02)
    right = wing.turned("z", open_by).moved(*shoulder)
    mirrored = sweep(skin, path * [-1, 1, 1], superellipse(0.05, 0.16, 2, 12), size, up=(0, 0, 1))
    return [right, mirrored.turned("z", -open_by).moved(-shoulder[0], *shoulder[1:])]


def _feet(draw: Draw, wide: float) -> list[Part]:
    """Dark webbed feet."""
    skin = Material("foot", draw.colour("foot", ("#2a2c30", "#3a3634")), gloss=0.2)
    return [
        sphere(skin, 0.5, 14)
        .scaled(0.14, 0.05, 0.22)
        .turned("y", 0.25 * s)
        .moved(0.42 * s * wide, 0.005, -0.55 * wide)
        for s in (-1, 1)
    ]


def _head(draw: Draw, coat: Colour, gold: Colour, wide: float) -> list[Part]:
    """Black head, orange ear patches, a long bill."""
    black = Material("head", draw.colour("hood", ("#1c1e22", "#24272c")), gloss=0.35)
    size = draw.uniform("head", 0.105, 0.125)
    parts = [sphere(black, size, 26).scaled(0.92, 1.05, 1.08)]
    bill = spline([(-0.6 * size, 0.0), (-1.6 * size, 0.01), (-2.5 * size, -0.045)], 10)
    taper = np.linspace(1, 0.12, 10)
    parts.append(sweep(black, in_plane(bill, "zy"), superellipse(0.07, 0.065, 2, 12), taper, up=(0, 1, 0)))
    stripe = Material("bill_stripe", lighter(gold, 0.05), gloss=0.4)
    lower = spline([(-0.9 * size, -0.022), (-1.5 * size, -0.014), (-2.1 * size, -0.034)], 8)
    parts.append(
        sweep(
            stripe,
            in_plane(lower, "zy"),
            superellipse(0.068, 0.035, 2, 12),
            np.linspace(0.9, 0.3, 8),
            up=(0, 1, 0),
        )
    )
    patch, white = Material("ear", gold, gloss=0.2), Material("eye", from_hex("#f4efe4"), gloss=0.8)
    pupil = Material("pupil", from_hex("#0f0f10"), gloss=0.9)
    for side in (-1, 1):
        parts.append(
            sphere(patch, size, 18)
            .scaled(0.34, 0.75, 0.5)
            .turned("x", 0.3)
            .moved(side * 0.72 * size, -0.22 * size, 0.1 * size)
        )
        parts.append(sphere(white, 0.02, 10).moved(side * 0.72 * size, 0.32 * size, -0.68 * size))
        parts.append(sphere(pupil, 0.014, 10).moved(side * 0.8 * size, 0.33 * size, -0.78 * size))
    return parts


FAMILY = Family("king penguin", 145, "n02056570", None, build)
