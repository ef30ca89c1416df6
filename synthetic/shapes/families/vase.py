"""Vase: a turned vessel of many outlines, sometimes fluted or twisted, glazed plain, banded or chequered."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes import textures
from synthetic.shapes.components.vessels import vessel
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker
from synthetic.shapes.palettes import CLAYS, GLAZES
from synthetic.shapes.parts import Part

OUTLINES = {  # (radius as a share of the width, height as a share of the whole)
    "amphora": [
        (0.42, 0),
        (0.5, 0.05),
        (0.8, 0.3),
        (1.0, 0.58),
        (0.8, 0.78),
        (0.42, 0.88),
        (0.4, 0.93),
        (0.6, 1),
    ],
    "bottle": [(0.55, 0), (0.85, 0.1), (1.0, 0.28), (0.8, 0.46), (0.36, 0.6), (0.28, 0.8), (0.4, 1)],
    "trumpet": [(0.5, 0), (0.42, 0.08), (0.34, 0.3), (0.42, 0.6), (0.62, 0.85), (1.0, 1)],
    "ginger": [(0.55, 0), (0.62, 0.1), (0.9, 0.45), (1.0, 0.68), (0.85, 0.86), (0.5, 0.94), (0.52, 1)],
    "ball": [(0.45, 0), (0.8, 0.12), (1.0, 0.4), (0.85, 0.66), (0.45, 0.82), (0.42, 0.9), (0.6, 1)],
    "tulip": [(0.5, 0), (0.75, 0.12), (0.95, 0.36), (0.8, 0.62), (0.7, 0.78), (0.9, 1)],
}


def build(draw: Draw) -> list[Part]:
    """Parts of one vase, 1 unit high."""
    kind = draw.choice("outline", sorted(OUTLINES))
    radius = draw.uniform("radius", 0.24, 0.36)
    shape = np.array(OUTLINES[kind])
    shape[1:-1, 0] *= 1 + draw.uniform("belly", -0.08, 0.1)
    wall = spline(shape * [radius, 1], 36)
    glaze = draw.colour("glaze", (*GLAZES, *CLAYS, "#e9e4da", "#1f4e79"))
    china = Material("glaze", glaze, _decor(draw, glaze), gloss=0.6)
    body = vessel(china, wall, 0.022, 60)
    if draw.chance("fluted", 0.35):
        count, depth = draw.integer("flutes", 8, 16), draw.uniform("flute_depth", 0.02, 0.045)
        twist = draw.choice("twist", [0.0, 0.0, 2.5, -2.5])
        body = body.warped(lambda v: _fluted(v, count, depth, twist))
    return [body]


def _fluted(v: NDArray[np.float64], count: int, depth: float, twist: float) -> NDArray[np.float64]:
    """Ribs around the wall, fading out towards foot and rim."""
    angle = np.arctan2(v[:, 0], v[:, 2]) + twist * v[:, 1]
    fade = np.clip(4 * v[:, 1] * (1 - v[:, 1]), 0, 1)
    factor = 1 + depth * fade * np.cos(count * angle)
    return np.asarray(v * np.stack([factor, np.ones_like(factor), factor], axis=1))


def _decor(draw: Draw, glaze: Colour) -> Texture:
    """Pattern of the outside; the inside is a darker glaze."""
    second = draw.colour(
        "second", ("#f4f1e8", "#1f4e79", "#c9a24a", "#7a2f2a", "#24302c", "#e2a33b", "#2f7d6a")
    )
    kind = draw.choice("decor", ["plain", "bands", "rings", "checks", "stripes", "dipped"])
    outside = textures.plain(glaze)
    at = draw.uniform("decor_at", 0.25, 0.6)
    if kind == "bands":
        outside = textures.rows(
            [(at, glaze), (at + 0.05, second), (at + 0.18, glaze), (at + 0.23, second), (1, glaze)]
        )
    if kind == "rings":
        edges = np.linspace(0.06, 1, 2 * draw.integer("rings", 4, 7))
        outside = textures.rows([(e, (glaze, second)[k % 2]) for k, e in enumerate(edges)])
    if kind == "checks":
        outside = textures.checks(glaze, second, 2 * draw.integer("checks", 5, 8), 10)
    if kind == "stripes":
        outside = textures.columns([glaze, second], draw.integer("stripes", 6, 12))
    if kind == "dipped":
        outside = textures.rows([(at, second), (1, glaze)])
    return textures.stacked(outside, textures.plain(darker(glaze, 0.35)))


FAMILY = Family("vase", 883, "n04522168", "03593526", build)
