"""Shares of reconstructions and samples that a classifier, trained on real pictures, names right.

What it says of the real pictures themselves is the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.metrics.classifier import STEPS, SmallClassifier, classify, train_classifier
from gp3d_core.metrics.score import Score
from gp3d_core.visualization import rgb_to_uint8
from gp3d_core.vq3d.files.prior_file import PriorSnapshot
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.prior import Sampling
from gp3d_core.vq3d.scenes.reconstruction import scenes_of_codes
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.training.validation import load_images

_TURN = 20.0  # degrees
_BATCH = 32


class Namer:
    """A classifier of the pictures of a data set with classes; `names` in the order of its answers."""

    def __init__(self, dataset: Dataset, *, seed: int, device: torch.device, steps: int = STEPS) -> None:
        """Train it; a minute or two on a CPU."""
        self.names = [str(record["name"]) for record in dataset.classes]
        images = torch.stack([torch.tensor(dataset.load_image(k)) for k in range(len(dataset))])
        labels = torch.from_numpy(dataset.labels)
        self.network: SmallClassifier = train_classifier(
            images.permute(0, 3, 1, 2), labels, len(self.names), seed=seed, steps=steps, device=device
        )

    def share(self, images: Tensor, names: Sequence[str]) -> float:
        """Share of the `images` [N,3,R,R] in [-1, 1] that it calls by their `names`."""
        pictures = torch.from_numpy(rgb_to_uint8(images)).permute(0, 3, 1, 2)
        answers = classify(self.network, pictures).tolist()
        return fmean(self.names[answer] == name for answer, name in zip(answers, names, strict=True))


@torch.no_grad()
def reconstruction_recognition(
    namer: Namer, snapshot: TokenizerSnapshot, dataset: Dataset, numbers: list[int], facts: dict[str, Any]
) -> list[Score]:
    """The share of the pictures `numbers` named right, and of their reconstructions from the front and the sides."""
    names = [str(dataset.classes[dataset.labels[k]]["name"]) for k in numbers]
    images = load_images(dataset, numbers)
    floor = namer.share(images, names)
    device = snapshot.tokenizer.codebook.codes.device
    codes = torch.cat([snapshot.tokenizer.encode(some.to(device)).codes for some in images.split(_BATCH)])
    scenes = scenes_of_codes(snapshot, codes, names)
    about = facts | {"floor": floor}
    return [
        Score(metric=f"vq3d/recognised-reconstructions/{view}", value=value, n=len(numbers), facts=about)
        for view, value in _from_all_sides(namer, scenes, names).items()
    ]


@torch.no_grad()
def sample_recognition(
    namer: Namer, prior: PriorSnapshot, count: int, seed: int, facts: dict[str, Any]
) -> list[Score]:
    """The share of about `count` samples, spread over the classes of the code prior, that are named right."""
    names = [str(record["name"]) for record in prior.classes]
    each = max(1, count // max(len(names), 1))
    scenes = []
    for name in names:
        codes = prior.sample(name, list(range(seed, seed + each)), Sampling())
        scenes += scenes_of_codes(prior.tokenizer, codes, [name] * each)
    asked = [name for name in names for _ in range(each)]
    front = _seen(scenes, 0.0)
    per_class = {
        name: namer.share(front[k * each : (k + 1) * each], [name] * each) for k, name in enumerate(names)
    }
    return [
        Score(
            metric=f"vq3d/recognised-samples/{view}",
            value=value,
            n=len(asked),
            facts=facts | ({"per_class": per_class} if view == "canonical" else {}),
        )
        for view, value in _from_all_sides(namer, scenes, asked).items()
    ]


def _from_all_sides(namer: Namer, scenes: Sequence[Scene], names: Sequence[str]) -> dict[str, float]:
    yaws = {"canonical": 0.0, "yaw-plus-20": _TURN, "yaw-minus-20": -_TURN}
    return {view: namer.share(_seen(scenes, yaw), names) for view, yaw in yaws.items()}


def _seen(scenes: Sequence[Scene], yaw: float) -> Tensor:
    """What the scenes look like, images [N,3,R,R] in [-1, 1], turned by `yaw` degrees."""
    return torch.cat([scene.view(yaw).images.cpu() for scene in scenes])
