"""The share of generated views that a small classifier, trained on renders of real models, names right.

It is trained on the models of the data set's training split and measured on those of the test split, whose figure is
the floor: what of a real model it would name right. It is kept, by data, split and training, for other evaluations.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.evaluation.shapes.objects import class_records, objects_of
from gp3d_core.evaluation.true_views import TruthViews, read_views
from gp3d_core.generation.objects import DEFAULT_TRUNCATION
from gp3d_core.generation.sampling import generate
from gp3d_core.metrics.classifier import STEPS, SmallClassifier, classify, train_classifier
from gp3d_core.metrics.score import Score
from gp3d_core.networks.foreign_weights import WeightsError, fill
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.rng import generator_for
from gp3d_core.snapshots.snapshot import Snapshot, write_tensors
from gp3d_core.visualization import rgb_to_uint8

FORMAT, VERSION = "gp3d-classifier", 1


@dataclass(frozen=True, eq=False)
class Recogniser:
    """A trained classifier with the names of its classes and its accuracy on held-out real views, by class.

    `facts` say what it was trained on.
    """

    network: SmallClassifier
    classes: list[str]
    held_out: dict[str, float]
    facts: dict[str, Any]


def train_recogniser(
    views: TruthViews, *, seed: int, steps: int = STEPS, device: torch.device | str = "cpu"
) -> Recogniser:
    """Trains on the training split's views and measures on the test split's.

    Raises DatasetError if a class has no views on either side.
    """
    check_splits(views)
    dataset = views.dataset
    names = [str(record["name"]) for record in dataset.classes]
    test = _held_out(views)
    labels = torch.from_numpy(dataset.labels)
    learnt, unseen = np.flatnonzero(~test), np.flatnonzero(test)
    network = train_classifier(
        _images(views, learnt), labels[learnt], len(names), seed=seed, steps=steps, device=device
    )
    right = classify(network, _images(views, unseen)) == labels[unseen]
    held_out = {
        name: float(right[labels[unseen] == label].double().mean()) for label, name in enumerate(names)
    }
    facts = {
        "trained_on": dataset.path.name,
        "fingerprint": dataset.fingerprint,
        "resolution": dataset.resolution,
        "views": len(learnt),
        "held_out_views": len(unseen),
        "steps": steps,
        "seed": seed,
    }
    return Recogniser(network, names, held_out, facts)


def check_splits(views: TruthViews) -> None:
    """Raises DatasetError if a class has no views of held-out models, or none of others."""
    test = _held_out(views)
    for label, record in enumerate(views.dataset.classes):
        own = test[views.dataset.labels == label]
        if not own.any() or own.all():
            raise DatasetError(
                f"{views.dataset.path}: {record['name']!r} has {int(own.sum())} held-out views of {len(own)}; "
                "recognition needs models of both splits in every class: render more models"
            )


def _held_out(views: TruthViews) -> NDArray[Any]:
    return np.array([model in views.held_out for model in views.models])


def _images(views: TruthViews, chosen: Sequence[int] | NDArray[Any]) -> Tensor:
    """Images uint8 [N,3,R,R]."""
    size = views.dataset.resolution
    images = torch.empty(len(chosen), 3, size, size, dtype=torch.uint8)
    bar = tqdm(chosen, desc="reading views", unit="img", file=sys.stderr, disable=None, leave=False)
    for place, index in enumerate(bar):
        images[place] = torch.from_numpy(views.image(int(index)).copy()).permute(2, 0, 1)
    return images


def save_recogniser(recogniser: Recogniser, path: Path) -> None:
    """Writes weights and facts as one safetensors file."""
    about = {"classes": recogniser.classes, "held_out": recogniser.held_out, "facts": recogniser.facts}
    header = {"format": FORMAT, "version": str(VERSION), "about": json.dumps(about)}
    write_tensors(path, recogniser.network.state_dict(), header)


def load_recogniser(path: Path, device: torch.device | str = "cpu") -> Recogniser:
    """Reads what `save_recogniser` wrote. Raises WeightsError for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if (header.get("format"), header.get("version")) != (FORMAT, str(VERSION)):
            raise ValueError(f"found {header.get('format')} {header.get('version')}")
        about = json.loads(header["about"])
        network = SmallClassifier(len(about["classes"]))
        found = Recogniser(network, list(about["classes"]), dict(about["held_out"]), dict(about["facts"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: expected a {FORMAT} version {VERSION} ({error})") from error
    fill(network, tensors, path, "a classifier of renders")
    network.to(device).eval().requires_grad_(False)
    return found


def measure_recognition(
    snapshot: Snapshot,
    dataset: Path,
    *,
    n: int,
    seed: int,
    cache: Path,
    truncation: float = DEFAULT_TRUNCATION,
) -> list[Score]:
    """Score recognition: the share of about `n` generated views, spread over the classes, that are named right.

    Each object is seen by the camera of a held-out real view of its class. Every class of the data set may be answered.
    The classifier is trained at first and kept in the folder `cache`. Raises DatasetError if snapshot and data set
    share no class, or if a class has no held-out models; WeightsError if what is kept is damaged.
    """
    views = read_views(dataset)
    device = snapshot.generator.mapping.w_avg.device
    recogniser = recogniser_for(views, cache, device)
    records = [record for record in class_records(snapshot) if views.of_class(record)]
    if not records:
        raise DatasetError(f"{dataset} shows none of the snapshot's classes")
    count = max(1, n // len(records))
    rates, floors = {}, {}
    with tqdm(
        total=count * len(records), desc="recognition", unit="view", file=sys.stderr, disable=None
    ) as bar:
        for record in records:
            label = int(views.dataset.labels[views.of_class(record)[0]])
            pictures = generated_views(snapshot, views, record, count, seed, truncation, bar)
            name = str(record["name"])
            floors[name] = recogniser.held_out[recogniser.classes[label]]
            rates[name] = float((classify(recogniser.network, pictures) == label).double().mean())
    facts = {
        "floor": fmean(floors.values()),
        "per_class": rates,
        "floor_per_class": floors,
        "answers": len(recogniser.classes),
        "truncation": truncation,
        "seed": seed,
        "classifier": recogniser.facts,
    }
    return [Score(metric="recognition", value=fmean(rates.values()), n=count * len(records), facts=facts)]


def recogniser_for(views: TruthViews, cache: Path, device: torch.device) -> Recogniser:
    """The classifier for these views: the one that is kept, or a new one."""
    decisive = [VERSION, views.dataset.fingerprint, sorted(views.held_out), STEPS]
    identity = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]
    path = cache / f"classifier-{identity}.safetensors"
    if path.exists():
        return load_recogniser(path, device)
    found = train_recogniser(views, seed=0, steps=STEPS, device=device)
    cache.mkdir(parents=True, exist_ok=True)
    save_recogniser(found, path)
    return found


@torch.no_grad()
def generated_views(
    snapshot: Snapshot,
    views: TruthViews,
    record: ClassRecord,
    count: int,
    seed: int,
    truncation: float,
    bar: tqdm[Any],
) -> Tensor:
    """`count` objects of a class, uint8 [count,3,R,R], each seen by the camera of a held-out real view of the class."""
    own = views.of_class(record)
    held_out = [index for index in own if views.models[index] in views.held_out] or own
    order = torch.randperm(
        len(held_out), generator=generator_for("recognition", seed, record["name"])
    ).tolist()
    pictures = []
    for i, spec in enumerate(objects_of(record, count, seed)):
        obj = generate(snapshot, spec, truncation)
        camera = views.cameras[held_out[order[i % len(order)]]].to(obj.ws.device)
        seen = snapshot.generator.view(
            obj.ws, camera, planes=obj.planes, resolution=views.dataset.resolution, chunk=rays_at_a_time(1)
        )
        pictures.append(torch.from_numpy(rgb_to_uint8(seen.rgb)).permute(0, 3, 1, 2))
        bar.update()
    return torch.cat(pictures)
