"""Measures of shapes: sets of surfaces against those of real models, and how much of thin real surfaces is there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.comparison.references import part_of_libraries, read_libraries
from benchmarks.comparison.subjects import ComparisonError, Subject, kept
from benchmarks.programs import call
from gp3d_core.assets.distance import distances_to
from gp3d_core.config.schema import RunConfig, from_dict
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.evaluation.shapes.library import Model, cloud_seed
from gp3d_core.evaluation.shapes.objects import Surfaces, object_clouds, objects_of
from gp3d_core.evaluation.shapes.scores import Reference, compare_shapes
from gp3d_core.generation.sampling import generate
from gp3d_core.grounding.point_files import POINTS
from gp3d_core.hashing import digest
from gp3d_core.meshing.isosurface import field_surface
from gp3d_core.meshing.level import AUTO
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.pipeline import surface_levels
from gp3d_core.metrics.pointclouds import chamfer_matrix, unit_clouds
from gp3d_core.metrics.pointnet import load_pointnet
from gp3d_core.networks.generator import Generator
from gp3d_core.networks.latents import one_hot
from gp3d_core.networks.layers import normalise_second_moment
from gp3d_core.snapshots.metadata import CHECKPOINT, read_header
from gp3d_core.snapshots.run_folder import RunFolder
from gp3d_core.snapshots.snapshot import load_tensors

GRID = 128
NEAR = 0.01  # of the diagonal of a model's box, which is 1 in our frame
SURFACE_POINTS = 4096
_COMPARED = 1024  # points of a cloud by which the nearest sample is found
_THIN_WORDS = {"lamp", "chair", "throne", "table", "bucket", "bicycle", "bike"}


@cache
def _cloud(model: Model) -> Tensor:
    return model.cloud()


def shape_scores(
    subject: Subject,
    references: Mapping[str, Reference],
    pointnet: Path | None,
    seed: int,
    truncation: float,
    path: Path,
) -> dict[str, dict[str, Any]]:
    """Scores fpd (with weights `pointnet`), coverage, mmd and 1-nna by name, over all classes of `references`; kept.

    Each has value, floor and, but for fpd, both for every class. As many objects of a class are made as it has
    references; surfaces are those of `gp3d mesh` before any cleaning.
    """

    def measure() -> dict[str, Any]:
        network = None if pointnet is None else load_pointnet(pointnet)
        sizes = [len(reference) for reference in references.values()]
        specs = [
            spec
            for name, size in zip(references, sizes, strict=True)
            for spec in objects_of(subject.records[name], size, seed)
        ]
        surfaces = Surfaces(grid=GRID, level=AUTO, truncation=truncation)
        clouds = object_clouds(subject.snapshot, specs, surfaces, subject.folder / "clouds")
        sets = {
            name: (
                made,
                *(torch.stack([_cloud(model) for model in half]) for half in (own.models, own.others)),
            )
            for (name, own), made in zip(
                references.items(), unit_clouds(clouds.points).split(sizes), strict=True
            )
        }
        scores = compare_shapes(sets, network, {"empty": int((~clouds.solid).sum())})
        wanted = ("floor", "per_class", "floor_per_class", "empty")
        return {
            score.metric: {"value": score.value}
            | {key: score.facts[key] for key in wanted if key in score.facts}
            for score in scores
        }

    settings = {
        "models": {name: [m.key for m in (*own.models, *own.others)] for name, own in references.items()},
        "pointnet": None if pointnet is None else digest(pointnet),
        "seed": seed,
        "truncation": truncation,
    }
    return kept(path, settings, measure)


def is_thin(name: str) -> bool:
    """Whether a class's thin parts are measured: lamps, chairs, tables, buckets, bicycles."""
    return not _THIN_WORDS.isdisjoint(name.lower().replace("_", " ").split())


def share_near(mesh: Mesh | None, points: NDArray[Any], near: float = NEAR) -> float:
    """The share of the `points` [N,3] that lie within `near` of the surface; none where there is no surface."""
    return 0.0 if mesh is None else float((distances_to(mesh, points) <= near).mean())


def surface_of(generator: Generator, config: RunConfig, planes: Tensor) -> Mesh | None:
    """The surface of a field as `gp3d mesh` finds it, before any cleaning; None if there is none."""
    field = generator.field(planes)
    _, raw = surface_levels(field, config, AUTO)
    vertices, faces = field_surface(field, box=field.box, grid=GRID, level=raw, device=planes.device)
    return Mesh(vertices, faces) if len(faces) else None


def real_surfaces(
    libraries: Sequence[Path], models: Sequence[Model], folder: Path
) -> dict[str, NDArray[Any]]:
    """Points [N,3] that can be seen of each model's surface, in the world frame, by key; made in `folder` if missing.

    Models that cannot be read are left out.
    """
    part = part_of_libraries(libraries, models, folder / "models")
    count = ("--points", 6, "--surface", SURFACE_POINTS, "--workers", 1, "--seed", 0)
    call("synthetic.points", part, folder / "data", *count)
    return {
        model.key: points
        for model in models
        if (points := read_surface(folder / "data", model.key)) is not None
    }


def read_surface(dataset: Path, key: str) -> NDArray[Any] | None:
    """The points on the surface of a model that `python -m synthetic.points --surface N` has written; None without."""
    path = dataset / POINTS / f"{key}.npz"
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        if "surface_positions" not in file.files:
            return None
        return np.asarray(file["surface_positions"], np.float64)


@torch.no_grad()
def nearest_samples(
    subject: Subject,
    name: str,
    surfaces: Mapping[str, NDArray[Any]],
    samples: int,
    seed: int,
    truncation: float,
) -> dict[str, float]:
    """For each real surface, by key, the share that lies near the most similar of `samples` objects of the class.

    Most similar is the least Chamfer distance in the world frame: nothing is moved or scaled. This says what a snapshot
    reaches by chance, not what it has kept of a model that it knows.
    """
    specs = objects_of(subject.records[name], samples, seed)
    wanted = Surfaces(grid=GRID, level=AUTO, truncation=truncation)
    made = object_clouds(subject.snapshot, specs, wanted, subject.folder / "clouds").points[:, :_COMPARED]
    real = torch.stack([torch.from_numpy(_drawn(points, key)).float() for key, points in surfaces.items()])
    nearest = chamfer_matrix(real, made).argmin(dim=1).tolist()
    found: dict[str, float] = {}
    for place in sorted(set(nearest)):
        obj = generate(subject.snapshot, specs[place], truncation)
        mesh = surface_of(subject.snapshot.generator, subject.snapshot.config, obj.planes)
        found |= {
            key: share_near(mesh, points)
            for (key, points), best in zip(surfaces.items(), nearest, strict=True)
            if best == place
        }
    return {key: found[key] for key in surfaces}


def _drawn(points: NDArray[Any], key: str) -> NDArray[Any]:
    order = np.random.default_rng(cloud_seed("thin", key)).permutation(len(points))
    return points[order[:_COMPARED]]


@dataclass(frozen=True, eq=False)
class Learnt:
    """A run of `gp3d ground`: its averaged generator with the latent [Z] and label of every model it knows, by key."""

    generator: Generator
    config: RunConfig
    latents: dict[str, Tensor]
    labels: dict[str, int]
    classes: list[str]

    @torch.no_grad()
    def planes(self, key: str) -> Tensor:
        """The tri-planes of a model as it was learnt, without noise."""
        z = normalise_second_moment(self.latents[key][None])
        c = one_hot(torch.tensor([self.labels[key]]), len(self.classes))
        return self.generator.planes(self.generator.mapping(z, c))


def read_run(run: Path, dataset: Path) -> Learnt:
    """What a run folder has learnt of the models of its `dataset`.

    Raises ComparisonError for a run without checkpoints, or of another data set.
    """
    checkpoints = RunFolder(run).list_checkpoints()
    if not checkpoints:
        raise ComparisonError(f"{run}: has no checkpoints; expected the folder of a run of `gp3d ground`")
    read_header(checkpoints[0], CHECKPOINT)
    tensors, data = load_tensors(checkpoints[0]), Dataset(dataset)
    config = from_dict(json.loads((run / "config.json").read_text(encoding="utf-8")))
    views = json.loads((dataset / "cameras.json").read_text(encoding="utf-8"))["views"]
    labels = {
        str(views[name]["model"]): int(label) for name, label in zip(data.names, data.labels, strict=True)
    }
    latents = tensors.get("latents.weight")
    if latents is None or len(latents) != len(labels):
        raise ComparisonError(
            f"{checkpoints[0]}: expected latents of the {len(labels)} models of {dataset}, "
            f"found {'none' if latents is None else len(latents)}"
        )
    generator = Generator(config, len(data.classes)).eval().requires_grad_(False)
    generator.load_state_dict(
        {key.removeprefix("ema."): value for key, value in tensors.items() if key.startswith("ema.")}
    )
    classes = [str(record["name"]) for record in data.classes]
    return Learnt(generator, config, dict(zip(sorted(labels), latents, strict=True)), labels, classes)


def known_surfaces(
    learnt: Learnt, dataset: Path, libraries: Sequence[Path], count: int, folder: Path
) -> dict[str, dict[str, NDArray[Any]]]:
    """By class with thin parts and by key: points on the surface of the first `count` models that a run knows.

    They are made in `folder` from the `libraries` that hold the models; without any they are those of the `dataset`,
    which may have more of them where parts are thin. Raises ComparisonError if a model has none.
    """
    known = {model.key: model for model in read_libraries(libraries)} if libraries else {}
    chosen = {
        name: [
            key
            for key, label in sorted(learnt.labels.items())
            if learnt.classes[label] == name and (key in known or not libraries)
        ][:count]
        for name in learnt.classes
        if is_thin(name)
    }
    keys = [key for own in chosen.values() for key in own]
    if libraries and keys:
        made = real_surfaces(libraries, [known[key] for key in keys], folder)
    else:
        made = {key: points for key in keys if (points := read_surface(dataset, key)) is not None}
    if missing := [key for key in keys if key not in made]:
        raise ComparisonError(
            f"{dataset}: has no points on the surface of {missing[0]}; name the libraries of its models (--run-models)"
        )
    return {name: {key: made[key] for key in own} for name, own in chosen.items()}


def learnt_models(
    learnt: Learnt, surfaces: Mapping[str, Mapping[str, NDArray[Any]]]
) -> dict[str, dict[str, float]]:
    """By class and key, for models that a run knows: the share of their surface that is near what it has learnt."""
    return {
        name: {
            key: share_near(surface_of(learnt.generator, learnt.config, learnt.planes(key)), points)
            for key, points in tqdm(own.items(), desc=f"learnt {name}", unit="model", disable=None)
        }
        for name, own in surfaces.items()
    }


def thin_parts(
    subject: Subject,
    surfaces: Mapping[str, Mapping[str, NDArray[Any]]],
    settings: Mapping[str, Any],
) -> dict[str, dict[str, float]]:
    """`nearest_samples` of every class in `surfaces` that the snapshot knows, with these `settings`; kept."""

    def measure() -> dict[str, Any]:
        return {
            name: nearest_samples(subject, name, own, **settings)
            for name, own in surfaces.items()
            if name in subject.records
        }

    keys = {name: list(own) for name, own in surfaces.items()}
    return kept(subject.folder / "thin-parts.json", {**settings, "models": keys, "near": NEAR}, measure)
