"""Sombrero: a tall crown over a wide upturned brim, woven and striped."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.curves import spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker
from synthetic.shapes.parts import Part, lathe, sphere, torus

STRAWS = ("#e3c07a", "#d9a94f", "#efd9a3", "#c8382e", "#24262a", "#8a4a2a", "#f1e6c8", "#2f6b5a")
TRIMS = ("#c8382e", "#2f62a3", "#2f7d4f", "#f2b631", "#f4f1e8", "#8a2f6a", "#e2733b", "#24262a")


def build(draw: Draw) -> list[Part]:
    """Parts of one hat, its brim about 1 unit across."""
    brim = draw.uniform("brim_radius", 0.46, 0.56)
    crown = draw.uniform("crown_radius", 0.16, 0.21)
    tall = draw.uniform("crown_height", 0.34, 0.5)
    curl = draw.uniform("curl", 0.05, 0.12)
    tip = draw.uniform("tip_radius", 0.35, 0.7) * crown
    straw = draw.colour("straw", STRAWS)
    trims = [draw.colour(f"trim{k}", TRIMS) for k in range(3)]
    dip = draw.uniform("dip", 0.03, 0.07)
    outside = [
        (brim, curl),
        (brim - 0.02, curl + 0.018),
        (0.86 * brim, 0.55 * curl - 0.2 * dip),
        (0.62 * brim, -0.3 * dip + 0.02),
        (crown + 0.05, 0.02),
        (crown, 0.07),
        (0.5 * (crown + tip) + 0.01, 0.55 * tall),
        (tip, 0.9 * tall),
        (0.6 * tip, tall),
        (0, tall - 0.01),
    ]
    upper = spline(outside, 44)
    inside = np.where(upper[:, 0] > crown + 0.03, upper[:, 0] + 0.004, 0.95 * upper[:, 0])
    lower = np.stack([inside, upper[:, 1] - 0.022], axis=1)[::-1]
    profile = np.concatenate([lower, upper])
    cloth = Material("straw", straw, _weave(draw, straw, trims), gloss=0.1)
    # the underside lies at texture row 0, the upper side runs from 0.05 at the edge to 1 at the tip
    parts = [lathe(cloth, profile, 48, v=np.concatenate([np.zeros(44), np.linspace(0.05, 1.0, 44)]))]
    band = Material("band", trims[0], gloss=0.2)
    parts.append(torus(band, crown + 0.004, 0.02, 48, 10).scaled(1, 1.6, 1).moved(y=0.085))
    if draw.chance("pompons", 0.5):
        ball = Material("pompon", trims[1], gloss=0.05)
        count = draw.integer("pompon_count", 12, 24)
        for angle in 2 * np.pi * np.arange(count) / count:
            parts.append(sphere(ball, 0.024, 10).moved(-brim * np.sin(angle), curl, -brim * np.cos(angle)))
    return parts


def _weave(draw: Draw, straw: Colour, trims: list[Colour]) -> Texture:
    """Rings on the brim and on the crown, the underside a little darker."""
    bands: list[tuple[float, Colour]] = [
        (0.04, darker(straw, 0.12)),
        (draw.uniform("edge", 0.09, 0.14), trims[1]),
    ]
    kind = draw.choice("rings", ["few", "many", "zigzag"])
    if kind == "few":
        bands += [(0.24, straw), (0.29, trims[2]), (0.32, straw), (0.35, trims[0])]
    if kind == "many":
        colours = [straw, trims[0], straw, trims[2], straw, trims[1]]
        bands += [(0.16 + 0.045 * k, colours[k % 6]) for k in range(9)]
    bands += [(0.78, straw), (0.83, trims[2]), (1.0, straw)]
    image = textures.rows(bands)
    if kind != "zigzag":
        return image
    wide = np.repeat(image[:, :1], 256, axis=1)
    v, u = np.mgrid[1:0:256j, 0:24:256j]
    tooth = 0.1 * np.abs(u % 1 - 0.5)
    wide[np.abs(v - 0.25 - tooth) < 0.022] = np.round(255 * np.array(trims[0]))
    wide[np.abs(v - 0.33 - tooth) < 0.014] = np.round(255 * np.array(trims[2]))
    return wide


FAMILY = Family("sombrero", 808, "n04259630", None, build)
