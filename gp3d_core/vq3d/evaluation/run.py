"""How good a tokenizer and a code prior are: scores against a data set, kept and reported as those of generators are.

Pictures are those of the data set's test split where its manifest names one, else all; data that was not trained on
makes them held out. Fréchet distances carry the names of their network and of the camera, and are no FID of any paper.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gp3d_core.datasets.archive import Archive
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.report.page import write_report
from gp3d_core.evaluation.samples import EvaluationError, to_uint8
from gp3d_core.hashing import digest
from gp3d_core.metrics.features import FeatureNetwork, open_network
from gp3d_core.metrics.frechet import Gaussian, fit_gaussian, frechet_distance
from gp3d_core.metrics.score import Score
from gp3d_core.rng import generator_for
from gp3d_core.visualization import save_picture
from gp3d_core.vq3d.evaluation.recognition import Namer, reconstruction_recognition, sample_recognition
from gp3d_core.vq3d.files.prior_file import PriorSnapshot
from gp3d_core.vq3d.files.tokenizer_file import TokenizerSnapshot
from gp3d_core.vq3d.models.prior import Sampling, unigram_entropy
from gp3d_core.vq3d.rendering.depth import DepthSource
from gp3d_core.vq3d.scenes.figures import columns, to_picture
from gp3d_core.vq3d.scenes.reconstruction import scenes_of_codes
from gp3d_core.vq3d.scenes.scenefile import Scene
from gp3d_core.vq3d.training.prior import mean_nll
from gp3d_core.vq3d.training.true_views import Pairs, true_pairs
from gp3d_core.vq3d.training.validation import load_depth, load_images, measure, novel_psnr

_YAWS = {"canonical": 0.0, "yaw-plus-20": 20.0, "yaw-minus-20": -20.0}
_SHOWN = 8
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class SceneEvaluationOptions:
    """What is measured on: at most `images` pictures, as many samples of a code prior, pairs of views within `limit`.

    `features` names the network of the Fréchet distances, None for none; `weights` is its file. `learnt` is a data set
    with classes whose pictures train a classifier, which then names what was made; None for none.
    """

    images: int = 256
    limit: float = 25.0
    features: str | None = None
    weights: Path | None = None
    learnt: Path | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Subject:
    """A tokenizer, perhaps a prior over its codes, and the pictures `numbers` of a data set."""

    tokenizer: TokenizerSnapshot
    prior: PriorSnapshot | None
    dataset: Dataset
    numbers: list[int]
    which: str  # in words

    @property
    def facts(self) -> dict[str, Any]:
        """What every score rests on."""
        return {"reference": self.dataset.path.name, "pictures": self.which}


def evaluate_scenes(
    tokenizer: TokenizerSnapshot,
    prior: PriorSnapshot | None,
    dataset: Dataset,
    out: Path,
    options: SceneEvaluationOptions,
) -> list[Score]:
    """Measures what the folder `out` does not hold yet; writes report.html there and returns all its scores.

    Raises a GP3DError for data that do not fit, before anything is written.
    """
    size = tokenizer.config.training.resolution
    if dataset.resolution != size:
        raise EvaluationError(
            f"{dataset.path} has {dataset.resolution} px images, the tokenizer makes {size} px"
        )
    network = None
    if options.features is not None:
        device = next(tokenizer.tokenizer.parameters()).device
        network = open_network(options.features, options.weights, device)
    subject = Subject(tokenizer, prior, dataset, *pictures_of(dataset, options.images))
    folder = EvaluationFolder(out)
    folder.claim(_about(subject, options))
    parts: dict[str, Callable[[], list[Score]]] = {
        "reconstruction": lambda: reconstruction_scores(subject),
        "novel": lambda: novel_scores(subject, options.limit),
    }
    if prior is not None:
        parts["prior"] = lambda: prior_scores(subject, prior)
    if network is not None:
        parts["frechet"] = lambda: frechet_scores(subject, network, options.seed)
    if options.learnt is not None:
        learnt = _named_data(options.learnt, subject)
        parts["recognition"] = lambda: recognition_scores(subject, learnt, options)
    for name, body in parts.items():
        settings: dict[str, Any] = {"network": network and network.weights}
        if name == "novel":
            settings = {"limit": options.limit}
        if name == "recognition":
            settings = {"learnt": learnt.fingerprint}
        if not folder.has(name, settings):
            folder.keep(name, settings, body())
    save_picture(_sheet(subject), out / "samples.png")
    write_report(folder)
    return folder.scores()


def reconstruction_scores(subject: Subject) -> list[Score]:
    """PSNR, depth and solidity of the input view, and how much of the codebook is used."""
    dataset, numbers = subject.dataset, subject.numbers
    tokenizer = subject.tokenizer.tokenizer
    device = next(tokenizer.parameters()).device
    source = DepthSource(subject.tokenizer.config, dataset.t_near, dataset.t_far)
    values = measure(
        tokenizer,
        load_images(dataset, numbers).to(device),
        source.target(load_depth(dataset, numbers)).to(device),
    )
    return [
        Score(metric=f"vq3d/{name}", value=value, n=len(numbers), facts=subject.facts)
        for name, value in values.items()
    ]


def novel_scores(subject: Subject, limit: float) -> list[Score]:
    """PSNR of novel views against true ones beside that of the copied input; none for data without true views."""
    dataset = subject.dataset
    if "cameras.json" not in Archive(dataset.path).sizes:
        return []
    chosen = set(subject.numbers)
    every = true_pairs(dataset, unit=subject.tokenizer.config.depth.unit, limit=limit)
    kept = _some([k for k, source in enumerate(every.source) if source in chosen], len(chosen))
    pairs = Pairs([every.source[k] for k in kept], [every.other[k] for k in kept], every.poses[kept])
    facts = subject.facts | {"views": f"true ones, turned by at most {limit:g} degrees"}
    return [
        Score(metric=f"vq3d/{name}", value=value, n=len(kept), facts=facts)
        for name, value in novel_psnr(subject.tokenizer.tokenizer, dataset, pairs).items()
    ]


@torch.no_grad()
def prior_scores(subject: Subject, prior: PriorSnapshot) -> list[Score]:
    """Nats a code of the pictures under the code prior, beside what looking at single codes costs.

    Raises EvaluationError for classes that the code prior does not know.
    """
    tokenizer = subject.tokenizer.tokenizer
    device = next(tokenizer.parameters()).device
    images = load_images(subject.dataset, subject.numbers)
    codes = torch.cat([tokenizer.encode(some.to(device)).codes for some in images.split(_BATCH)])
    facts = subject.facts | {"unit": "nats a code"}
    values = {
        "nll": mean_nll(prior.prior, codes, _labels(subject, prior)),
        "unigram_entropy": unigram_entropy(codes, subject.tokenizer.config.codebook.size),
    }
    return [
        Score(metric=f"vq3d/{k}", value=v, n=len(subject.numbers), facts=facts) for k, v in values.items()
    ]


def _labels(subject: Subject, prior: PriorSnapshot) -> Tensor:
    """The code prior's labels [n] of the pictures, whose classes are found by name."""
    if not prior.classes:
        return torch.zeros(len(subject.numbers), dtype=torch.long)
    known = {record["name"]: record["label"] for record in prior.classes}
    labels = []
    for k in subject.numbers:
        own = subject.dataset.labels[k]
        name = subject.dataset.classes[own]["name"] if subject.dataset.classes else None
        if name not in known:
            raise EvaluationError(
                f"{prior.path} does not know the class {name!r} of {subject.dataset.names[k]}; "
                f"it knows {', '.join(list(known)[:12])}"
            )
        labels.append(known[name])
    return torch.tensor(labels)


def frechet_scores(subject: Subject, network: FeatureNetwork, seed: int) -> list[Score]:
    """Fréchet distances of reconstructions, and of the code prior's samples, from three sides, to the pictures."""
    images = load_images(subject.dataset, subject.numbers)
    device = next(subject.tokenizer.tokenizer.parameters()).device
    real = fit_gaussian(network(to_uint8(some.to(device)))[0] for some in images.split(_BATCH))
    scores = []
    for kind, scenes in _kinds(subject, images, seed):
        for camera, yaw in _YAWS.items():
            made = _seen(scenes, yaw, network)
            facts = subject.facts | network.facts | {"camera": camera, "reference_n": real.count}
            if min(real.count, made.count) <= len(real.mean):
                facts["caution"] = (
                    f"fewer images than the {len(real.mean)} features: compares only with the same counts"
                )
            name = f"{network.prefix}frechet/vq3d-{kind}/{camera}"
            scores.append(Score(metric=name, value=frechet_distance(real, made), n=made.count, facts=facts))
    return scores


def _kinds(subject: Subject, images: Tensor, seed: int) -> Iterator[tuple[str, list[Scene]]]:
    snapshot = subject.tokenizer
    device = next(snapshot.tokenizer.parameters()).device
    with torch.no_grad():
        codes = torch.cat([snapshot.tokenizer.encode(some.to(device)).codes for some in images.split(_BATCH)])
    yield "reconstructions", scenes_of_codes(snapshot, codes, ["picture"] * len(codes))
    if subject.prior is not None:
        yield (
            "samples",
            scenes_of_codes(
                snapshot, _sampled_codes(subject.prior, len(codes), seed), ["sample"] * len(codes)
            ),
        )


def _sampled_codes(prior: PriorSnapshot, count: int, seed: int) -> Tensor:
    """Codes [count,N] of all classes in turn."""
    device = prior.prior.head.weight.device
    labels = torch.arange(count, device=device) % max(len(prior.classes), 1)
    draws = torch.rand(count, prior.prior.length, generator=generator_for("vq3d evaluation", seed))
    return prior.prior.sample(labels, draws.to(device), Sampling())


def _seen(scenes: list[Scene], yaw: float, network: FeatureNetwork) -> Gaussian:
    def portions() -> Iterator[Tensor]:
        for k in range(0, len(scenes), _BATCH):
            views = torch.cat([scene.view(yaw).images for scene in scenes[k : k + _BATCH]])
            yield network(to_uint8(views))[0]

    return fit_gaussian(portions())


def _named_data(path: Path, subject: Subject) -> Dataset:
    """The data set that a classifier learns from. Raises EvaluationError unless it has all classes of the pictures."""
    learnt = Dataset(path, needs_depth=False)
    known = {record["name"] for record in learnt.classes}
    lacking = [record["name"] for record in subject.dataset.classes if record["name"] not in known]
    if lacking or not subject.dataset.classes or learnt.resolution != subject.dataset.resolution:
        raise EvaluationError(
            f"`name_with` {path}: expected {subject.dataset.resolution} px pictures of all classes of "
            f"{subject.dataset.path}, found {learnt.resolution} px and no {lacking[0] if lacking else 'classes'!r}"
        )
    return learnt


def recognition_scores(subject: Subject, learnt: Dataset, options: SceneEvaluationOptions) -> list[Score]:
    """How many reconstructions, and samples of the code prior, a classifier of the pictures of `learnt` names right."""
    device = next(subject.tokenizer.tokenizer.parameters()).device
    namer = Namer(learnt, seed=options.seed, device=device)
    facts = subject.facts | {"classifier learnt from": f"{len(learnt)} pictures of {learnt.path.name}"}
    scores = reconstruction_recognition(namer, subject.tokenizer, subject.dataset, subject.numbers, facts)
    if subject.prior is not None and subject.prior.classes:
        scores += sample_recognition(namer, subject.prior, len(subject.numbers), options.seed, facts)
    return scores


def _sheet(subject: Subject) -> Any:
    images = load_images(subject.dataset, subject.numbers[:_SHOWN])
    device = next(subject.tokenizer.tokenizer.parameters()).device
    codes = subject.tokenizer.tokenizer.encode(images.to(device)).codes
    scenes = scenes_of_codes(
        subject.tokenizer, codes, [subject.dataset.names[k] for k in subject.numbers[:_SHOWN]]
    )
    return columns(scenes, [to_picture(image) for image in images])


def pictures_of(dataset: Dataset, most: int) -> tuple[list[int], str]:
    """Numbers of the pictures that are measured, evenly chosen, and which those are, in words."""
    numbers, which = list(range(len(dataset))), "all of the data set"
    archive = Archive(dataset.path)
    if {"manifest.json", "cameras.json"} <= set(archive.sizes):
        try:
            split = json.loads(archive.read("manifest.json"))["models"]
            views = json.loads(archive.read("cameras.json"))["views"]
            test = [
                k for k, name in enumerate(dataset.names) if split[views[name]["model"]]["split"] == "test"
            ]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise EvaluationError(
                f"{dataset.path}/manifest.json or cameras.json is damaged ({error!r})"
            ) from error
        if test:
            numbers, which = test, "of models of the manifest's test split"
    if len(numbers) > most:
        numbers = _some(numbers, most)
        which = f"{most}, evenly chosen, {which}"
    return numbers, which


def _some(numbers: list[int], most: int) -> list[int]:
    """At most `most` of the numbers, evenly chosen."""
    if len(numbers) <= most:
        return numbers
    return [numbers[k] for k in np.linspace(0, len(numbers) - 1, most).round().astype(int)]


def _about(subject: Subject, options: SceneEvaluationOptions) -> dict[str, Any]:
    snapshot = subject.tokenizer
    prior = None if subject.prior is None else digest(subject.prior.path)
    return {
        "snapshot": snapshot.path.name,
        "snapshot_sha256": snapshot.digest,
        "prior_sha256": prior,
        "nimg": snapshot.nimg,
        "preset": snapshot.config.preset,
        "dataset": subject.dataset.path.name,
        "dataset_fingerprint": subject.dataset.fingerprint,
        "images": len(subject.numbers),
        "seed": options.seed,
    }
