"""What the engine found out about the surface of an object (docs/serve.md, trust) as arrays and as lines. No bpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..mesh_bundle import Array, Bundle, BundleError, read_arrays, to_blender
from ..recipe import JsonObject

FORMAT, VERSION = "gp3d-trust", 1
WORST, BEST = (
    (213, 94, 0),
    (0, 158, 115),
)  # sRGB of what nobody saw and of what was seen well, as the engine has them
_PERCENT = {  # facts that the panel shows, in this order, with their words
    "never_seen": "Never seen",
    "well_supervised": "Well supervised",
    "disagreement": "Mesh to field",
    "disagreement_95": "95 % below",
    "thickness": "Thickness",
    "thin": "Thinner than 2 %",
    "thin_parts_kept": "Thin parts kept",
}
OF_PICTURES = {"never_seen": "Made up"}  # where a picture, and no training camera, did the looking


@dataclass(frozen=True, eq=False)
class TrustValues:
    """`mesh` in Blender's frame; of its V vertices supervision [V] and colours uint8 [V,3], and where they are known
    disagreement [V] and its colours; the numbers of all of it.
    """

    mesh: Bundle
    supervision: Array
    supervision_colors: Array
    facts: JsonObject
    disagreement: Array | None = None
    disagreement_colors: Array | None = None


def read_values(result: Mapping[str, object]) -> TrustValues:
    """The values of a result of the engine. Raises BundleError if its file is missing, damaged or inconsistent."""
    path, facts = Path(str(result.get("file"))), result.get("facts")
    arrays = read_arrays(path, FORMAT, VERSION)
    vertices, faces = arrays.get("vertices"), arrays.get("faces")
    if vertices is None or faces is None or vertices.ndim != 2 or not len(vertices) or not len(faces):
        raise BundleError(f"{path.name} has no mesh")
    for name in ("supervision", "disagreement"):
        if name == "disagreement" and name not in arrays:
            continue
        shapes = [arrays[key].shape if key in arrays else None for key in (name, f"{name}_colors")]
        if shapes != [(len(vertices),), (len(vertices), 3)]:
            raise BundleError(f"The values of {name} do not belong to the vertices")
    return TrustValues(
        Bundle(to_blender(vertices), np.ascontiguousarray(faces, np.int32), {}),
        arrays["supervision"],
        arrays["supervision_colors"],
        dict(facts) if isinstance(facts, dict) else {},
        arrays.get("disagreement"),
        arrays.get("disagreement_colors"),
    )


def figures(facts: Mapping[str, object], of_picture: bool) -> list[str]:
    """The numbers as a panel shows them, a line each; those that are not known are left out."""
    lines = []
    for name, words in _PERCENT.items():
        value = facts.get(name)
        if isinstance(value, int | float):
            said = OF_PICTURES.get(name, words) if of_picture else words
            lines.append(f"{said}: {100 * value:.3g} %")
    if "watertight" in facts:
        lines.append("Closed" if facts["watertight"] else "Not closed")
    return lines
