"""OBJ files of others in the form that trimesh 5.2.0 reads.

It takes numbers below zero, which count back from the line that they stand in, as counted from the file's end
(findings/trimesh_counts_relative_obj_numbers_from_the_end.sh), and joins the corners of any polygon to its first.
"""

from __future__ import annotations

import re

import numpy as np

from gp3d_core.meshing.files.plain.polygons import cut_up
from gp3d_core.meshing.mesh import MeshError

_TABLES = ("v", "vt", "vn")  # what the numbers of a corner count, in this order
_CHANGED = re.compile(  # a number below zero, a fourth corner, or a corner without a vertex
    r"^[ \t]*f[ \t](?:[^\n-]*-|[ \t]*(?:(?:[^ \t\n]+[ \t]+){3}[^ \t\n]|(?:[^ \t\n]+[ \t]+){0,2}0+(?:[/ \t]|$)))",
    re.MULTILINE,
)
_CONTINUED = re.compile(r"\\[ \t]*\r?\n")


def plain_obj(text: str) -> str:
    """The text of an OBJ file with the same surface: corners by numbers from 1 on, polygons that are not convex as
    triangles. Raises MeshError for corners before the first, and for polygons that are too intricate to be cut up.
    """
    if _CHANGED.search(text) is None:
        return text
    lines = _CONTINUED.sub(" ", text).splitlines()
    counts, positions = dict.fromkeys(_TABLES, 0), list[list[str]]()
    polygons: dict[int, list[str]] = {}  # by line
    for place, line in enumerate(lines):
        word, *rest = line.split(maxsplit=1) or [""]
        if word in counts:
            counts[word] += 1
            if word == "v":
                positions.append(line.split()[1:4])
        elif word == "f" and rest:
            corners = [_from_one(corner, counts) for corner in rest[0].partition("#")[0].split()]
            lines[place] = f"f {' '.join(corners)}"
            if len(corners) > 3:
                polygons[place] = corners
    for place, triangles in _cut_up(positions, polygons).items():
        lines[place] = "\n".join(triangles)
    return "\n".join(lines) + "\n"


def _from_one(corner: str, counts: dict[str, int]) -> str:
    """A corner such as -3/-2/-1, after so many lines of each table, by numbers from 1 on."""
    if "-" not in corner and not corner.startswith("0"):
        return corner
    words = corner.split("/")
    for place, (word, count) in enumerate(zip(words, counts.values(), strict=False)):
        number = int(word or 1)
        words[place] = str(count + 1 + number) if number < 0 else word
        if not -count <= number or number == 0:
            raise MeshError(f"it has a face with a corner {corner} after {count} lines of its kind")
    return "/".join(words)


def _cut_up(positions: list[list[str]], polygons: dict[int, list[str]]) -> dict[int, list[str]]:
    """By line the triangles that take the place of a polygon. Those with a corner that is none are left alone."""
    numbers = {place: [int(corner.split("/")[0]) - 1 for corner in own] for place, own in polygons.items()}
    whole = [place for place, own in numbers.items() if min(own) >= 0 and max(own) < len(positions)]
    cut = cut_up(np.array(positions, np.float64), [numbers[place] for place in whole]) if whole else {}
    return {
        whole[number]: [
            f"f {' '.join(polygons[whole[number]][k] for k in triangle)}" for triangle in triangles
        ]
        for number, triangles in ((number, own.tolist()) for number, own in cut.items())
    }
