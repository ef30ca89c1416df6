"""Anyone's meshes against a model library: shapes as of a snapshot, and the health of the meshes themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gp3d_core.atomic import write_text
from gp3d_core.evaluation.report.mesh_sheet import COLUMNS, draw_meshes
from gp3d_core.evaluation.shapes.health import Health, health_scores, mesh_health
from gp3d_core.evaluation.shapes.library import (
    SUFFIXES,
    LibraryError,
    Model,
    cloud_seed,
    draw_models,
    mesh_files,
    model_clouds,
    read_library,
    read_shape,
    unread_in_words,
)
from gp3d_core.evaluation.shapes.pairs import (
    ClassPairs,
    PairOptions,
    class_pairs,
    pair_scores,
    points_of,
)
from gp3d_core.evaluation.shapes.scores import LEAST, SetDistances, compare_shapes, set_distances
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.metrics.pointclouds import surface_points, unit_clouds
from gp3d_core.metrics.pointnet import load_pointnet
from gp3d_core.metrics.score import Score
from gp3d_core.metrics.surface_pairs import OrientedPoints
from gp3d_core.rng import generator_for
from gp3d_core.visualization import save_picture

DEFAULT_PAIRS = PairOptions()


@dataclass(frozen=True, eq=False)
class _Group:
    """Meshes of one class and the models that they are compared with."""

    name: str
    files: list[Path]
    models: list[Model]


def check_meshes(meshes: Path, truth: Path, *, pointnet: Path | None, n: int, seed: int) -> None:
    """Raises what `measure_meshes` would, as far as that can be told from the folders and the weights."""
    _grouped(meshes, read_library(truth), n, seed)
    if pointnet is not None:
        load_pointnet(pointnet)


def measure_meshes(
    meshes: Path,
    truth: Path,
    *,
    pointnet: Path | None,
    n: int,
    seed: int,
    out: Path,
    pairs: PairOptions = DEFAULT_PAIRS,
    device: torch.device | str = "cpu",
) -> list[Score]:
    """Scores of the meshes in a folder against the library `truth`: shapes, pairs, and mesh/<health>.

    Meshes lie in a folder for each class, called like the library's classes; in one folder they are compared with
    all models, unless their names say their class as those of `gp3d mesh` do. They are in the GP3D frame (y up, front
    +z); files of formats that are not read are counted on the screen. At most `n` of them are compared, spread over the
    classes, and as many of a class as half of its models;
    health is of those, and so are pairs, each mesh with the nearest reference of its class. Writes
    `out`/meshes.jsonl, a line for each mesh, and the picture `out`/meshes.png. Raises LibraryError, MeshError,
    WeightsError.
    """
    network = None if pointnet is None else load_pointnet(pointnet, device)
    for said in filter(None, (unread_in_words(folder) for folder in (meshes, truth))):
        tqdm.write(f"gp3d: {said}", file=sys.stderr)
    groups = [_measure_group(group, meshes, seed) for group in _grouped(meshes, read_library(truth), n, seed)]
    sets = {own.name: own.clouds for own in groups}
    distances = set_distances(sets, device)
    compared = {own.name: own.pairs(distances[own.name], pairs) for own in groups}
    lines = [line for own in groups for line in own.lines(compared[own.name])]
    write_text(out / "meshes.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    save_picture(draw_meshes({own.name: own.shown for own in groups}), out / "meshes.png")
    facts = {"meshes": meshes.name, "reference": truth.name, "classes": len(sets), "seed": seed}
    return [
        *compare_shapes(sets, network, facts, device, distances),
        *pair_scores(compared, pairs, facts),
        *health_scores(
            {own.name: own.health for own in groups}, {own.name: own.real_health for own in groups}, facts
        ),
    ]


@dataclass(frozen=True, eq=False)
class _Measured:
    """A group of N meshes as it was read: names, points, clouds [N,P,3] of meshes, references and others, health."""

    name: str
    files: list[str]
    made: list[OrientedPoints | None]
    clouds: tuple[Tensor, Tensor, Tensor]
    models: list[Model]
    health: list[Health]
    real_health: list[Health]
    shown: tuple[list[Mesh], list[Mesh]]

    def pairs(self, distances: SetDistances, options: PairOptions) -> ClassPairs:
        """Every mesh beside its nearest reference."""
        count = len(self.made)
        bar = tqdm(self.models, desc=f"{self.name}, pairs", unit="model", file=sys.stderr, disable=None)
        points = [points_of(model.mesh(), cloud_seed("pair", model.key)) for model in bar]
        again = [
            points_of(model.mesh(), cloud_seed("pair again", model.key)) for model in self.models[:count]
        ]
        between = (distances.between, distances.floor_between)
        return class_pairs(self.made, points[:count], again, points[count:], between, options)

    def lines(self, pairs: ClassPairs) -> list[dict[str, Any]]:
        """A line of meshes.jsonl for each mesh."""
        rows = zip(self.files, self.health, pairs.nearest, pairs.found, strict=True)
        return [
            {"mesh": file, "class": self.name, **vars(health), "nearest": self.models[k].key, **(found or {})}
            for file, health, k, found in rows
        ]


def _measure_group(group: _Group, meshes: Path, seed: int) -> _Measured:
    """Reads the meshes of a group and draws as many references and others."""
    clouds, made, health = [], [], []
    first: list[Mesh] = []
    names = [path.relative_to(meshes).as_posix() for path in group.files]
    bar = tqdm(group.files, desc=group.name, unit="mesh", file=sys.stderr, disable=None)
    for path, name in zip(bar, names, strict=True):
        mesh = read_shape(path)
        clouds.append(surface_points(mesh.vertices, mesh.faces, cloud_seed("mesh", name)))
        made.append(points_of(mesh, cloud_seed("mesh pair", name)))
        health.append(mesh_health(mesh))
        first += [mesh] if len(first) < COLUMNS else []
    count = len(made)
    drawn = draw_models(group.models, 2 * count, seed, group.name)
    return _Measured(
        group.name,
        names,
        made,
        (unit_clouds(torch.stack(clouds)), model_clouds(drawn[:count]), model_clouds(drawn[count:])),
        drawn,
        health,
        [mesh_health(model.mesh()) for model in drawn[:count]],
        (first, [model.mesh() for model in drawn[: len(first)]]),
    )


def _grouped(meshes: Path, models: Sequence[Model], n: int, seed: int) -> list[_Group]:
    """The meshes by class, no more of each than can be compared. Raises LibraryError where nothing fits."""
    if not meshes.is_dir():
        raise LibraryError(f"{meshes}: no such folder; expected meshes {', '.join(SUFFIXES)}")
    by_class: dict[tuple[str, ...], list[Path]] = {}
    for path, names in mesh_files(meshes):
        by_class.setdefault(names, []).append(path)
    if not by_class:
        raise LibraryError(
            unread_in_words(meshes)
            or f"{meshes}: no meshes; expected {', '.join(SUFFIXES)}, perhaps in a folder for each class"
        )
    groups = []
    for names, files in by_class.items():
        own = [model for model in models if not names or set(names) & set(model.names)]
        most = min(max(LEAST, n // len(by_class)), len(files), len(own) // 2)
        if most < LEAST:
            raise LibraryError(
                f"{meshes}: {names[-1] if names else 'one folder'} has {len(files)} meshes and the library {len(own)} "
                f"models of that class; expected at least {LEAST} and {2 * LEAST}"
            )
        order = torch.randperm(len(files), generator=generator_for("meshes", seed))[:most]
        groups.append(_Group(names[-1] if names else "all", [files[i] for i in sorted(order.tolist())], own))
    return groups
