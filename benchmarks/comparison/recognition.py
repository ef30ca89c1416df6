"""Recognition by a classifier that learnt renders of models which no snapshot of the comparison has seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.comparison.references import pictures
from benchmarks.comparison.subjects import Subject, kept
from gp3d_core.evaluation.recognition import Recogniser, measure_recognition, recogniser_for
from gp3d_core.evaluation.true_views import TruthViews, read_views
from gp3d_core.metrics.classifier import STEPS, classify


def of_own_views(
    subject: Subject, dataset: Path, count: int, seed: int, truncation: float, cache: Path
) -> dict[str, Any]:
    """Shares of a snapshot's own views that are named right, and of held-out real ones, by class; kept.

    This is the score recognition of `gp3d evaluate` with `count` objects a class.
    """

    def measure() -> dict[str, Any]:
        [score] = measure_recognition(
            subject.snapshot,
            dataset,
            n=count * len(subject.records),
            seed=seed,
            cache=cache,
            truncation=truncation,
        )
        return {key: score.facts[key] for key in ("per_class", "floor_per_class", "answers")}

    fingerprint = read_views(dataset).dataset.fingerprint
    settings = {
        "dataset": fingerprint,
        "count": count,
        "seed": seed,
        "truncation": truncation,
        "steps": STEPS,
    }
    return kept(subject.folder / "recognition.json", settings, measure)


def of_renders(
    recogniser: Recogniser,
    known: TruthViews,
    renders: Path,
    records: Mapping[str, Mapping[str, Any]],
    called: Mapping[str, Mapping[str, Any]],
) -> dict[str, float]:
    """The share of models whose first view in `renders` is named right, by class of the `known` views.

    Classes are found among these by their `records`, and in `renders` by what they are `called` there. Views are
    brought to the classifier's size by means. The first is seen from a side that the classifier has learnt; the others
    may not be.
    """
    views, found = read_views(renders), {}
    for name, there in called.items():
        labels = known.of_class(records[name])
        images, _ = pictures(views, there, first=True)
        if not labels or not len(images):
            continue
        small = shrunk(images, known.dataset.resolution)
        found[name] = _right(recogniser, small, int(known.dataset.labels[labels[0]]))
    return found


def _right(recogniser: Recogniser, images: Tensor, label: int) -> float:
    return float((classify(recogniser.network, images) == label).double().mean())


def shrunk(images: Tensor, size: int) -> Tensor:
    """Images uint8 [N,3,size,size] of larger ones [N,3,R,R]."""
    return F.interpolate(images.float(), (size, size), mode="area").round().clamp(0, 255).to(torch.uint8)


def open_recogniser(dataset: Path, cache: Path) -> tuple[Recogniser, TruthViews]:
    """The classifier for a data set, trained at first, and its views."""
    views = read_views(dataset)
    return recogniser_for(views, cache, torch.device("cpu")), views
