"""Street sign: a stop, yield, warning, round or street-name plate on a pole, facing the front."""

import numpy as np
from numpy.typing import NDArray

from synthetic.shapes.curves import Points, circle, rounded
from synthetic.shapes.draw import Draw
from synthetic.shapes.family import Family
from synthetic.shapes.material import Material, Texture, from_hex
from synthetic.shapes.parts import Part, bar, box, cylinder, prism, sphere

RED, WHITE, YELLOW, BLUE, GREEN, BLACK = (
    from_hex(c) for c in ("#c6202b", "#f4f3ef", "#f2b71f", "#1f5aa6", "#1f7a4a", "#1d1f22")
)


def build(draw: Draw) -> list[Part]:
    """Parts of one sign, about 1.5 units high."""
    steel = Material(
        "pole", draw.colour("pole", ("#8f959c", "#5a5f66", "#2f4a3a", "#24262a", "#b7bcc2")), gloss=0.5
    )
    length = draw.uniform("pole_height", 0.8, 1.25)
    kind = draw.choice("kind", ["stop", "yield", "warning", "round", "names", "names"])
    radius = draw.uniform("pole_radius", 0.022, 0.035)
    size = draw.uniform("size", 0.26, 0.34)
    if kind == "names":
        top, plates = length, _names(draw, length)
    else:
        top, plates = length + 0.5 * size, _plate(draw, kind, size, length, radius)
    parts = [bar(steel, (0, 0, 0), (0, top, 0), radius, 14), cylinder(steel, 0.1, 0.03, 0.008, 24)]
    return [*parts, sphere(steel, 1.15 * radius, 12).moved(y=top), *plates]


def _plate(draw: Draw, kind: str, size: float, y: float, radius: float) -> list[Part]:
    """One symbol plate; its back is grey."""
    outline, image = _symbol(draw, kind, size)
    grey = Material("back", from_hex("#9aa0a5"), gloss=0.4)
    front = Material(kind, WHITE, image, gloss=0.2)
    z = -radius - 0.012
    return [
        prism(front, outline, 0.014).moved(y=y, z=z),
        prism(grey, 0.985 * outline, 0.012).moved(y=y, z=z + 0.011),
    ]


def _symbol(draw: Draw, kind: str, size: float) -> tuple[Points, Texture]:
    """Outline of the plate and the picture on it."""
    v, u = np.mgrid[1:-1:128j, -1:1:128j]
    image = np.empty((128, 128, 3))
    if kind == "stop":
        outline = circle(size, 8)
        image[:] = WHITE
        edge = np.maximum(np.maximum(np.abs(u), np.abs(v)), (np.abs(u) + np.abs(v)) / 1.414)
        image[edge < 0.92] = RED
        image[_letters(u, v)] = WHITE
    elif kind == "yield":
        outline = _soft(1.25 * size * np.array([(-0.87, 0.6), (0, -0.9), (0.87, 0.6)]))
        rise = (v + 1) / 2
        image[:] = RED
        image[(np.abs(u) < 0.9 * rise - 0.3) & (rise < 0.86)] = WHITE
    elif kind == "warning":
        outline = _soft(1.15 * size * np.array([(1, 0), (0, 1), (-1, 0), (0, -1.0)]))
        image[:] = BLACK
        image[np.abs(u) + np.abs(v) < 0.9] = YELLOW
        sign = draw.choice("warning", ["bar", "cross", "arrow"])
        mark = (np.abs(u) < 0.09) & (np.abs(v) < 0.42)
        if sign == "cross":
            mark |= (np.abs(v - 0.1) < 0.09) & (np.abs(u) < 0.35)
        if sign == "arrow":
            mark |= (np.abs(u) < 0.55 - v) & (v > 0.25)
        image[mark] = BLACK
    else:
        outline = circle(size, 40)
        rim, field = draw.choice("round", ["red", "blue"]) == "red", np.hypot(u, v)
        image[:] = RED if rim else BLUE
        if rim:
            image[field < 0.74] = WHITE
        bar_colour = (BLACK if draw.chance("dark_bar", 0.5) else RED) if rim else WHITE
        image[(np.abs(v) < 0.16) & (np.abs(u) < 0.52)] = bar_colour
    return outline, np.round(255 * image).astype(np.uint8)


def _letters(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the word STOP is white, as blocks on a 15 x 5 grid."""
    rows = ("###.###.###.###", "#....#..#.#.#.#", "###..#..#.#.###", "..#..#..#.#.#..", "###..#..###.#..")
    grid = np.array([[cell == "#" for cell in row] for row in rows])
    column, row = np.floor((u + 0.72) / 1.44 * 15).astype(int), np.floor((0.3 - v) / 0.6 * 5).astype(int)
    inside = (column >= 0) & (column < 15) & (row >= 0) & (row < 5)
    return np.asarray(inside & grid[np.clip(row, 0, 4), np.clip(column, 0, 14)], dtype=bool)


def _soft(corners: Points) -> Points:
    """The outline with rounded corners."""
    loop = np.concatenate([corners[-1:], corners, corners[:1]])
    return rounded(loop, 0.05, 4)[1:-1]


def _names(draw: Draw, length: float) -> list[Part]:
    """One or two street-name plates with a border and a line of writing, crossing on the pole."""
    colours = {"green": GREEN, "blue": BLUE, "white": WHITE, "black": BLACK}
    name = draw.choice("names", ["green", "green", "blue", "white", "black"])
    field, ink = colours[name], BLACK if name == "white" else WHITE
    wide, tall = draw.uniform("plate_width", 0.75, 1.05), draw.uniform("plate_height", 0.16, 0.22)
    parts = []
    for k in range(draw.integer("plates", 1, 2)):
        image = np.empty((48, 192, 3))
        image[:] = field
        image[2:5, 3:-3] = image[-5:-2, 3:-3] = image[2:-2, 3:6] = image[2:-2, -6:-3] = ink
        x = 26
        while x < 160:
            letter = int(draw.rng.integers(5, 11))
            if draw.rng.random() < 0.85:
                image[15:33, x : x + 3] = image[15:18, x : x + letter] = image[24:27, x : x + letter] = ink
                image[15 : int(draw.rng.choice([27, 33])), x + letter - 3 : x + letter] = ink
            x += letter + 4
        paint = Material(f"names{k}", field, np.round(255 * image).astype(np.uint8), gloss=0.2)
        outline = rounded(
            [
                (0, -tall / 2),
                (wide / 2, -tall / 2),
                (wide / 2, tall / 2),
                (-wide / 2, tall / 2),
                (-wide / 2, -tall / 2),
                (0, -tall / 2),
            ],
            0.03,
            3,
        )
        plate = prism(paint, outline[:-1], 0.02)
        turn = draw.uniform(f"turn{k}", -0.12, 0.12) + (np.pi / 2 if k else 0.0)
        parts.append(
            plate.turned("y", turn).moved(y=length - 0.1 - k * (tall + 0.03), z=-0.035 if not k else 0.0)
        )
    clamp = Material("clamp", from_hex("#5a5f66"), gloss=0.5)
    return [*parts, box(clamp, (0.08, 0.04, 0.08), (0, length - 0.1, 0))]


FAMILY = Family("street sign", 919, "n06794110", None, build)
