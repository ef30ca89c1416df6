"""Wine bottle: dark glass, a foil on the neck and a paper label in front."""

import numpy as np

from synthetic.shapes.curves import rounded
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker
from synthetic.shapes.parts import Part, lathe, sweep

GLASS = ("#1f3d2b", "#2f5a3a", "#4a2a16", "#16261f", "#5d7a4a", "#c9d3b8", "#7a1f2b")
FOILS = ("#8e1b2a", "#1d1d20", "#c9a24a", "#21406b", "#e9e4d6", "#4b2e52")


def build(draw: Draw) -> list[Part]:
    """Parts of one bottle, about 1 unit high."""
    radius = draw.uniform("radius", 0.125, 0.16)
    neck = draw.uniform("neck_radius", 0.042, 0.05)
    shoulder = draw.uniform("shoulder", 0.5, 0.62)
    slope = draw.uniform("slope", 0.05, 0.26)  # small for Bordeaux, large for Burgundy and hock
    height = draw.uniform("height", 0.94, 1.06)
    corners = [
        (0.8 * radius, 0),
        (radius, 0.015),
        (radius, shoulder),
        (neck, shoulder + slope),
        (neck, height),
    ]
    wall = rounded(corners, [0.02, 0.06 + 0.5 * slope, 0.05 + 0.4 * slope], 8)
    glass = Material("glass", draw.colour("glass", GLASS), gloss=0.9)
    foil = Material("foil", draw.colour("foil", FOILS), gloss=0.5)
    start = max(draw.uniform("foil_start", 0.74, 0.84) * height, shoulder + slope - 0.02)
    sleeve = [(neck + 0.006, start), (neck + 0.005, height - 0.035), (neck + 0.012, height - 0.03)]
    sleeve += [(neck + 0.012, height - 0.005), (neck + 0.004, height + 0.006)]
    return [lathe(glass, wall, 40), lathe(foil, sleeve, 32), _label(draw, radius, shoulder)]


def _label(draw: Draw, radius: float, shoulder: float) -> Part:
    """Paper bent around the front of the body."""
    paper = draw.colour("paper", ("#f3ead2", "#f7f4ec", "#e8d9b5", "#1f1d1c", "#efe1c8"))
    ink = draw.colour("ink", ("#8e1b2a", "#21406b", "#c9a24a", "#2f5a3a", "#2a2622"))
    tall = draw.uniform("label_height", 0.2, 0.3)
    half = draw.uniform("label_angle", 0.9, 1.5)
    angle = np.linspace(-half, half, 17)
    middle = 0.12 + 0.45 * (shoulder - 0.15)
    path = np.stack([radius * np.sin(angle), np.full(17, middle), -radius * np.cos(angle)], axis=1)
    section = [(0.005, -tall / 2), (0.005, tall / 2), (-0.005, tall / 2), (-0.005, -tall / 2)]
    image = _print(draw, paper, ink)
    part = sweep(Material("label", paper, image, gloss=0.1), path, section, up=(0, 1, 0))
    share = part.vertices[part.faces]
    uv = np.stack(
        [0.5 - np.arctan2(share[..., 0], -share[..., 2]) / (2 * half), (share[..., 1] - middle) / tall + 0.5],
        -1,
    )
    return Part(part.material, part.vertices, part.faces, np.clip(uv, 0.01, 0.99))


def _print(draw: Draw, paper: Colour, ink: Colour) -> Texture:
    """A frame, a crest and a few lines of writing."""
    image = np.tile(np.round(255 * np.array(paper)), (96, 96, 1))
    stain = np.round(255 * np.array(ink))
    style = draw.choice("print", ["crest", "stripe", "frame"])
    if style == "stripe":
        image[58:80] = stain
    else:
        image[[4, 5, 90, 91], 4:92] = stain
        image[4:92, [4, 5, 90, 91]] = stain
    if style == "crest":
        y, x = np.mgrid[:96, :96]
        image[np.hypot(x - 47.5, y - 34) < 15] = stain
    for row, width in ((16, 30), (62, 26), (70, 20), (78, 24)):
        if style != "stripe" or row < 50:
            image[row : row + 3, 48 - width : 48 + width] = np.round(255 * np.array(darker(ink, 0.2)))
    return image.astype(np.uint8)


FAMILY = Family("wine bottle", 907, "n04591713", "02876657", build)
