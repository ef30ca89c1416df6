"""Levels of detail: the same object with fewer faces, and how far each level is from the first."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from gp3d_core.assets.distance import SurfaceDistance, surface_distance
from gp3d_core.meshing.cleaning import simplify
from gp3d_core.meshing.mesh import Mesh, merge_positions

MOST_LEVELS = 8
_SHARE = 4  # each level has a quarter of the faces of the one before
FEWEST_FACES = 32
SMALLEST_TEXTURE = 32


@dataclass(frozen=True, eq=False)
class Level:
    """One level: its mesh, and its distance from level 0 in shares of the diagonal."""

    mesh: Mesh
    distance: SurfaceDistance

    def facts(self) -> dict[str, Any]:
        """What a recipe says of it."""
        texture = self.mesh.texture
        return {
            "faces": len(self.mesh.faces),
            "texture_size": None if texture is None else len(texture),
            "distance": self.distance.facts(),
        }


def coarser(mesh: Mesh, level: int) -> Level:
    """Level number `level`, from 1 on, of `mesh`: a quarter of the faces for each, without colours and normals.

    It is made from `mesh` itself, not from the level before, so that errors do not add up. A closed surface stays
    closed; where fewer faces would tear it, or there would be less than a few, there are more.
    """
    source = Mesh(*merge_positions(mesh))
    wanted = max(FEWEST_FACES, round(len(mesh.faces) / _SHARE**level))
    with warnings.catch_warnings():  # how many faces there are stands in the facts
        warnings.simplefilter("ignore")
        made = simplify(source, wanted)
    return Level(made, surface_distance(source, made))


def texture_size(size: int, level: int) -> int:
    """Texels along an edge of the texture of a level: half as many for each, as faces have it."""
    return max(min(size, SMALLEST_TEXTURE), size >> level)
