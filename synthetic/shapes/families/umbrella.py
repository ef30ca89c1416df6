"""Umbrella: an open canopy of panels over ribs, a shaft and a crook handle that bends towards +X."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.curves import in_plane, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker
from synthetic.shapes.palettes import METALS, PAINTS, WOODS
from synthetic.shapes.parts import Part, bar, lathe, sphere, tube


def build(draw: Draw) -> list[Part]:
    """Parts of one umbrella, about 1 unit high."""
    radius = draw.uniform("radius", 0.48, 0.62)
    rise = draw.uniform("rise", 0.22, 0.36)
    ribs = draw.integer("ribs", 6, 10)
    cloth_colour = draw.colour("cloth", (*PAINTS, "#e98aa5", "#1f2a44", "#57b8c9"))
    cloth = Material("cloth", cloth_colour, _pattern(draw, cloth_colour, ribs), gloss=0.15)
    outside = spline([(0, rise), (0.3 * radius, 0.93 * rise), (0.7 * radius, 0.58 * rise), (radius, 0)], 14)
    profile = np.concatenate([outside, (outside * [0.985, 1] - [0, 0.016])[::-1]])
    rows = np.concatenate([np.linspace(1, 0, 14), np.linspace(0, 1, 14)])
    sag = draw.uniform("sag", 0.05, 0.1)
    canopy = lathe(cloth, profile, 12 * ribs, v=rows).warped(lambda v: _scallop(v, ribs, radius, sag))
    metal = Material("metal", draw.colour("metal", METALS), gloss=0.6)
    length = draw.uniform("shaft", 0.62, 0.8)
    parts = [canopy.moved(y=length), bar(metal, (0, 0.02, 0), (0, length + rise, 0), 0.012, 10)]
    parts += [bar(metal, (0, length + rise - 0.02, 0), (0, length + rise + 0.07, 0), 0.014, 10)]
    parts += [sphere(metal, 0.018, 10).moved(y=length + rise + 0.07)]
    hub = 0.35 * rise + length - 0.1
    for angle in 2 * np.pi * np.arange(ribs) / ribs:
        reach = 0.62 * radius
        end = (-reach * np.sin(angle), length + 0.6 * rise - 0.02, -reach * np.cos(angle))
        parts.append(bar(metal, (0, hub, 0), end, 0.006, 6))
    return parts + _handle(draw)


def _scallop(v: NDArray[np.float64], ribs: int, radius: float, sag: float) -> NDArray[np.float64]:
    """Cloth hanging between ribs that stand at angles 0, 2 pi / ribs, ... from the front."""
    angle = np.arctan2(v[:, 0], v[:, 2]) + np.pi
    out = np.hypot(v[:, 0], v[:, 2]) / radius
    between = np.abs(np.sin(0.5 * ribs * angle))
    shrink = 1 - sag * between * out**2
    return np.stack(
        [v[:, 0] * shrink, v[:, 1] - 0.35 * sag * radius * between * out, v[:, 2] * shrink], axis=1
    )


def _pattern(draw: Draw, first: Colour, ribs: int) -> Texture:
    """One colour, alternating panels, rings or spots."""
    second = draw.colour("second", ("#f4f1e8", "#f0b429", "#1f2a44", "#d8452f", "#57b8c9"))
    kinds = ["plain", "border", "spots"] + (["panels", "panels"] if ribs % 2 == 0 else ["rings"])
    kind = draw.choice("pattern", kinds)
    if kind == "panels":
        return textures.columns([first, second], ribs // 2)
    if kind == "border":
        return textures.rows([(0.16, second), (1, first)])
    if kind == "rings":
        return textures.rows([(0.25, first), (0.5, second), (0.75, first), (1, second)])
    return (
        textures.dots(first, second, 2 * ribs, 6)
        if kind == "spots"
        else textures.columns([first, darker(first, 0.06)], ribs)
    )


def _handle(draw: Draw) -> list[Part]:
    """A wooden crook, or a straight grip."""
    tone = draw.colour("handle", (*WOODS, "#24262a"))
    grip = Material("handle", tone, gloss=0.5)
    if draw.chance("straight", 0.25):
        return [bar(grip, (0, -0.1, 0), (0, 0.1, 0), 0.026, 14), sphere(grip, 0.032, 14).moved(y=-0.1)]
    bend = draw.uniform("crook", 0.055, 0.08)
    angle = np.linspace(np.pi, 2.15 * np.pi, 16)
    bow = np.stack([bend + bend * np.cos(angle), bend * np.sin(angle) - 0.06], axis=1)
    path = np.concatenate([[(0, 0.12), (0, 0.03)], bow])
    return [tube(grip, in_plane(path, "xy"), 0.021, 12, round_ends=True)]


FAMILY = Family("umbrella", 879, "n04507155", None, build)
