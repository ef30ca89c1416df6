"""Pieces of vehicles: wheels, lamps and signs with writing. Vehicles drive towards -Z; axles lie along x."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes.curves import Points, superellipse
from synthetic.shapes.material import Colour, Material, Texture, from_hex
from synthetic.shapes.parts import Part, lathe, prism

GLASS = Material("glass", from_hex("#26323d"), gloss=0.85)
TYRE = Material("tyre", from_hex("#1c1c1e"), gloss=0.15)

LETTERS = {  # 3 x 5 dots, rows from the top
    "A": ".#.#.#####.##.#",
    "B": "##.#.###.#.###.",
    "C": "####..#..#..###",
    "H": "#.##.#####.##.#",
    "I": "###.#..#..#.###",
    "L": "#..#..#..#..###",
    "O": "####.##.##.####",
    "S": "####..###..####",
    "T": "###.#..#..#..#.",
    "U": "#.##.##.##.####",
    "X": "#.##.#.#.#.##.#",
    " ": "...............",
}


def writing(text: str, ground: Colour, ink: Colour, dot: int = 6) -> Texture:
    """A line of block letters in `ink` with a margin of `ground`; each dot is `dot` pixels wide."""
    grid = np.zeros((9, 4 * len(text) + 3), dtype=bool)
    for place, letter in enumerate(text):
        rows = np.array(list(LETTERS[letter])).reshape(5, 3) == "#"
        grid[2:7, 2 + 4 * place : 5 + 4 * place] = rows
    big: NDArray[np.bool_] = np.repeat(np.repeat(grid, dot, axis=0), dot, axis=1)
    return np.round(255 * np.where(big[..., None], ink, ground)).astype(np.uint8)


def wheel(rim: Material, radius: float, width: float, hub: float = 0.6) -> list[Part]:
    """Tyre, rim and cap of a wheel about the origin, its axle along x."""
    tyre = [(0.5 * radius, -width / 2), (0.9 * radius, -width / 2), (radius, -0.3 * width)]
    tyre += [(r, -y) for r, y in tyre[::-1]]
    disc = [(hub * radius, -0.53 * width), (hub * radius, 0.53 * width)]
    cap = [(0.22 * radius, -0.6 * width), (0.22 * radius, 0.6 * width)]
    dark = Material("cap", from_hex("#3a3d42"), gloss=0.5)
    parts = [lathe(TYRE, tyre, 28), lathe(rim, disc, 24), lathe(dark, cap, 14)]
    return [part.turned("z", np.pi / 2) for part in parts]


def lamp(material: Material, radius: float, depth: float = 0.03) -> Part:
    """A round lamp about the origin that shines to the front."""
    return lathe(material, [(radius, 0), (radius, 0.5 * depth), (0.7 * radius, depth)], 18).turned(
        "x", -np.pi / 2
    )


def board(material: Material, width: float, height: float, depth: float = 0.02) -> Part:
    """A rectangular plate about the origin, its texture once on its front."""
    return prism(
        material,
        [
            (-width / 2, -height / 2),
            (width / 2, -height / 2),
            (width / 2, height / 2),
            (-width / 2, height / 2),
        ],
        depth,
    )


def section(width: float, low: float, high: float, z: float, power: float = 6.0, samples: int = 32) -> Points:
    """Rounded rectangle [samples, 3] across the vehicle at `z`, from `low` to `high`."""
    loop = superellipse(width, high - low, power, samples)
    return np.column_stack([loop[:, 0], loop[:, 1] + (low + high) / 2, np.full(samples, z)])
