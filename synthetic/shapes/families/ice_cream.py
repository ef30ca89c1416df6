"""Ice cream: scoops in a waffle cone or a cup, with sprinkles, sauce, a cherry or a wafer."""

import numpy as np

from synthetic.shapes import textures
from synthetic.shapes.components.vessels import vessel
from synthetic.shapes.curves import Points, arc, in_plane, spline
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, from_hex
from synthetic.shapes.parts import Part, bar, lathe, sphere, tube

FLAVOURS = (
    "#f6e7c1",
    "#f3a6bd",
    "#6b4028",
    "#b9dfb8",
    "#f7f1e6",
    "#f2c14e",
    "#e8607a",
    "#a8c8e8",
    "#c79a6b",
    "#b48ac9",
)
SPRINKLES = ("#e8402e", "#2f8fd0", "#f2c531", "#3a9f5c", "#8a5fb0")


def build(draw: Draw) -> list[Part]:
    """Parts of one ice cream, about 1.2 units high."""
    radius = draw.uniform("scoop_radius", 0.24, 0.3)
    kind = draw.choice("holder", ["cone", "cone", "cone", "cup"])
    rim, parts = _cone(draw, radius) if kind == "cone" else _cup(draw, radius)
    places = _places(draw, kind, radius, rim)
    for k, place in enumerate(places):
        flavour = draw.colour(f"flavour{k}", FLAVOURS)
        ice = Material(f"ice{k}", flavour, textures.speckle(draw.rng, flavour, 0.06), gloss=0.25)
        parts += [part.moved(*place) for part in _scoop(draw, ice, radius)]
    top = max(places, key=lambda place: place[1])
    return parts + [part.moved(*top) for part in _topping(draw, radius)]


def _cone(draw: Draw, radius: float) -> tuple[float, list[Part]]:
    """Height of the rim and a pointed waffle cone."""
    length = draw.uniform("cone_length", 0.6, 0.8)
    tint = draw.colour("waffle", ("#d79a4e", "#c98a45", "#e0ab62"))
    crust = Material("waffle", tint, textures.waffle(tint, 14, 8), gloss=0.15)
    wide = 0.96 * radius
    wall = np.array(
        [
            (0.028, 0.0),
            (0.045, 0.012),
            (wide, length),
            (wide + 0.025, length + 0.012),
            (wide + 0.025, length + 0.07),
        ]
    )
    return length + 0.05, [vessel(crust, wall, 0.03, 40)]


def _cup(draw: Draw, radius: float) -> tuple[float, list[Part]]:
    """Height of the rim and a paper or glass cup."""
    wide, height = 1.35 * radius, draw.uniform("cup_height", 0.34, 0.46)
    tint = draw.colour("cup", ("#f3a6bd", "#a8d8d8", "#f7f1e6", "#f2c14e", "#cfe3ea"))
    second = draw.colour("cup_second", ("#ffffff", "#e8607a", "#6b4028"))
    image = textures.stacked(textures.columns([tint, second], 10), textures.plain(tint))
    paper = Material(
        "cup", tint, image if draw.chance("cup_stripes", 0.6) else textures.plain(tint), gloss=0.3
    )
    wall = np.array([(0.66 * wide, 0), (0.68 * wide, 0.01), (wide, height), (wide + 0.012, height + 0.02)])
    return height, [vessel(paper, wall, 0.02, 40)]


def _places(draw: Draw, kind: str, radius: float, rim: float) -> list[tuple[float, float, float]]:
    """Centres of the scoops."""
    if kind == "cone":
        first = rim + 0.38 * radius
        return [(0.0, first + 1.25 * radius * k, 0.0) for k in range(draw.choice("scoops", [1, 2, 2, 3]))]
    base = rim + 0.3 * radius
    places = [
        (-0.45 * radius, base, -0.25 * radius),
        (0.5 * radius, base, -0.15 * radius),
        (0.0, base, 0.5 * radius),
    ]
    return places + ([(0.0, base + 0.85 * radius, 0.0)] if draw.chance("top_scoop", 0.5) else [])


def _scoop(draw: Draw, ice: Material, radius: float) -> list[Part]:
    """A ball with a ragged skirt."""
    waves = draw.rng.integers(5, 9)
    phase = draw.rng.uniform(0, 6.28)
    skirt = lathe(
        ice,
        spline(
            [
                (0.8 * radius, -0.3 * radius),
                (1.1 * radius, -0.34 * radius),
                (1.12 * radius, -0.2 * radius),
                (0.9 * radius, 0.0),
            ],
            10,
        ),
        40,
    )

    def ragged(v: Points) -> Points:
        angle = np.arctan2(v[:, 0], v[:, 2])
        wave = 1 + 0.05 * np.cos(waves * angle + phase) + 0.03 * np.cos((waves + 4) * angle)
        return np.asarray(v * np.stack([wave, wave, wave], axis=1))

    return [sphere(ice, radius, 28), skirt.warped(ragged)]


def _topping(draw: Draw, radius: float) -> list[Part]:
    """What lies on the top scoop, about its centre."""
    kind = draw.choice("topping", ["none", "sprinkles", "sauce", "cherry", "wafer", "cherry and sauce"])
    parts = []
    if "sauce" in kind:
        parts.append(_sauce(draw, radius))
    if "cherry" in kind:
        red = Material("cherry", from_hex("#c4162a"), gloss=0.8)
        stem = in_plane(spline([(0, 0), (0.01, 0.08), (0.06, 0.15)], 8), "xy")
        parts += [
            sphere(red, 0.075, 20).moved(y=radius + 0.05),
            tube(Material("stem", from_hex("#5a7a32")), stem, 0.009, 6).moved(y=radius + 0.11),
        ]
    if kind == "wafer":
        crisp = Material("wafer", from_hex("#d79a4e"), gloss=0.2)
        roll = bar(crisp, (0.1, 0.4 * radius, 0.05), (0.34, radius + 0.32, 0.1), 0.045, 16)
        parts.append(roll)
    if kind == "sprinkles":
        colours = [Material(f"sprinkle{k}", from_hex(c), gloss=0.3) for k, c in enumerate(SPRINKLES)]
        for k in range(46):
            height, angle = draw.rng.uniform(0.15, 0.98), draw.rng.uniform(0, 2 * np.pi)
            ring = np.sqrt(1 - height**2)
            centre = 1.0 * radius * np.array([ring * np.sin(angle), height, ring * np.cos(angle)])
            along = np.cross(centre, draw.rng.standard_normal(3))
            along *= 0.026 / np.linalg.norm(along)
            parts.append(bar(colours[k % 5], centre - along, centre + along, 0.012, 6))
    return parts


def _sauce(draw: Draw, radius: float) -> Part:
    """A coat over the top that runs down in tongues."""
    syrup = Material("sauce", draw.colour("sauce", ("#3f2013", "#a8202e", "#b5722e")), gloss=0.7)
    tongues, phase = draw.integer("tongues", 5, 8), draw.rng.uniform(0, 6.28)
    cap = np.concatenate([arc(1.035 * radius, 1.035 * radius, 0.35, np.pi / 2, 14), [(0, 0.9 * radius)]])
    inner = arc(0.95 * radius, 0.95 * radius, np.pi / 2 - 0.05, 0.35, 10)
    cap = np.concatenate([[(0, 0.9 * radius)], inner[1:], cap[:-1]])

    def run(v: Points) -> Points:
        angle = np.arctan2(v[:, 0], v[:, 2])
        polar = np.arccos(np.clip(v[:, 1] / np.linalg.norm(v, axis=1), -1, 1))
        stretch = 1 + 0.32 * np.cos(tongues * angle + phase)
        size, bent = np.linalg.norm(v, axis=1), polar * stretch
        return np.stack(
            [size * np.sin(bent) * np.sin(angle), size * np.cos(bent), size * np.sin(bent) * np.cos(angle)],
            axis=1,
        )

    return lathe(syrup, cap, 48).warped(run)


FAMILY = Family("ice cream", 928, "n07614500", None, build)
