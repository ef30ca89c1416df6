"""Cheeseburger: buns with sesame around lettuce, tomato, patties and cheese whose corners hang down."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.leaves import GOLDEN_ANGLE
from synthetic.shapes.curves import Points, arc, spline, superellipse
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Colour, Material, Texture, darker, from_hex, lighter
from synthetic.shapes.parts import Part, lathe, loft, sphere


def build(draw: Draw) -> list[Part]:
    """Parts of one burger of radius about 0.5, stacked from the bottom up."""
    crust = draw.colour("bun", ("#c9822e", "#b56f26", "#d6973f", "#a8622a"))
    radius = draw.uniform("radius", 0.46, 0.54)
    bake = Material("bun", crust, _crust(draw, crust), gloss=0.4)
    low = draw.uniform("bottom_bun", 0.1, 0.15)
    heel = spline([(0.85 * radius, 0), (0.98 * radius, 0.4 * low), (0.97 * radius, low)], 8)
    parts, y = [lathe(bake, heel, 44, v=np.linspace(0.5, 0.1, 8))], low
    layers = ["lettuce"] if draw.chance("lettuce_below", 0.4) else []
    layers += ["patty", "cheese"] * draw.integer("patties", 1, 2)
    layers += [name for name in ("tomato", "lettuce") if draw.chance(name, 0.75)]
    colours = {
        "patty": draw.colour("patty", ("#4f2a18", "#5a3220", "#43230f")),
        "cheese": draw.colour("cheese", ("#f5b81f", "#f2a71b", "#f7c63a")),
        "tomato": draw.colour("tomato_colour", ("#cf2a22", "#dc3d2a")),
        "lettuce": draw.colour("lettuce_colour", ("#7cb53a", "#8fc24a", "#62a034")),
    }
    waves = draw.integer("waves", 9, 13)
    for name in layers:
        filling = Material(name, colours[name], gloss=0.35)
        if name == "patty":
            part, rise = _patty(draw, colours[name], radius), 0.125
        elif name == "cheese":
            part, rise = _cheese(draw, filling, radius), 0.02
        elif name == "tomato":
            part, rise = lathe(filling, np.array([(0.97, 0), (1.0, 0.06), (0.97, 0.11)]) * radius, 40), 0.05
        else:
            part, rise = _lettuce(draw, filling, radius, waves), 0.03
        parts.append(part.moved(y=y))
        y += rise
    return parts + [part.moved(y=y) for part in _crown(draw, bake, radius)]


def _patty(draw: Draw, meat: Colour, radius: float) -> Part:
    """A coarse disc of meat with a round edge."""
    grain = textures.noise(draw.rng, (48, 128), (1.5, 1.5))
    image = textures.ramp(grain, darker(meat, 0.35), lighter(meat, 0.12))
    bow = arc(0.08, 0.07, -1.2, 1.2, 6) + np.array([radius - 0.05, 0.065])
    edge = np.concatenate([[(0.9 * radius, 0)], bow, [(0.9 * radius, 0.13)]])
    return lathe(Material("patty", meat, image, gloss=0.3), edge, 44)


def _lettuce(draw: Draw, green: Material, radius: float, waves: int) -> Part:
    """A leaf with a wavy rim that looks out between the buns."""
    phase = draw.rng.uniform(0, 6)
    inner, outer = 0.5 * radius, 1.13 * radius
    profile = [
        (inner, 0),
        (0.9 * radius, -0.005),
        (outer, -0.015),
        (outer, 0.01),
        (0.9 * radius, 0.03),
        (inner, 0.03),
    ]
    disc = lathe(green, profile, 6 * waves)

    def frill(v: Points) -> Points:
        """A rim that waves up and down."""
        angle, out = np.arctan2(v[:, 0], v[:, 2]), np.hypot(v[:, 0], v[:, 2]) / radius
        lift = 0.05 * np.sin(waves * angle + phase) * np.clip((out - 0.85) / 0.25, 0, 1)
        swell = 1 + 0.04 * np.sin(3 * angle + 2 * phase)
        return np.column_stack([v[:, 0] * swell, v[:, 1] + lift, v[:, 2] * swell])

    return disc.warped(frill)


def _cheese(draw: Draw, yellow: Material, radius: float) -> Part:
    """A square slice whose corners hang over the edge."""
    sizes = np.array([0.3, 0.7, 0.9, 1.0, 1.0, 0.9, 0.7, 0.3]) * 2 * 0.93 * radius
    heights = np.array([0, 0, 0, 0.004, 0.021, 0.025, 0.025, 0.025])
    rings = []
    for size, y in zip(sizes, heights, strict=True):
        loop = superellipse(size, size, 7, 48)
        rings.append(np.column_stack([loop[:, 0], np.full(48, y), loop[:, 1]]))
    turn = draw.rng.uniform(0.5, 1.1)

    def hang(v: Points) -> Points:
        """Corners fall where nothing is below them."""
        over = np.maximum(np.hypot(v[:, 0], v[:, 2]) - 0.96 * radius, 0)
        out = np.hypot(v[:, 0], v[:, 2])[:, None]
        pulled = v * np.minimum(1, (0.99 * radius + 0.35 * over)[:, None] / np.maximum(out, 1e-9))
        return np.column_stack([pulled[:, 0], v[:, 1] - 0.75 * over, pulled[:, 2]])

    return loft(yellow, rings).turned("y", turn).warped(hang)


def _crust(draw: Draw, crust: Colour) -> Texture:
    """Pale at the cut, brown on top."""
    _, v = textures.places(96, 64)
    cloud = textures.noise(draw.rng, (96, 64), (8.0, 8.0))
    return textures.ramp(np.clip(1.25 * (1 - v) ** 2 + 0.25 * cloud, 0, 1), crust, lighter(crust, 0.5))


def _crown(draw: Draw, bake: Material, radius: float) -> list[Part]:
    """The domed upper bun and its sesame."""
    rise = draw.uniform("top_bun", 0.26, 0.38)
    curve = spline(
        [
            (0.95 * radius, 0),
            (1.03 * radius, 0.12 * rise),
            (0.86 * radius, 0.62 * rise),
            (0.45 * radius, 0.94 * rise),
            (0, rise),
        ],
        18,
    )
    parts = [lathe(bake, curve, 44)]
    seed = Material("sesame", from_hex("#f3e3b8"), gloss=0.3)
    for k in range(draw.integer("sesame", 0, 46)):
        out = 0.8 * np.sqrt((k + 0.5) / 46) * radius
        angle = GOLDEN_ANGLE * k
        y = float(np.interp(out, curve[::-1, 0], curve[::-1, 1]))
        grain = sphere(seed, 0.02, 6).scaled(0.7, 0.6, 1.2).turned("y", 1.7 * k)
        parts.append(grain.moved(out * np.sin(angle), y + 0.004, out * np.cos(angle)))
    return parts


FAMILY = Family("cheeseburger", 933, "n07697313", None, build)
