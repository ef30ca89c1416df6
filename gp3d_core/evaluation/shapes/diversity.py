"""Do two seeds differ, and is a sample more than a copy? Distances among samples, and to the models of training."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gp3d_core.atomic import write_text
from gp3d_core.distributed import World
from gp3d_core.evaluation.shapes.library import Model, draw_models, model_clouds, models_of, read_library
from gp3d_core.evaluation.shapes.objects import Surfaces, class_records, object_clouds, objects_of
from gp3d_core.evaluation.shapes.scores import references
from gp3d_core.evaluation.true_views import TruthViews, read_views
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, ObjectSpec
from gp3d_core.generation.sampling import generate, view
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.metrics.pointclouds import chamfer_matrix, unit_clouds
from gp3d_core.metrics.score import Score
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.visualization import rgb_to_uint8, save_picture, sheet

GRID = 128
REFERENCES = 100  # real models of a class that are looked at
_SHOWN = 4  # samples of a class in the picture
_TILE = 96


def mean_pairwise(distances: Tensor) -> float:
    """Mean distance of different members, of distances [N,N] within a set of at least two; ValueError for fewer."""
    count = len(distances)
    if count < 2:
        raise ValueError(f"a spread needs at least two members, found {count}")
    return float(distances.sum() - distances.diagonal().sum()) / (count * (count - 1))


@dataclass(frozen=True)
class Nearest:
    """The model of training nearest to a sample, and how far it is."""

    sample: ObjectSpec
    model: Model
    distance: float


def nearest_models(
    samples: Sequence[ObjectSpec], models: Sequence[Model], distances: Tensor
) -> list[Nearest]:
    """For every sample the nearest model, by distances [N,M]."""
    best = distances.min(dim=1)
    return [
        Nearest(sample, models[int(index)], float(value))
        for sample, value, index in zip(samples, best.values, best.indices, strict=True)
    ]


def measure_diversity(
    snapshot: Snapshot,
    truth: Path,
    *,
    dataset: Path | None,
    n: int,
    seed: int,
    out: Path,
    truncation: float = DEFAULT_TRUNCATION,
    grid: int = GRID,
    level: Level = AUTO,
    most: int | None = REFERENCES,
    world: World | None = None,
) -> list[Score]:
    """Scores diversity and nearest_training of about `n` objects, spread over the classes; distances are Chamfer's.

    diversity: mean pairwise distance of the samples of a class; its floor is that of twice as many real models.
    nearest_training: mean distance of samples to the nearest model of `truth`, on which the snapshot was trained; its
    floor is that of real models to the nearest other one. Far below it lie copies. Of a class `most` models are looked
    at, or twice its samples if that is more, drawn by the seed; all for None. Writes `out`/nearest.jsonl and, with the
    rendered `dataset`, the picture `out`/nearest.png. Raises LibraryError.
    """
    models = read_library(truth)
    records = class_records(snapshot)
    chosen, without = references(records, models, n, seed)
    kept = [record for record in records if int(record["label"]) in chosen]
    sizes = [len(chosen[int(record["label"])]) for record in kept]
    surfaces = Surfaces(grid=grid, level=level, truncation=truncation)
    object_specs = [objects_of(record, size, seed) for record, size in zip(kept, sizes, strict=True)]
    everything = object_clouds(
        snapshot, [w for some in object_specs for w in some], surfaces, out / "clouds", world
    )
    if world is not None and not world.leads:
        return []
    compared = []
    bar = tqdm(kept, desc="diversity", unit="class", file=sys.stderr, disable=None)
    for record, some, made in zip(
        bar, object_specs, unit_clouds(everything.points).split(sizes), strict=True
    ):
        own = models_of(models, record) or models
        if most is not None:
            own = draw_models(own, max(most, 2 * len(some)), seed, "diversity", record["name"])
        compared.append(_compare(some, made, own, snapshot.generator.mapping.w_avg.device))
    names = [str(record["name"]) for record in kept]
    found = {name: each.nearest for name, each in zip(names, compared, strict=True)}
    _write_nearest(found, out / "nearest.jsonl")
    if dataset is not None:
        _draw_nearest(snapshot, found, read_views(dataset), truncation, out / "nearest.png")
    facts = {
        "reference": truth.name,
        "models_of_a_class": "all" if most is None else f"at most {max(most, *(2 * size for size in sizes))}",
        **surfaces.facts(snapshot),
        "seed": seed,
        "classes_without_models": without,
    }
    spread = {name: each.spread for name, each in zip(names, compared, strict=True)}
    novelty = {name: each.novelty for name, each in zip(names, compared, strict=True)}
    return [
        _score("diversity", spread, sum(sizes), facts),
        _score("nearest_training", novelty, sum(sizes), facts),
    ]


@dataclass(frozen=True)
class _Compared:
    """A class: mean pairwise distance and mean distance to the nearest model, each (of samples, of real models)."""

    spread: tuple[float, float]
    novelty: tuple[float, float]
    nearest: list[Nearest]


def _compare(
    samples: Sequence[ObjectSpec], made: Tensor, models: Sequence[Model], device: torch.device
) -> _Compared:
    """Samples with clouds `made` [N,P,3] against the models of their class."""
    real, size = model_clouds(models), 2 * len(samples)
    among = chamfer_matrix(real[:size], real, device=device)
    distances = chamfer_matrix(made, real, device=device)
    spread = (
        mean_pairwise(chamfer_matrix(made, made, device=device)),
        mean_pairwise(among[:, :size]),
    )
    among.fill_diagonal_(torch.inf)
    novelty = (float(distances.amin(dim=1).mean()), float(among.amin(dim=1).mean()))
    return _Compared(spread, novelty, nearest_models(samples, models, distances))


def _score(metric: str, rows: Mapping[str, tuple[float, float]], n: int, facts: Mapping[str, Any]) -> Score:
    own = {
        "floor": fmean(real for _, real in rows.values()),
        "per_class": {name: value for name, (value, _) in rows.items()},
        "floor_per_class": {name: real for name, (_, real) in rows.items()},
        **facts,
    }
    return Score(metric=metric, value=fmean(value for value, _ in rows.values()), n=n, facts=own)


def _write_nearest(found: Mapping[str, Sequence[Nearest]], path: Path) -> None:
    lines = [
        json.dumps(
            {"class": name, "seed": each.sample.seed, "model": each.model.key, "distance": each.distance}
        )
        for name, rows in found.items()
        for each in rows
    ]
    write_text(path, "".join(f"{line}\n" for line in lines))


def _draw_nearest(
    snapshot: Snapshot,
    found: Mapping[str, Sequence[Nearest]],
    views: TruthViews,
    truncation: float,
    path: Path,
) -> None:
    """One row a class: pairs of a sample from the front and the first view of the model nearest to it."""
    rows = []
    first = {model: index for index, model in reversed(list(enumerate(views.models)))}
    for name, some in found.items():
        pictures: list[NDArray[Any]] = []
        for each in some[:_SHOWN]:
            sample = view(snapshot, generate(snapshot, each.sample, truncation))
            pictures.append(rgb_to_uint8(sample.rgb)[0])
            known = each.model.key in first
            pictures.append(views.image(first[each.model.key]) if known else np.full_like(pictures[-1], 200))
        distances = ", ".join(f"{each.distance:.4f}" for each in some[:_SHOWN])
        rows.append((f"{name}: sample, nearest model of training, …; distances {distances}", pictures))
    save_picture(sheet(rows, tile=_TILE), path)
