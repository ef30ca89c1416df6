"""One evaluation from beginning to end: checks, features on all processes, scores one by one, report.

Everything that is computed stays: the same command goes on after an interruption, another metric is added to what
is there, and a score is measured again only when its settings have changed.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from gp3d_core.datasets.dataset import Dataset
from gp3d_core.distributed import World, world
from gp3d_core.evaluation.flatness import SAMPLES as FLATNESS_SAMPLES
from gp3d_core.evaluation.flatness import measure_flatness
from gp3d_core.evaluation.geometry import measure_geometry
from gp3d_core.evaluation.images import (
    IMAGE_METRICS,
    SAMPLES,
    ImageScores,
    check_counts,
    image_scores,
    samples_of,
)
from gp3d_core.evaluation.recognition import check_splits, measure_recognition
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.report.page import write_report
from gp3d_core.evaluation.report.sheets import draw_samples
from gp3d_core.evaluation.reportcard.measure import measure_cards
from gp3d_core.evaluation.reportcard.pages import write_cards
from gp3d_core.evaluation.samples import EvaluationError, Sampler, describe_cameras, labels_in
from gp3d_core.evaluation.shapes.diversity import GRID as DIVERSITY_GRID
from gp3d_core.evaluation.shapes.diversity import REFERENCES, measure_diversity
from gp3d_core.evaluation.shapes.meshes import DEFAULT_PAIRS, check_meshes, measure_meshes
from gp3d_core.evaluation.shapes.objects import GRID, LEVEL
from gp3d_core.evaluation.shapes.pairs import PairOptions
from gp3d_core.evaluation.shapes.scores import check_references, measure_shapes
from gp3d_core.evaluation.true_views import is_rendered, read_views
from gp3d_core.hashing import digest
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.metrics.classifier import STEPS
from gp3d_core.metrics.features import INCEPTION, check_network, open_network
from gp3d_core.metrics.pointnet import load_pointnet
from gp3d_core.metrics.score import Score
from gp3d_core.ops.backends import announce
from gp3d_core.rendering.known_cameras import cameras_apart
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import Snapshot, load_snapshot
from gp3d_core.visualization import save_picture

SHAPE_METRICS = ("fpd", "shapes")  # against models; fpd is shapes and one more
SURFACE_METRICS = (*SHAPE_METRICS, "diversity")  # whose surfaces all processes share
LONE_METRICS = (
    "nfs",
    "geometry",
    "card",
    "recognition",
)  # that the first process measures while the others have ended
METRICS = (*IMAGE_METRICS, "nfs", *SURFACE_METRICS, "geometry", "card", "recognition")
REPORT_CARD = ("geometry", "card")  # what the pages of a report card show
SHAPES = 256


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What to measure of a snapshot, and how; paths that are None were not given."""

    metrics: tuple[str, ...]
    features: str = INCEPTION
    weights: Path | None = None
    samples: int = SAMPLES  # generated images of kid, is and pr
    shapes: int = SHAPES  # objects of fpd, shapes, diversity, geometry and recognition
    grid: int | None = None  # of surfaces, samples an axis; None: 256, for diversity 128
    level: Level | None = None  # of surfaces; None: 10, for diversity the one to be found
    pixels: int | None = None  # along an edge of views of geometry and card; None: all of the data set's
    references: int | None = REFERENCES  # real models of a class that diversity looks at; None: all
    truth: Path | None = None  # library of models for fpd, shapes and diversity
    pointnet: Path | None = None
    seed: int = 0
    truncation: float = 1.0
    cache: Path | None = None


def parse_metrics(text: str) -> tuple[str, ...]:
    """Metrics of "fid2k,nfs", each once. Raises EvaluationError, with the nearest name, for one that is unknown."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1)
            hint = f"did you mean {near[0]}?" if near else "it is not one of them"
            raise EvaluationError(f"`metrics` {name}: {hint} Known are {', '.join(METRICS)}")
    if not names:
        raise EvaluationError(f"`metrics` expects names with commas, known are {', '.join(METRICS)}")
    return names


def usual_cache() -> Path:
    """Where features of real images are kept for all evaluations."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "gp3d", "features")


def evaluate(
    snapshot_path: Path, dataset_path: Path, out: Path, options: EvaluationOptions, device: str = "cpu"
) -> list[Score]:
    """Measures the snapshot (a file, or the newest of a run folder) against a data set; writes `out`.

    Returns all scores that are now in `out`. Under torchrun the processes share features and surfaces; the first does
    everything else and writes, the others return nothing. Raises a GP3DError for anything that is wrong, before
    anything is computed where that can be known.
    """
    with world(device) as here:
        work = _Work.open(snapshot_path, dataset_path, out, options, here)
        alone = [metric for metric in work.missing if metric in LONE_METRICS]
        if here.size > 1 and alone:
            announce(f"gp3d: only the first of {here.size} processes measures {', '.join(alone)}")
        shapes = work.share(here)
    if not here.leads:
        return []
    for metric, scores in shapes.items():
        work.keep(metric, scores)
    for metric in work.missing:
        if metric not in shapes:
            work.keep(metric, work.measure(metric))
    work.report()
    return work.folder.scores()


def evaluate_meshes(
    meshes: Path,
    truth: Path,
    out: Path,
    *,
    pointnet: Path | None,
    n: int = SHAPES,
    seed: int = 0,
    pairs: PairOptions = DEFAULT_PAIRS,
    device: str = "cpu",
) -> list[Score]:
    """Measures anyone's meshes, at most `n` of them, against a library of models; writes `out` as `evaluate` does."""
    check_meshes(meshes, truth, pointnet=pointnet, n=n, seed=seed)
    folder = EvaluationFolder(out)
    folder.claim({"meshes": meshes.name, "truth": truth.name, "kind": "meshes", "seed": seed})
    scores = measure_meshes(
        meshes, truth, pointnet=pointnet, n=n, seed=seed, out=out, pairs=pairs, device=device
    )
    folder.keep("meshes", {"n": n}, scores)
    write_report(folder)
    return folder.scores()


@dataclass(frozen=True, eq=False)
class _Work:
    """An evaluation that has passed all checks."""

    options: EvaluationOptions
    sampler: Sampler
    dataset: Dataset
    images: ImageScores | None
    folder: EvaluationFolder

    @staticmethod
    def open(
        snapshot_path: Path, dataset_path: Path, out: Path, options: EvaluationOptions, here: World
    ) -> _Work:
        snapshot = load_snapshot(find_snapshot(snapshot_path), here.device)
        dataset = Dataset(dataset_path, needs_depth=False)
        check_network(options.features)
        check_fit(snapshot, dataset, options)
        labels = labels_in(snapshot, dataset)
        sampler = Sampler(snapshot, labels, _angles(snapshot, dataset), options.seed, options.truncation)
        images = None
        if set(options.metrics) & set(IMAGE_METRICS):
            network = open_network(options.features, options.weights, here.device)
            if apart := cameras_apart(snapshot.config, dataset):
                announce(f"gp3d: {apart.words}: scores of pictures count this difference, too")
            images = image_scores(sampler, dataset, network, out, options.cache or usual_cache())
        folder = EvaluationFolder(out)
        if here.leads:
            folder.claim(_about(snapshot, dataset, options))
        here.barrier()
        return _Work(options, sampler, dataset, images, folder)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Metrics that the folder does not have yet, as it was when this was first asked."""
        wanted = self.options.metrics
        return tuple(metric for metric in wanted if not self.folder.has(metric, self._settings(metric)))

    def share(self, here: World) -> dict[str, list[Score]]:
        """What all processes do together: the features of images, and the scores that need surfaces."""
        images = [metric for metric in self.missing if metric in IMAGE_METRICS]
        shapes = [metric for metric in self.missing if metric in SURFACE_METRICS]
        here.barrier()  # nobody writes before all know what is missing
        if self.images is not None and images:
            self.images.prepare(images, self.options.samples, here)
        return {metric: self._surfaces(metric, here) for metric in shapes}

    def measure(self, metric: str) -> list[Score]:
        """The scores of one metric that the first process measures alone."""
        if metric == "nfs":
            return measure_flatness(self.sampler)
        if metric in ("geometry", "card"):
            of_shapes = measure_geometry if metric == "geometry" else measure_cards
            return of_shapes(
                self.sampler.snapshot,
                self.dataset.path,
                n=self.options.shapes,
                seed=self.options.seed,
                out=self.folder.path,
                truncation=self.options.truncation,
                pixels=self.options.pixels,
            )
        if metric == "recognition":
            return measure_recognition(
                self.sampler.snapshot,
                self.dataset.path,
                n=self.options.shapes,
                seed=self.options.seed,
                cache=self.options.cache or usual_cache(),
                truncation=self.options.truncation,
            )
        if self.images is None:
            raise ValueError(f"no network was opened for {metric}")
        return self.images.measure(metric, self.options.samples)

    def keep(self, metric: str, scores: list[Score]) -> None:
        """Keeps the scores of one metric."""
        self.folder.keep(metric, self._settings(metric), scores)

    def report(self) -> None:
        """Draws the samples once, and writes the page of everything that is kept."""
        picture = self.folder.path / "samples.png"
        if not picture.exists():
            save_picture(draw_samples(self.sampler, self.dataset), picture)
        write_cards(self.folder)
        write_report(self.folder)

    def _surfaces(self, metric: str, here: World) -> list[Score]:
        options, snapshot = self.options, self.sampler.snapshot
        if options.truth is None:
            raise ValueError(f"no models for {metric}")
        grid, level = self._surface(metric)
        shared: dict[str, Any] = {
            "n": options.shapes,
            "seed": options.seed,
            "out": self.folder.path,
            "truncation": options.truncation,
            "grid": grid,
            "level": level,
            "world": here,
        }
        if metric == "diversity":
            views = self.dataset.path if is_rendered(self.dataset.path) else None
            return measure_diversity(
                snapshot, options.truth, dataset=views, most=options.references, **shared
            )
        pointnet = options.pointnet if metric == "fpd" else None
        return measure_shapes(snapshot, options.truth, pointnet=pointnet, **shared)

    def _surface(self, metric: str) -> tuple[int, Level]:
        """Grid and level of the surfaces of a metric."""
        own: tuple[int, Level] = (DIVERSITY_GRID, AUTO) if metric == "diversity" else (GRID, LEVEL)
        return self.options.grid or own[0], own[1] if self.options.level is None else self.options.level

    def _settings(self, metric: str) -> dict[str, Any]:
        """What decides the scores of `metric` besides snapshot, data, seed and truncation."""
        options = self.options
        if metric in IMAGE_METRICS and self.images is not None:
            network = self.images.network
            return {"n": samples_of(metric, options.samples), "network": network.prefix + network.weights}
        if metric == "nfs":
            return {"n": FLATNESS_SAMPLES}
        settings: dict[str, Any] = {"n": options.shapes}
        if metric in SURFACE_METRICS:
            grid, level = self._surface(metric)
            settings |= {"grid": grid, "level": level.to_json(), "truth": str(options.truth)}
        if metric == "fpd" and options.pointnet is not None:
            settings["pointnet"] = digest(options.pointnet)
        if metric == "diversity":
            settings["references"] = options.references
        if metric in ("geometry", "card") and options.pixels is not None:
            settings["pixels"] = options.pixels
        if metric == "recognition":
            settings["steps"] = STEPS
        return settings


def check_fit(snapshot: Snapshot, dataset: Dataset, options: EvaluationOptions) -> None:
    """Raises EvaluationError when the data is of another size than the snapshot's images, or too little.

    Also raises what the metrics would say of models, weights and views that do not fit, before time goes into others.
    """
    resolution = snapshot.config.training.resolution
    if dataset.resolution != resolution:
        raise EvaluationError(
            f"{dataset.path} has {dataset.resolution} px images, {snapshot.path} makes {resolution} px: "
            f"use the data set at {resolution} px"
        )
    for metric in options.metrics:
        if metric not in (*IMAGE_METRICS, "nfs") and snapshot.config.dimensions < 3:
            raise EvaluationError(
                f"{metric} is about shapes, {snapshot.path} is a model of {snapshot.config.system}, which draws "
                f"pictures: choose `metrics` of {', '.join(IMAGE_METRICS)}, nfs"
            )
        if metric in IMAGE_METRICS:
            check_counts(metric, dataset, options.samples)
        if metric in SURFACE_METRICS and options.truth is None:
            raise EvaluationError(f"{metric} compares with models: name their folder with `truth` MODELS")
        if metric == "fpd":
            _check_pointnet(options.pointnet)
    if set(options.metrics) & set(SURFACE_METRICS) and options.truth is not None:
        check_references(snapshot, options.truth, options.shapes, options.seed)
    if set(REPORT_CARD) & set(options.metrics):
        read_views(dataset.path)
    if "recognition" in options.metrics:
        check_splits(read_views(dataset.path))


def _check_pointnet(weights: Path | None) -> None:
    if weights is None:
        raise EvaluationError(
            "fpd needs the weights of a point network, `pointnet` FILE; the metric shapes does without"
        )
    load_pointnet(weights)


def _angles(snapshot: Snapshot, dataset: Dataset) -> torch.Tensor | None:
    """The data set's camera angles [N,2] where the snapshot's prior is made of them."""
    if "custom" not in (snapshot.config.camera.yaw.kind, snapshot.config.camera.pitch.kind):
        return None
    if dataset.angles is None:
        raise EvaluationError(
            f"{snapshot.path} takes its cameras from the data, {dataset.path} has no camera_angles"
        )
    return torch.from_numpy(dataset.angles)


def _about(snapshot: Snapshot, dataset: Dataset, options: EvaluationOptions) -> dict[str, Any]:
    return {
        "snapshot": snapshot.path.name,
        "snapshot_sha256": snapshot.digest,
        "nimg": snapshot.nimg,
        "preset": snapshot.config.preset,
        "dataset": dataset.path.name,
        "dataset_fingerprint": dataset.fingerprint,
        "images": len(dataset),
        "resolution": dataset.resolution,
        "seed": options.seed,
        "truncation": options.truncation,
        "cameras": describe_cameras(snapshot, _angles(snapshot, dataset) is not None),
    }
