"""MTL files of others in the form that trimesh 5.2.0 reads.

It takes all behind `map_Kd` for the name of the texture, options and quotes, too, and leaves a texture out that it does
not find (findings/trimesh_loses_obj_textures_with_options.sh).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gp3d_core.meshing.mesh import MeshError

Move = tuple[float, float, float, float]  # factors of texture coordinates (u, v), and what is added then

# Options of a texture, and how many words may follow; of those with several, which are numbers, some may be missing.
_OPTIONS = {
    **dict.fromkeys(
        ("-blendu", "-blendv", "-boost", "-texres", "-clamp", "-bm", "-imfchan", "-type", "-cc"), 1
    ),
    "-mm": 2,
    **dict.fromkeys(("-s", "-o", "-t"), 3),
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
_STATEMENT = re.compile(r"^([ \t]*(newmtl|map_Kd)[ \t]+)(\S.*)$", re.MULTILINE | re.IGNORECASE)
_UNMOVED: Move = (1.0, 1.0, 0.0, 0.0)


@dataclass
class PlainMaterials:
    """MTL files without options, the names of their colour textures, and whether one of these ends at its edge.

    `moves` are of the coordinates of materials with a texture, by name.
    """

    text: str = ""
    textures: list[str] = field(default_factory=list)
    clamped: bool = False
    moves: dict[str, Move] = field(default_factory=dict)


def plain_materials(text: str) -> PlainMaterials:
    """What MTL files say, one after the other, of their colour textures the bare names.

    Raises MeshError for a texture that its options disturb, change in colour, or both move and end at its edge.
    """
    found, material = PlainMaterials(), ""

    def bare(statement: re.Match[str]) -> str:
        nonlocal material
        if statement[2].lower() == "newmtl":
            material = " ".join(statement[3].split())  # as trimesh calls it
            return statement[0]
        options, name = _split(statement[3])
        said = dict(options)
        numbers = {
            option: [float(value) for value in said.get(option, [])] for option in ("-s", "-o", "-t", "-mm")
        }
        u, v = (numbers["-s"] + [1.0, 1.0][len(numbers["-s"]) :])[:2]
        right, up = (numbers["-o"] + [0.0, 0.0][len(numbers["-o"]) :])[:2]
        move, ends = (u, v, right, up), said.get("-clamp") == ["on"]
        wrong = ["-t"] * any(numbers["-t"]) + ["-mm"] * (numbers["-mm"] not in ([], [0, 1]))
        wrong += ["-clamp"] * (ends and move != _UNMOVED)
        if wrong:
            words = " ".join([wrong[0], *said[wrong[0]]])
            raise MeshError(
                f"its material changes the texture {name} by {words}, which is not read; apply that to the picture or "
                "to its coordinates"
            )
        found.moves[material] = move  # of two materials of one name trimesh takes the last
        found.textures.append(name)
        found.clamped |= ends
        return statement[1] + name

    found.text = _STATEMENT.sub(bare, text)
    return found


def _split(statement: str) -> tuple[list[tuple[str, list[str]]], str]:
    """Options with their words, and the name, which may have blanks and quotes around it."""
    words, options = re.findall(r"\S+\s*", statement), list[tuple[str, list[str]]]()
    while words and (option := words[0].strip().lower()) in _OPTIONS:
        values = words[1 : 1 + _OPTIONS[option]]
        if _OPTIONS[option] > 1:
            values = values[
                : next((k for k, word in enumerate(values) if not _NUMBER.match(word)), len(values))
            ]
        options.append((option, [value.strip().lower() for value in values]))
        words = words[1 + len(values) :]
    name = "".join(words).strip()
    quoted = len(name) > 1 and name[0] == name[-1] == '"'
    return options, name[1:-1] if quoted else name
