"""What every format says of a mesh besides its shape: names, material, who made it and under which licence.

What is chosen about files stands in the recipe of the mesh, so that the recipe makes the same files again: `license`
(in words), `credits` (whose models the generator learnt from), `meters_per_unit` (how long a world unit is, where that
is known), and the options `compress` and `print_height` of `MeshOptions`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core import __version__
from gp3d_core.licences.parts import clean

ROUGHNESS = 0.9  # colours learnt from pictures contain their highlights: the material adds hardly any
METALLIC = 0.0
GENERATOR = f"gp3d {__version__}"
_LONGEST_CREDITS = 2000  # characters
UNKNOWN = "unknown"  # what is said of a licence that nobody states


def asset_name(stem: str) -> str:
    """The name of the object, its material and its texture in the file `stem`, such as coffee_mug_0003.

    ASCII letters, digits and underscores, and no digit first: what every engine takes as it is.
    """
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"mesh_{name}".rstrip("_")


def license_of(recipe: Mapping[str, Any]) -> str:
    """The licence of a mesh in words, on one line; "unknown" where its recipe states none."""
    return " ".join(str(recipe.get("license") or UNKNOWN).split())


def credit(recipe: Mapping[str, Any]) -> str:
    """The line about a mesh that files show to people: its licence, what made it, and whose models that learnt from."""
    credits = clean(str(recipe.get("credits") or ""), _LONGEST_CREDITS)
    return f"Licence: {license_of(recipe)}. Made by {GENERATOR}.{' ' * bool(credits)}{credits}"


def choice(recipe: Mapping[str, Any], name: str) -> Any:
    """What a recipe says of an option of files, None for nothing; recipes of scenes keep their options apart."""
    return recipe.get("options", recipe).get(name)


def unit_normals(normals: NDArray[Any]) -> NDArray[Any]:
    """Normals float32 [V,3] of length 1, which glTF and USD demand; upwards where there is no direction."""
    length = np.linalg.norm(normals.astype(np.float64), axis=1, keepdims=True)
    known = np.isfinite(length) & (length > 0)
    return np.where(known, normals / np.where(known, length, 1), (0, 1, 0)).astype(np.float32)
