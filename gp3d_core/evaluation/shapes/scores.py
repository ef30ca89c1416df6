"""Shapes of a snapshot against those of real models: Fréchet point-cloud distance, coverage, MMD, 1-NN accuracy.

Every figure stands beside its floor: the same figure of as many other real models. Reference and floor are disjoint
halves drawn from the library, class by class, so that all three sets have one size and one mix of classes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gp3d_core.distributed import World
from gp3d_core.evaluation.shapes.health import health_scores, mesh_health
from gp3d_core.evaluation.shapes.library import (
    LibraryError,
    Model,
    draw_models,
    model_clouds,
    models_of,
    read_library,
)
from gp3d_core.evaluation.shapes.objects import (
    GRID,
    LEVEL,
    Surfaces,
    agreement_level,
    class_records,
    object_clouds,
    objects_of,
)
from gp3d_core.meshing.level import Level
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.metrics.pointclouds import chamfer_matrix, set_scores, unit_clouds
from gp3d_core.metrics.pointnet import PointNet, PointNet2, cloud_features, load_pointnet
from gp3d_core.metrics.score import Score
from gp3d_core.snapshots.snapshot import Snapshot

LEAST = 2  # models of a class in each half


@dataclass(frozen=True)
class Reference:
    """The models of one class that are compared with, and as many others for the floor."""

    models: list[Model]
    others: list[Model]

    def __len__(self) -> int:
        return len(self.models)


def references(
    records: Sequence[Mapping[str, Any]], models: Sequence[Model], n: int, seed: int
) -> tuple[dict[int, Reference], list[str]]:
    """By label two halves of at most n / classes models each, and the names of classes with too few models.

    Raises LibraryError if that leaves no class.
    """
    share, chosen, without = max(LEAST, n // len(records)), {}, []
    for record in records:
        own = list(models) if len(records) == 1 and "wnid" not in record else models_of(models, record)
        half = min(share, len(own) // 2)
        if half < LEAST:
            without.append(str(record["name"]))
            continue
        drawn = draw_models(own, 2 * half, seed, record["name"])
        chosen[int(record["label"])] = Reference(drawn[:half], drawn[half:])
    if not chosen:
        known = sorted({name for model in models for name in model.names[-1:]})
        raise LibraryError(
            f"expected at least {2 * LEAST} models of a class such as {without[0]!r}, "
            f"found models of {', '.join(known[:8])}"
        )
    return chosen, without


def check_references(snapshot: Snapshot, truth: Path, n: int, seed: int) -> None:
    """Says on stderr which classes have too few models in `truth`; LibraryError if all have."""
    _, without = references(class_records(snapshot), read_library(truth), n, seed)
    if without:
        tqdm.write(f"gp3d: too few models to compare with for {', '.join(without)}", file=sys.stderr)


def measure_shapes(
    snapshot: Snapshot,
    truth: Path,
    *,
    pointnet: Path | None,
    n: int,
    seed: int,
    out: Path,
    truncation: float = 1.0,
    grid: int = GRID,
    level: Level = LEVEL,
    world: World | None = None,
) -> list[Score]:
    """Scores coverage, mmd, 1-nna, mesh/<health> and, with weights `pointnet`, fpd of about `n` objects.

    They are compared with the library `truth`. Objects are spread evenly over the classes, as many of each as half of
    its models at the most. Surfaces are kept in `out`/clouds. Raises LibraryError and WeightsError, the latter before
    any work.
    """
    network = None if pointnet is None else load_pointnet(pointnet, snapshot.generator.mapping.w_avg.device)
    records = class_records(snapshot)
    chosen, without = references(records, read_library(truth), n, seed)
    surfaces = Surfaces(grid=grid, level=level, truncation=truncation)
    object_specs = [
        w for r in records if r["label"] in chosen for w in objects_of(r, len(chosen[r["label"]]), seed)
    ]
    clouds = object_clouds(snapshot, object_specs, surfaces, out / "clouds", world)
    facts = {
        "reference": str(truth.name),
        **surfaces.facts(snapshot),
        "median_level": float(clouds.levels.median()),
        "agreement_level": agreement_level(snapshot, object_specs, truncation),
        "empty": int((~clouds.solid).sum()),
        "classes": len(chosen),
        "classes_without_models": without,
        "seed": seed,
    }
    names = [str(record["name"]) for record in records if record["label"] in chosen]
    sizes = [len(reference) for reference in chosen.values()]
    ends = list(accumulate(sizes))
    health = {
        name: clouds.health[end - size : end] for name, size, end in zip(names, sizes, ends, strict=True)
    }
    real_health, sets = {}, {}
    generated = unit_clouds(clouds.points).split(sizes)
    for name, made, reference in zip(names, generated, chosen.values(), strict=True):
        real_health[name] = [mesh_health(model.mesh()) for model in reference.models]
        sets[name] = (made, model_clouds(reference.models), model_clouds(reference.others))
    found = compare_shapes(sets, network, facts, snapshot.generator.mapping.w_avg.device)
    return found + health_scores(health, real_health, facts)


@dataclass(frozen=True, eq=False)
class SetDistances:
    """Squared Chamfer distances [N,N] of a class: within the clouds measured, between them and the reference.

    `among` is within the reference; the floor's are those of the other real models instead of the measured ones.
    """

    within: Tensor
    between: Tensor
    floor_within: Tensor
    floor_between: Tensor
    among: Tensor


def set_distances(
    clouds: Mapping[str, tuple[Tensor, Tensor, Tensor]], device: torch.device | str = "cpu"
) -> dict[str, SetDistances]:
    """The distances of clouds [N,P,3] by class: those measured, the reference, and others like the reference."""
    found = {}
    for name, (made, real, others) in clouds.items():
        pairs = ((made, made), (made, real), (others, others), (others, real), (real, real))
        found[name] = SetDistances(*(chamfer_matrix(a, b, device=device) for a, b in pairs))
    return found


def compare_shapes(
    clouds: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    network: PointNet | PointNet2 | None,
    facts: Mapping[str, Any],
    device: torch.device | str = "cpu",
    distances: Mapping[str, SetDistances] | None = None,
) -> list[Score]:
    """Scores of clouds [N,P,3] by class: those measured, the reference, and others like the reference for the floor.

    Coverage, MMD and 1-NN accuracy are means over classes, with every class in the facts; FPD is of all together.
    `distances` are those of `set_distances`, where they are known.
    """
    apart = set_distances(clouds, device) if distances is None else distances
    scores = {name: set_scores(own.within, own.between, own.among) for name, own in apart.items()}
    floors = {name: set_scores(own.floor_within, own.floor_between, own.among) for name, own in apart.items()}
    n = sum(len(made) for made, _, _ in clouds.values())
    found = [] if network is None else [_fpd(clouds, network, facts, n)]
    for metric, field in (("coverage", "coverage"), ("mmd", "mmd"), ("1-nna", "nna")):
        per_class = {name: getattr(score, field) for name, score in scores.items()}
        floor_per_class = {name: getattr(score, field) for name, score in floors.items()}
        own = {
            "floor": fmean(floor_per_class.values()),
            "distance": "squared Chamfer, unit spheres",
            "per_class": per_class,
            "floor_per_class": floor_per_class,
            **facts,
        }
        found.append(Score(metric=metric, value=fmean(per_class.values()), n=n, facts=own))
    return found


def _fpd(
    clouds: Mapping[str, tuple[Tensor, Tensor, Tensor]],
    network: PointNet | PointNet2,
    facts: Mapping[str, Any],
    n: int,
) -> Score:
    made, real, others = (
        fit_gaussian([cloud_features(network, torch.cat([sets[i] for sets in clouds.values()]))[0]])
        for i in range(3)
    )
    own = {
        "floor": frechet_distance(others, real),
        "network": f"{network.title}, last hidden layer, 256 features",
        **facts,
    }
    return Score(metric="fpd", value=frechet_distance(made, real), n=n, facts=own)
