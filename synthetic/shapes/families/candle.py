"""Candle: wax with drips, a wick and a flame, in a dish, on a stick or by itself."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import in_plane, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, lighter
from synthetic.shapes.parts import Part, bar, lathe, sphere, sweep

WAXES = ("#f4ead2", "#f7f3e8", "#c8382e", "#e7b7a5", "#6a8f6b", "#2f4f7a", "#e3b04b", "#7a3f6d")
HOLDERS = ("#b98a46", "#c9a24a", "#8f959c", "#3a3d42", "#6b4226", "#c4673e", "#2f6db5")


def build(draw: Draw) -> list[Part]:
    """Parts of one candle, about 1 unit high with its flame."""
    kind = draw.choice("kind", ["pillar", "taper", "dish"])
    low, high = {"pillar": (0.15, 0.22), "taper": (0.05, 0.07), "dish": (0.075, 0.11)}[kind]
    radius = draw.uniform("radius", low, high)
    height = draw.uniform("height", *{"pillar": (0.4, 0.7), "taper": (0.55, 0.8), "dish": (0.4, 0.6)}[kind])
    tint = draw.colour("wax", WAXES)
    wax = Material("wax", tint, _bands(draw, tint), gloss=0.3)
    base, holder = _holder(draw, kind, radius)
    hollow = 0.25 * radius
    profile = [
        (0.97 * radius, 0),
        (radius, 0.02),
        (0.97 * radius, height - 0.02),
        (0.9 * radius, height),
        (0.7 * radius, height - 0.3 * hollow),
        (0, height - 0.5 * hollow),
    ]
    top = base + height - 0.5 * hollow
    parts = [*holder, lathe(wax, profile, 32, v=[0, 0, 0.97, 1, 1, 1]).moved(y=base)]
    parts += _drips(draw, Material("drip", lighter(tint, 0.08), gloss=0.35), radius, base + height)
    return parts + _flame(draw, top)


def _bands(draw: Draw, tint: tuple[float, float, float]) -> Texture:
    """Plain wax, or wax with one or two coloured bands."""
    if not draw.chance("banded", 0.3):
        return textures.plain(tint)
    second = draw.colour("band", WAXES)
    low = draw.uniform("band_low", 0.15, 0.35)
    return textures.rows([(low, tint), (low + draw.uniform("band_width", 0.12, 0.3), second), (1, tint)])


def _drips(draw: Draw, wax: Material, radius: float, top: float) -> list[Part]:
    """Runs of wax down the side, each ending in a drop."""
    parts = []
    for _ in range(draw.integer("drips", 0, 5)):
        angle, length = draw.rng.uniform(0, 2 * np.pi), draw.rng.uniform(0.06, 0.24)
        x, z = 0.97 * radius * np.sin(angle), 0.97 * radius * np.cos(angle)
        thick = 0.014 + 0.05 * radius
        parts.append(bar(wax, (x, top - 0.005, z), (x, top - length, z), thick, 10))
        parts.append(sphere(wax, 1.35 * thick, 12).scaled(1, 1.4, 1).moved(x, top - length, z))
    return parts


def _flame(draw: Draw, top: float) -> list[Part]:
    """A wick and a two-toned, pointed flame."""
    tall = draw.uniform("flame_height", 0.15, 0.22)
    wick = bar(Material("wick", (0.12, 0.1, 0.09)), (0, top - 0.01, 0), (0, top + 0.06, 0), 0.009, 8)
    drop = np.array([(0, 0), (0.5, 0.08), (0.95, 0.25), (0.9, 0.42), (0.45, 0.72), (0.14, 0.92), (0, 1)])
    outline = spline(drop * [draw.uniform("flame_width", 0.045, 0.06), tall], 20)
    lean = draw.uniform("flame_lean", -0.15, 0.15)
    glow = [
        (0.14, (0.45, 0.55, 0.95)),
        (0.42, (1.0, 0.93, 0.55)),
        (0.75, (1.0, 0.78, 0.2)),
        (1, (1.0, 0.55, 0.12)),
    ]
    fire = Material("flame", (1.0, 0.8, 0.25), textures.rows(glow), gloss=0.0)
    flame = lathe(fire, outline, 20, v=outline[:, 1] / tall)
    flame = flame.warped(
        lambda v: v + np.stack([lean * v[:, 1] ** 2 / tall, 0 * v[:, 1], 0 * v[:, 1]], axis=1)
    )
    return [wick, flame.moved(y=top + 0.035)]


def _holder(draw: Draw, kind: str, radius: float) -> tuple[float, list[Part]]:
    """Height on which the candle stands, and what it stands on."""
    metal = Material("holder", draw.colour("holder", HOLDERS), gloss=0.6)
    if kind == "pillar":
        if not draw.chance("plate", 0.6):
            return 0.0, []
        wide = radius * draw.uniform("plate_radius", 1.25, 1.6)
        return 0.03, [lathe(metal, [(0.7 * wide, 0), (wide, 0.045), (wide, 0.06), (0.8 * wide, 0.035)], 36)]
    if kind == "dish":
        wide = draw.uniform("dish_radius", 0.22, 0.3)
        saucer = [
            (0.8 * wide, 0),
            (wide, 0.055),
            (wide + 0.012, 0.075),
            (wide - 0.015, 0.07),
            (0.75 * wide, 0.025),
        ]
        cup = [(radius + 0.025, 0.02), (radius + 0.02, 0.12), (radius + 0.03, 0.13), (radius - 0.02, 0.13)]
        loop = spline([(wide - 0.01, 0.05), (wide + 0.1, 0.1), (wide + 0.11, 0.03), (wide - 0.01, 0.045)], 16)
        handle = sweep(metal, in_plane(loop, "xy"), superellipse(0.05, 0.02, 3, 10), up=(0, 1, 0))
        return 0.04, [lathe(metal, saucer, 40), lathe(metal, cup, 28), handle]
    tall = draw.uniform("stick_height", 0.22, 0.42)
    foot = draw.uniform("foot_radius", 0.15, 0.2)
    knots = np.array(
        [
            (foot, 0),
            (foot, 0.03),
            (0.55 * foot, 0.07),
            (0.03, 0.13),
            (0.05, 0.45 * tall),
            (0.028, 0.65 * tall),
            (radius + 0.035, 0.9 * tall),
        ]
    )
    rim = [(radius + 0.04, tall + 0.02), (radius - 0.01, tall + 0.02)]
    return tall, [lathe(metal, np.concatenate([spline(knots, 30), rim]), 32)]


FAMILY = Family("candle", 470, "n02948072", None, build)
