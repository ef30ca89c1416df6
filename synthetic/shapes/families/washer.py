"""Washer: a white box with a round glass door in front, a panel with a dial above it."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vehicles import board
from synthetic.shapes.curves import arc
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, darker, from_hex
from synthetic.shapes.parts import Part, box, cylinder, lathe, torus


def build(draw: Draw) -> list[Part]:
    """Parts of one machine about 0.85 units high, its front at negative z."""
    wide, tall, deep = (
        draw.uniform("width", 0.6, 0.7),
        draw.uniform("height", 0.8, 0.92),
        draw.uniform("depth", 0.52, 0.66),
    )
    tone = draw.colour("case", ("#f4f4f2", "#eef0f0", "#f7f7f5", "#d0d4d8", "#8f959c", "#3b4048", "#e9e0d0"))
    case, z = Material("case", tone, gloss=0.55), -deep / 2
    parts = [
        box(case, (wide, tall, deep), (0, tall / 2, 0), 0.015),
        box(Material("foot", from_hex("#2a2c30")), (0.92 * wide, 0.03, 0.9 * deep), (0, -0.012, 0)),
    ]
    panel = Material(
        "panel", darker(tone, 0.08) if draw.chance("pale_panel", 0.6) else from_hex("#2f3338"), gloss=0.4
    )
    high = draw.uniform("panel", 0.12, 0.16)
    y = tall - high / 2 - 0.015
    parts.append(box(panel, (0.97 * wide, high, 0.02), (0, y, z), 0.004))
    parts += _controls(draw, panel, wide, high, y, z)
    size = draw.uniform("door", 0.31, 0.37) * wide
    parts += [part.moved(0, 0.5 * (tall - high) - 0.0, z) for part in _door(draw, size)]
    parts.append(
        box(
            Material("flap", darker(tone, 0.06), gloss=0.5),
            (0.22 * wide, 0.05, 0.014),
            (-0.34 * wide, 0.06, z),
            0.004,
        )
    )
    return parts


def _controls(draw: Draw, panel: Material, wide: float, high: float, y: float, z: float) -> list[Part]:
    """Drawer, dial, buttons and display."""
    silver = Material("dial", draw.colour("dial", ("#c9ced4", "#f4f4f2", "#2a2c30")), gloss=0.7)
    display = Material("display", draw.colour("display", ("#1f2a30", "#24443a", "#2a3350")), gloss=0.8)
    drawer = box(
        Material("drawer", darker(panel.colour, 0.1), gloss=0.4),
        (0.28 * wide, 0.72 * high, 0.02),
        (0.33 * wide, y, z - 0.006),
        0.005,
    )
    dial_x = draw.choice("dial_at", [0.0, -0.36])
    parts = [
        drawer,
        cylinder(silver, 0.36 * high, 0.045, 0.01, 26).turned("x", -np.pi / 2).moved(dial_x * wide, y, z),
    ]
    other = -0.26 if dial_x == 0.0 else -0.1
    parts.append(
        box(display, (0.2 * wide, 0.45 * high, 0.02), (other * wide, y + 0.1 * high, z - 0.006), 0.003)
    )
    for k in range(draw.integer("buttons", 2, 4)):
        parts.append(
            cylinder(silver, 0.012, 0.02, 0.003, 12)
            .turned("x", -np.pi / 2)
            .moved((other + 0.08 - 0.06 * k) * wide, y - 0.28 * high, z - 0.002)
        )
    return parts


def _door(draw: Draw, size: float) -> list[Part]:
    """Ring, gasket, bulging glass with the drum or the laundry behind it, handle."""
    ring = Material("ring", draw.colour("ring", ("#c9ced4", "#8f959c", "#f4f4f2", "#2a2c30")), gloss=0.7)
    glass = Material("glass", (0.3, 0.35, 0.4), _laundry(draw), gloss=0.85)
    dome = np.concatenate([[(0.74 * size, -0.01)], arc(0.74 * size, 0.06, 0, np.pi / 2, 8)])
    frame = [
        (1.0 * size, 0),
        (1.0 * size, 0.03),
        (0.9 * size, 0.055),
        (0.78 * size, 0.05),
        (0.74 * size, 0.01),
    ]
    parts = [
        lathe(ring, frame, 44),
        torus(Material("gasket", from_hex("#3a3d42"), gloss=0.3), 0.75 * size, 0.018, 40, 8).moved(y=0.035),
        lathe(glass, dome, 40).moved(y=0.01),
    ]
    parts = [part.turned("x", -np.pi / 2) for part in parts]
    parts[2] = parts[2].draped()
    side = draw.choice("hinge", [-1, 1])
    return [
        *parts,
        board(Material("handle", darker(ring.colour, 0.25), gloss=0.5), 0.05, 0.13, 0.03).moved(
            side * 0.9 * size, 0, -0.055
        ),
    ]


def _laundry(draw: Draw) -> Texture:
    """A dark drum with holes, water and clothes in some."""
    u, v = textures.places(128, 128)
    x, y = 2 * u - 1, 2 * v - 1
    image = np.broadcast_to(from_hex("#39424a"), (128, 128, 3)) * (0.7 + 0.3 * v[..., None])
    holes = np.hypot((x * 7) % 1 - 0.5, (y * 7) % 1 - 0.5) < 0.22
    image[holes] *= 0.6
    if draw.chance("clothes", 0.5):
        for k in range(4):
            tint = draw.colour(
                f"cloth{k}", ("#c8382e", "#2f62a3", "#f0b429", "#f4f1e8", "#2f8f7a", "#e98aa5")
            )
            cx, cy = draw.rng.uniform(-0.5, 0.5), draw.rng.uniform(-0.7, -0.15)
            image[np.hypot((x - cx) / 0.45, (y - cy - 0.08 * np.sin(9 * x)) / 0.3) < 1] = tint
    image[np.abs(x + y - 0.75) < 0.1] = image[np.abs(x + y - 0.75) < 0.1] * 0.5 + 0.45
    return textures.painted(image)


FAMILY = Family("washer", 897, "n04554684", "04554684", build)
