"""Every mesh against the one model of the library that is nearest to it, point by point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor

from gp3d_core.meshing.mesh import Mesh
from gp3d_core.metrics.score import Score
from gp3d_core.metrics.surface_pairs import (
    ALPHA,
    F_SCORE_AT,
    POINTS,
    OrientedPoints,
    oriented_points,
    pair_measures,
)

Measures = dict[str, float] | None
"""Figures of a pair by name; None where one of the two has no faces."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """How pairs are measured: distances of the F-scores in radii of an object, alpha of the density-aware distance."""

    f_score_at: tuple[float, ...] = F_SCORE_AT
    alpha: float = ALPHA

    @property
    def names(self) -> list[str]:
        """The measures, in the order of tables."""
        return ["dcd", "normal_concordance", *(f"f-score@{distance:g}" for distance in self.f_score_at)]

    def measure(self, first: OrientedPoints | None, second: OrientedPoints | None) -> Measures:
        """The measures of two surfaces."""
        if first is None or second is None:
            return None
        return pair_measures(first, second, alpha=self.alpha, at=self.f_score_at)


def points_of(mesh: Mesh, seed: int) -> OrientedPoints | None:
    """Points with normals of a mesh; None if it has no faces, or no area."""
    return oriented_points(mesh.vertices, mesh.faces, seed)


@dataclass(frozen=True, eq=False)
class ClassPairs:
    """Of a class the nearest reference of each mesh, and the measures of pairs.

    `found` is of the meshes, `floor` of other real models with their nearest reference, `copies` of references with
    the same model, whose points are drawn a second time: what a perfect copy gets.
    """

    nearest: list[int]
    found: list[Measures]
    floor: list[Measures]
    copies: list[Measures]


def class_pairs(
    made: Sequence[OrientedPoints | None],
    real: Sequence[OrientedPoints | None],
    again: Sequence[OrientedPoints | None],
    others: Sequence[OrientedPoints | None],
    between: tuple[Tensor, Tensor],
    options: PairOptions,
) -> ClassPairs:
    """The pairs of a class; `again` is `real` drawn anew, `between` the distances [N,N] of made and others to real."""
    nearest, nearest_other = (distances.argmin(dim=1).tolist() for distances in between)
    return ClassPairs(
        nearest,
        [options.measure(one, real[k]) for one, k in zip(made, nearest, strict=True)],
        [options.measure(one, real[k]) for one, k in zip(others, nearest_other, strict=True)],
        [options.measure(*both) for both in zip(real, again, strict=True)],
    )


def pair_scores(
    pairs: Mapping[str, ClassPairs], options: PairOptions, facts: Mapping[str, Any]
) -> list[Score]:
    """Scores dcd, normal_concordance and f-score@<distance> of pairs by class, means over classes.

    Not a number where no pair has faces. The floor is that of other real models; `copy` in the facts is what
    a perfect copy gets, since two draws of points never coincide.
    """
    n = sum(len(own.found) for own in pairs.values())
    without = sum(each is None for own in pairs.values() for each in own.found)
    scores = []
    for name in options.names:
        per_class, floors, copies = (
            {key: _mean(getattr(own, part), name) for key, own in pairs.items()}
            for part in ("found", "floor", "copies")
        )
        own_facts = {
            "floor": _over(floors),
            "copy": _over(copies),
            "distance": "to the nearest model (squared Chamfer); unit spheres, each surface by itself",
            "points": POINTS,
            **({"alpha": options.alpha} if name == "dcd" else {}),
            "without_faces": without,
            "per_class": per_class,
            "floor_per_class": floors,
            **facts,
        }
        value = _over(per_class)
        scores.append(
            Score(metric=name, value=math.nan if value is None else value, n=n - without, facts=own_facts)
        )
    return scores


def _mean(measures: Sequence[Measures], name: str) -> float | None:
    known = [each[name] for each in measures if each is not None]
    return fmean(known) if known else None


def _over(per_class: Mapping[str, float | None]) -> float | None:
    known = [value for value in per_class.values() if value is not None]
    return fmean(known) if known else None
