"""Laptop: opened towards the front, keys and touch pad before a lit screen."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vehicles import board
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, from_hex, lighter
from synthetic.shapes.parts import Part, bar, box


def build(draw: Draw) -> list[Part]:
    """Parts of one laptop about 1 unit wide, its hinge along x at the origin."""
    wide, deep = draw.uniform("width", 0.92, 1.08), draw.uniform("depth", 0.62, 0.74)
    thick = draw.uniform("thickness", 0.035, 0.06)
    shell = Material(
        "case",
        draw.colour("case", ("#b7bcc2", "#2a2c30", "#d8d8d4", "#3b4048", "#c9a98a", "#8fa5b5", "#c86a7a")),
        gloss=0.5,
    )
    dark = draw.chance("dark_keys", 0.7)
    ink = draw.colour("keys", ("#24262a", "#2f3338") if dark else ("#e9e9e6", "#f4f3ee"))
    deck = board(
        Material("deck", ink, _keyboard(shell.colour, ink), gloss=0.3), 0.94 * wide, 0.9 * deep, 0.006
    )
    parts = [
        box(shell, (wide, thick, deep), (0, -thick / 2, -deep / 2), 0.012),
        deck.turned("x", np.pi / 2).moved(0, 0.001, -deep / 2),
    ]
    tall = draw.uniform("screen_height", 0.94, 1.02) * deep
    bezel = Material(
        "bezel",
        from_hex("#1d1e21") if draw.chance("dark_bezel", 0.7) else lighter(shell.colour, 0.2),
        gloss=0.4,
    )
    screen = Material("screen", (0.3, 0.4, 0.6), _desktop(draw), gloss=0.7)
    lid = [
        box(shell, (wide, tall, 0.03), (0, tall / 2, 0.016), 0.01),
        board(bezel, 0.97 * wide, 0.96 * tall, 0.01).moved(0, tall / 2, -0.001),
        board(screen, 0.9 * wide, 0.84 * tall, 0.012).moved(0, 0.52 * tall, -0.002),
    ]
    lean = draw.uniform("lean", 0.12, 0.42)
    parts += [part.turned("x", lean).moved(y=0.005) for part in lid]
    return [*parts, bar(bezel, (-0.4 * wide, 0, 0.005), (0.4 * wide, 0, 0.005), 0.018, 10)]


def _keyboard(case: Colour, ink: Colour) -> Texture:
    """Keys in rows, a wide space bar, a touch pad nearest to the user (the image's lower edge)."""
    image = np.broadcast_to(case, (160, 240, 3)).copy()
    for row in range(5):
        y = 10 + 18 * row
        columns = 14
        for column in range(columns):
            x = 12 + int(216 / columns * column)
            image[y : y + 14, x : x + 13] = ink
    image[82:96, 74:166] = ink
    image[108:150, 78:162] = lighter(case, 0.25) if sum(case) < 1.2 else 0.86 * np.array(case)
    return textures.painted(image)


def _desktop(draw: Draw) -> Texture:
    """A wallpaper with a window, a text page or plain glow."""
    u, v = textures.places(120, 180)
    first = np.array(
        draw.colour("wallpaper", ("#3f7fc9", "#57a86b", "#7a5ab5", "#e0803a", "#2f9aa8", "#d85a7a"))
    )
    kind = draw.choice("desktop", ["waves", "window", "page"])
    image = first * (0.75 + 0.35 * v[..., None])
    wave = v < 0.4 + 0.12 * np.sin(5 * u + 1)
    image[wave] = image[wave] * 0.8 + 0.15
    if kind == "window":
        image[30:86, 34:128] = 0.97
        image[30:40, 34:128] = from_hex("#c9ced4")
        for k in range(5):
            image[47 + 7 * k : 50 + 7 * k, 42 : 118 - 9 * (k % 3)] = 0.6
    if kind == "page":
        image[:] = 0.96
        image[:14] = first
        for k in range(10):
            image[24 + 9 * k : 28 + 9 * k, 20 : 160 - int(draw.rng.integers(0, 50))] = 0.45
    image[112:120] = from_hex("#23262b")
    return textures.painted(image)


FAMILY = Family("laptop", 620, "n03642806", "03642806", build)
