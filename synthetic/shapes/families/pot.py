"""Pot: a flowerpot with earth and a plant, which may be leafy, a cactus, a clipped ball or a flower."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GOLDEN_ANGLE, GREENS, leaf
from synthetic.shapes.components.vessels import radius_at, vessel
from synthetic.shapes.curves import circle, in_plane, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, darker, from_hex
from synthetic.shapes.palettes import CLAYS, GLAZES
from synthetic.shapes.parts import Part, bar, lathe, sphere, sweep


def build(draw: Draw) -> list[Part]:
    """Parts of one potted plant, the pot about 0.5 units high."""
    height = draw.uniform("height", 0.38, 0.55)
    top = draw.uniform("top_radius", 0.26, 0.34)
    bottom = top * draw.uniform("taper", 0.62, 0.85)
    wall = [(0.92 * bottom, 0), (bottom, 0.015), (top - 0.03, 0.76 * height)]
    if draw.chance("collar", 0.7):
        wall += [(top - 0.028, 0.78 * height), (top + 0.005, 0.79 * height), (top + 0.012, 0.81 * height)]
    wall += [(top + 0.01, height)]
    tint = draw.colour("clay", (*CLAYS, *CLAYS, *GLAZES[:6]))
    image = textures.speckle(draw.rng, tint, 0.1)
    if draw.chance("painted", 0.3):
        second = draw.colour("paint", ("#f4f1e8", "#2f6db5", "#3a8f5c", "#f0b429"))
        at = draw.uniform("paint_at", 0.2, 0.5)
        image = textures.stacked(
            textures.rows([(at, tint), (at + 0.25, second), (1, tint)]), textures.plain(tint)
        )
    pot = vessel(Material("clay", tint, image, gloss=0.1), np.array(wall), 0.03, 44)
    level = 0.9 * height
    earth_colour = from_hex("#4a3222")
    earth = Material("earth", earth_colour, textures.speckle(draw.rng, earth_colour, 0.3), gloss=0.0)
    radius = radius_at(wall, level) - 0.015
    parts = [pot, lathe(earth, [(radius, level - 0.05), (radius, level), (0, level + 0.02)], 32)]
    kind = draw.choice("plant", ["leaves", "leaves", "cactus", "ball", "flower"])
    grow = {"leaves": _leaves, "cactus": _cactus, "ball": _ball, "flower": _flower}[kind]
    return parts + [part.moved(y=level) for part in grow(draw)]


def _leaves(draw: Draw) -> list[Part]:
    """A rosette of leaves in two tones."""
    tones = [Material(f"leaf{k}", draw.colour(f"leaf{k}", GREENS), gloss=0.25) for k in range(2)]
    count = draw.integer("leaves", 9, 16)
    length, width = draw.uniform("leaf_length", 0.45, 0.75), draw.uniform("leaf_width", 0.1, 0.2)
    arch = draw.uniform("leaf_arch", 0.5, 1.7)
    parts = []
    for k in range(count):
        bearing = GOLDEN_ANGLE * k
        tilt = 1.5 - 0.75 * (k / count) + draw.rng.uniform(-0.1, 0.1)
        size = draw.rng.uniform(0.8, 1.1)
        parts.append(
            leaf(tones[k % 2], size * length, width, arch * draw.rng.uniform(0.7, 1.2), bearing, tilt)
        )
    return [part.moved(y=-0.02) for part in parts]


def _cactus(draw: Draw) -> list[Part]:
    """A ribbed column, perhaps with arms, perhaps in bloom."""
    green = draw.colour("leaf", GREENS)
    ribs = draw.integer("ribs", 8, 13)
    skin = Material("cactus", green, textures.columns([green, darker(green, 0.28)], ribs), gloss=0.2)
    tall, wide = draw.uniform("cactus_height", 0.32, 0.7), draw.uniform("cactus_radius", 0.12, 0.18)
    outline = spline(
        [
            (0.8 * wide, -0.03),
            (wide, 0.3 * tall),
            (0.95 * wide, 0.75 * tall),
            (0.55 * wide, 0.95 * tall),
            (0, tall),
        ],
        20,
    )
    parts = [lathe(skin, outline, 48)]
    for k in range(draw.integer("arms", 0, 2)):
        side = 1 - 2 * k
        y = draw.uniform(f"arm{k}", 0.3, 0.5) * tall
        curve = spline(
            [
                (0.7 * wide * side, y),
                ((wide + 0.1) * side, y + 0.02),
                ((wide + 0.15) * side, y + 0.1),
                ((wide + 0.15) * side, y + 0.26),
            ],
            16,
        )
        scale = np.concatenate([np.ones(13), [0.9, 0.7, 0.3]])
        parts.append(sweep(skin, in_plane(curve, "xy"), circle(0.065, 14), scale))
    if draw.chance("bloom", 0.5):
        bloom = Material("bloom", draw.colour("bloom_colour", ("#e94f7d", "#f2b631", "#f5f0ee")), gloss=0.2)
        parts.append(sphere(bloom, 0.05, 12).moved(y=tall))
    return parts


def _ball(draw: Draw) -> list[Part]:
    """A clipped bush on a stem."""
    green = draw.colour("leaf", GREENS)
    foliage = Material("leaves", green, textures.speckle(draw.rng, green, 0.35), gloss=0.05)
    radius = draw.uniform("ball_radius", 0.24, 0.34)
    stem = draw.uniform("stem", 0.0, 0.3)
    bark = Material("bark", (0.36, 0.25, 0.17), gloss=0.05)
    bumps = draw.rng.uniform(-1, 1, (40, 3))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    ball = sphere(foliage, radius, 32).warped(
        lambda v: v * (1 + 0.07 * np.cos(9 * (v / radius) @ bumps.T).mean(axis=1, keepdims=True) * 3)
    )
    return [bar(bark, (0, -0.02, 0), (0, stem + 0.1, 0), 0.028, 10), ball.moved(y=stem + 0.9 * radius)]


def _flower(draw: Draw) -> list[Part]:
    """A few stems with round flower heads among leaves."""
    green = Material("leaf", draw.colour("leaf", GREENS), gloss=0.2)
    petal = Material(
        "petal",
        draw.colour("petal", ("#e94f7d", "#f2b631", "#d8382e", "#f4efe6", "#8a5fb0", "#f08a3c")),
        gloss=0.15,
    )
    heart = Material("heart", draw.colour("heart", ("#f2c531", "#6b4226")), gloss=0.1)
    parts = [leaf(green, 0.35, 0.14, 1.2, 2.4 * k + 0.5, 1.2) for k in range(6)]
    count = draw.integer("flowers", 1, 3)
    for k in range(count):
        lean = (0.22 * (k - (count - 1) / 2), draw.uniform(f"flower{k}", 0.42, 0.72), -0.04)
        parts.append(bar(green.__class__("stem", green.colour), (0, -0.02, 0), lean, 0.014, 8))
        head = [sphere(heart, 0.05, 14).scaled(1, 1, 0.6)]
        for angle in 2 * np.pi * np.arange(8) / 8:
            head.append(sphere(petal, 0.052, 12).scaled(1.25, 0.8, 0.35).moved(x=0.09).turned("z", angle))
        parts += [part.turned("x", 0.3).moved(lean[0], lean[1], lean[2] - 0.02) for part in head]
    return parts


FAMILY = Family("pot", 738, "n03991062", "03991062", build)
