"""Measures of pictures: how far renders of a snapshot's meshes are from those of real models, and how sharp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.comparison.references import pictures
from benchmarks.comparison.subjects import Subject, kept
from gp3d_core.evaluation.shapes.objects import objects_of
from gp3d_core.evaluation.true_views import read_views
from gp3d_core.generation.sampling import Generated, generate
from gp3d_core.metrics.features import FeatureNetwork
from gp3d_core.metrics.frechet import fit_gaussian, frechet_distance
from gp3d_core.metrics.gradients import REACH, inner_gradients
from gp3d_core.rendering.cameras import Cameras
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.visualization import rgb_to_uint8

_VIEW = (
    0.6,
    1.22,
    0.0,
    40.0,
    2.0,
    0.0,
    0.0,
    0.0,
)  # the first of references.CAMERAS, as Cameras.from_flat reads it
_PART = 16  # pictures at a time


@dataclass(frozen=True)
class Seen:
    """Pictures of a class: features [N,D] and, of each, mean magnitude and square of the gradient inside the object."""

    features: list[list[float]]
    magnitude: list[float]
    square: list[float]


def look(
    dataset: Path, records: Mapping[str, Mapping[str, Any]], network: FeatureNetwork, path: Path
) -> dict[str, Seen]:
    """What the views of the `dataset` show of each class, called as `records` calls it; kept at `path`."""
    views = read_views(dataset)

    def measure() -> dict[str, Any]:
        return {
            name: vars(_see(*pictures(views, record), network))
            for name, record in tqdm(records.items(), desc=dataset.parent.name, unit="class", disable=None)
        }

    settings = {
        "dataset": views.dataset.fingerprint,
        "weights": network.weights,
        "reach": REACH,
        "classes": list(records),
    }
    return {name: Seen(**seen) for name, seen in kept(path, settings, measure).items()}


def _see(images: Tensor, masks: Tensor, network: FeatureNetwork) -> Seen:
    features = [network(some)[0] for some in images.split(_PART) if len(some)]
    magnitude, square = _finite(*inner_gradients(images, masks))
    return Seen([row.tolist() for part in features for row in part], magnitude, square)


def _finite(magnitude: Tensor, square: Tensor) -> tuple[list[float], list[float]]:
    """Without pictures in which nothing lies inside."""
    inside = torch.isfinite(magnitude)
    return magnitude[inside].tolist(), square[inside].tolist()


def frechet(one: Mapping[str, Seen], other: Mapping[str, Seen], names: Sequence[str]) -> float:
    """The Fréchet distance between features of two sets of pictures, over the classes `names`."""
    first, second = (
        fit_gaussian([torch.tensor([row for name in names for row in seen[name].features])])
        for seen in (one, other)
    )
    return frechet_distance(first, second)


def relative(
    made: Mapping[str, Sequence[float]], real: Mapping[str, Sequence[float]], names: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Mean over a class's pictures relative to that of real ones: over all classes together, and for each class.

    Together is the sum of the classes' means over the sum of the real ones', so that no class that is plain in
    reality decides. Classes without a picture on either side do not count.
    """
    means = {
        name: (float(np.mean(made[name])), float(np.mean(real[name])))
        for name in names
        if len(made[name]) and len(real[name])
    }
    total = sum(own for own, _ in means.values()) / max(sum(true for _, true in means.values()), 1e-12)
    return total, {name: own / max(true, 1e-12) for name, (own, true) in means.items()}


@torch.no_grad()
def volume_gradients(
    subject: Subject, names: Sequence[str], count: int, seed: int, truncation: float, resolution: int
) -> dict[str, Any]:
    """Magnitudes and squares, as in Seen, of the snapshot's own views of `count` objects a class; kept."""

    def measure() -> dict[str, Any]:
        found = {}
        for name in tqdm(names, desc=f"{subject.name}: own views", unit="class", disable=None):
            specs = objects_of(subject.records[name], count, seed)
            seen = [
                _volume_view(subject, generate(subject.snapshot, spec, truncation), resolution)
                for spec in specs
            ]
            images, masks = (torch.cat(parts) for parts in zip(*seen, strict=True))
            found[name] = _finite(*inner_gradients(images, masks))
        return found

    settings = {
        "classes": list(names),
        "count": count,
        "seed": seed,
        "truncation": truncation,
        "reach": REACH,
    }
    return kept(subject.folder / "own-views.json", settings, measure)


def _volume_view(subject: Subject, obj: Generated, resolution: int) -> tuple[Tensor, Tensor]:
    generator = subject.snapshot.generator
    camera = Cameras.from_flat(torch.tensor([_VIEW]))
    seen = generator.view(obj.ws, camera, planes=obj.planes, resolution=resolution, chunk=rays_at_a_time(1))
    image = torch.from_numpy(rgb_to_uint8(seen.rgb)).permute(0, 3, 1, 2)
    return image, seen.opacity[:, 0] > 0.5
