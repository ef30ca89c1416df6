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
from torch import Tensor
from tqdm import tqdm

from gp3d_core.atomic import write_text
from gp3d_core.evaluation.library import Model, model_clouds, models_of, read_library
from gp3d_core.evaluation.objects import Level, Surfaces, class_records, object_clouds, objects_of
from gp3d_core.evaluation.shapes import references
from gp3d_core.evaluation.truthviews import TruthViews, read_views
from gp3d_core.generation import Wish, generate, view
from gp3d_core.metrics.pointclouds import chamfer_matrix, unit_clouds
from gp3d_core.metrics.score import Score
from gp3d_core.pictures import rgb_to_uint8, save_picture, sheet
from gp3d_core.snapshot import Snapshot

GRID = 128
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

    sample: Wish
    model: Model
    distance: float


def nearest_models(samples: Sequence[Wish], models: Sequence[Model], distances: Tensor) -> list[Nearest]:
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
    truncation: float = 0.7,
    grid: int = GRID,
    level: Level = "auto",
) -> list[Score]:
    """Scores diversity and nearest_training of about `n` objects, spread over the classes; distances are Chamfer's.

    diversity: mean pairwise distance of the samples of a class; its floor is that of as many real models.
    nearest_training: mean distance of samples to the nearest model of `truth`, on which the snapshot was trained; its
    floor is that of real models to the nearest other one. Far below it lie copies. Writes `out`/nearest.jsonl and, with
    the rendered `dataset`, the picture `out`/nearest.png. Raises LibraryError.
    """
    models = read_library(truth)
    records = class_records(snapshot)
    chosen, without = references(records, models, n, seed)
    surfaces = Surfaces(grid=grid, level=level, truncation=truncation)
    device = snapshot.generator.mapping.w_avg.device
    spread: dict[str, tuple[float, float]] = {}
    novelty: dict[str, tuple[float, float]] = {}
    found: dict[str, list[Nearest]] = {}
    kept = [record for record in records if int(record["label"]) in chosen]
    for record in tqdm(kept, desc="diversity", unit="class", file=sys.stderr, disable=None):
        name, size = str(record["name"]), len(chosen[int(record["label"])])
        wishes = objects_of(record, size, seed)
        made = unit_clouds(object_clouds(snapshot, wishes, surfaces, out / "clouds").points)
        own = models_of(models, record) or models
        real = model_clouds(own)
        among = chamfer_matrix(real[: 2 * size], real, device=device)
        distances = chamfer_matrix(made, real, device=device)
        found[name] = nearest_models(wishes, own, distances)
        spread[name] = (
            mean_pairwise(chamfer_matrix(made, made, device=device)),
            mean_pairwise(among[:, : 2 * size]),
        )
        among.fill_diagonal_(torch.inf)
        novelty[name] = (float(distances.amin(dim=1).mean()), float(among.amin(dim=1).mean()))
    _write_nearest(found, out / "nearest.jsonl")
    if dataset is not None:
        _draw_nearest(snapshot, found, read_views(dataset), truncation, out / "nearest.png")
    facts = {
        "reference": truth.name,
        **surfaces.facts(snapshot),
        "seed": seed,
        "classes_without_models": without,
    }
    count = sum(len(rows) for rows in found.values())
    return [_score("diversity", spread, count, facts), _score("nearest_training", novelty, count, facts)]


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
        pictures: list[np.ndarray] = []
        for each in some[:_SHOWN]:
            sample = view(snapshot, generate(snapshot, each.sample, truncation))
            pictures.append(rgb_to_uint8(sample.rgb)[0])
            known = each.model.key in first
            pictures.append(views.image(first[each.model.key]) if known else np.full_like(pictures[-1], 200))
        said = ", ".join(f"{each.distance:.4f}" for each in some[:_SHOWN])
        rows.append((f"{name}: sample, nearest model of training, …; distances {said}", pictures))
    save_picture(sheet(rows, tile=_TILE), path)
