"""MTL files of others in the form that trimesh 5.2.0 reads.

It takes all behind `map_Kd` for the name of the texture, options and quotes, too, and leaves a texture out that it does
not find (findings/trimesh_loses_obj_textures_with_options.sh).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gp3d_core.meshing.mesh import MeshError

# Options of a texture, and how many words may follow; of those with three some may be missing.
_OPTIONS = {
    **dict.fromkeys(
        ("-blendu", "-blendv", "-boost", "-texres", "-clamp", "-bm", "-imfchan", "-type", "-cc"), 1
    ),
    "-mm": 2,
    **dict.fromkeys(("-s", "-o", "-t"), 3),
}
_NEUTRAL = {"-s": 1.0, "-o": 0.0, "-t": 0.0}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
_TEXTURE = re.compile(r"^([ \t]*map_Kd[ \t]+)(\S.*?)[ \t]*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class PlainMaterials:
    """An MTL file without options, the names of its colour textures, and of those that end at their edge."""

    text: str
    textures: list[str]
    clamped: list[str]


def plain_materials(text: str) -> PlainMaterials:
    """What an MTL file says, of its colour textures the bare names.

    Raises MeshError for a texture that its options move, enlarge, or change in colour.
    """
    textures, clamped = list[str](), list[str]()

    def bare(statement: re.Match[str]) -> str:
        options, name = _split(statement[2])
        for option, values in options:
            if not _is_neutral(option, values):
                said = " ".join([option, *values])
                raise MeshError(
                    f"its material changes the texture {name} by {said}, which is not read; apply that to the "
                    "picture or to its coordinates"
                )
        textures.append(name)
        if ("-clamp", ["on"]) in options:
            clamped.append(name)
        return statement[1] + name

    return PlainMaterials(_TEXTURE.sub(bare, text), textures, clamped)


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


def _is_neutral(option: str, values: list[str]) -> bool:
    """Whether the option leaves the colours where they are and as they are."""
    if option == "-mm":
        return [float(value) for value in values] == [0, 1]
    return option not in _NEUTRAL or all(float(value) == _NEUTRAL[option] for value in values)
