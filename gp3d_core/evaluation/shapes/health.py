"""What a surface is like in itself: is it closed, is it one piece, is it smooth?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import trimesh

from gp3d_core.meshing.mesh import Mesh, merge_positions
from gp3d_core.metrics.score import Score


@dataclass(frozen=True)
class Health:
    """What a surface is like: whether it is closed and wound one way, in how many parts, and how smooth.

    `smoothness` is the mean cosine between the normals of faces that share an edge, 1 for a plane; positions that
    coincide count as one vertex. A surface without faces is not closed, has no parts and smoothness 0.
    """

    watertight: bool
    components: int
    smoothness: float


NOTHING = Health(watertight=False, components=0, smoothness=0.0)

_MEASURES: dict[str, Callable[[Sequence[Health]], float]] = {
    "watertight": lambda some: fmean(each.watertight for each in some),
    "one_piece": lambda some: fmean(each.components == 1 for each in some),
    "components": lambda some: fmean(each.components for each in some),
    "normal_consistency": lambda some: fmean(each.smoothness for each in some),
}


def mesh_health(mesh: Mesh) -> Health:
    """The health of a mesh."""
    vertices, faces = merge_positions(mesh)
    shape = trimesh.Trimesh(vertices, faces, process=False)
    pairs = shape.face_adjacency
    parts = trimesh.graph.connected_components(pairs, nodes=np.arange(len(faces)))
    normals = shape.face_normals
    bends = np.einsum("ed,ed->e", normals[pairs[:, 0]], normals[pairs[:, 1]])
    closed = bool(shape.is_watertight and shape.is_winding_consistent)
    return Health(closed, len(parts), float(bends.mean()) if len(bends) else 1.0)


def health_scores(
    health: Mapping[str, Sequence[Health]], real: Mapping[str, Sequence[Health]], facts: Mapping[str, Any]
) -> list[Score]:
    """Scores mesh/<measure> of surfaces by class, means over classes, beside those of `real` models as the floor."""
    n = sum(len(some) for some in health.values())
    scores = []
    for name, measure in _MEASURES.items():
        per_class, floors = ({key: measure(some) for key, some in sets.items()} for sets in (health, real))
        own = {
            "floor": fmean(floors.values()),
            "per_class": per_class,
            "floor_per_class": floors,
            **facts,
        }
        scores.append(Score(metric=f"mesh/{name}", value=fmean(per_class.values()), n=n, facts=own))
    return scores
