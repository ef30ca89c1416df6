"""What is measured of a row: Fréchet distance at every round, and at the last one what pictures and shapes give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.tables.rows import Row
from benchmarks.tables.runs import TableRun
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World
from gp3d_core.evaluation.images import image_scores
from gp3d_core.evaluation.run import EvaluationOptions, evaluate, parse_metrics
from gp3d_core.evaluation.samples import Sampler
from gp3d_core.evaluation.true_views import is_rendered
from gp3d_core.metrics.features import FeatureNetwork
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.metrics.score import Score
from gp3d_core.rng import generator_for

FRECHET = "fid2k"
SCORES = {"fid": FRECHET, "is": "is", "nfs": "nfs", "fpd": "fpd"}  # as the paper calls them, and as we do


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of one run, or of the lifted row, after so many `images`: `scores` by the paper's names.

    `curve` is the Fréchet distance by images seen; `trained` images took the run `seconds`, to its last status;
    `parameters` are the generator's.
    """

    row: Row
    seed: int
    images: int
    scores: dict[str, float]
    curve: dict[int, float] = field(default_factory=dict)
    trained: int = 0
    seconds: float = 0.0
    rollbacks: int = 0
    parameters: int = 0
    snapshot: Path | None = None


def measure(
    run: TableRun, ends: Sequence[int], data: Path, out: Path, request: EvaluationOptions, device: str
) -> Outcome | None:
    """The outcome of a run at the last of `ends`, with its curve up to there; None if it has no snapshot of that.

    Everything is kept in OUT/scores, so that nothing is measured twice.
    """
    last = run.snapshot_at(ends[-1])
    if last is None:
        return None
    metrics = _metrics(run, data, request)
    curve, scores = {}, []
    for images in ends:
        snapshot = run.snapshot_at(images)
        if snapshot is None:
            continue
        wanted = metrics if images == ends[-1] else tuple(m for m in metrics if m == FRECHET)
        if not wanted:
            continue
        folder = out / "scores" / run.name / snapshot.stem
        scores = evaluate(snapshot, data, folder, replace(request, metrics=wanted), device)
        curve.update((images, score.value) for score in scores if plain(score.metric) == FRECHET)
    return Outcome(
        run.row,
        run.seed,
        ends[-1],
        {name: value for name, value in named(scores).items() if value == value},
        curve,
        **run.facts(),
        snapshot=last,
    )


def _metrics(run: TableRun, data: Path, request: EvaluationOptions) -> tuple[str, ...]:
    """Of the metrics that are asked for those that the row has: shapes have more than pictures."""
    solid = run.config.dimensions > 2
    wanted = [m for m in request.metrics if solid or m in (FRECHET, "is")]
    # geometry compares depth from given cameras, which only data with cameras have
    return parse_metrics(",".join(m for m in wanted if m != "geometry" or is_rendered(data)))


def plain(name: str) -> str:
    """The name of a score without that of its network: squeezenet-fid2k is fid2k."""
    return name.rpartition("-")[2] if name.startswith("squeezenet-") else name


def named(scores: Sequence[Score]) -> dict[str, float]:
    """The scores that the paper has too, by its names, and the others by ours."""
    theirs = {ours: name for name, ours in SCORES.items()}
    return {theirs.get(plain(score.metric), plain(score.metric)): score.value for score in scores}


def real_features(sampler: Sampler, dataset: Dataset, network: FeatureNetwork, cache: Path) -> Tensor:
    """Features [N,D] of all real pictures, which `cache` keeps for every evaluation."""
    real = image_scores(sampler, dataset, network, cache, cache).real
    real.complete(len(dataset), "real images", World())
    return torch.cat(list(real.read("features", len(dataset))))


def halves_apart(features: Tensor, seed: int = 0) -> float:
    """The Fréchet distance of two halves of the real pictures' `features`: below it a difference says nothing."""
    order = torch.randperm(len(features), generator=generator_for("tables", "halves", seed))
    one, other = (fit_gaussian([features[half]]) for half in order.tensor_split(2))
    return frechet_distance(one, other)
