"""Anyone's meshes against a model library: shapes as of a snapshot, and the health of the meshes themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
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
)
from gp3d_core.evaluation.shapes.scores import LEAST, compare_shapes
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.metrics.pointclouds import surface_points, unit_clouds
from gp3d_core.metrics.pointnet import load_pointnet
from gp3d_core.metrics.score import Score
from gp3d_core.rng import generator_for
from gp3d_core.visualization import save_picture


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
    device: torch.device | str = "cpu",
) -> list[Score]:
    """Scores of the meshes in a folder against the library `truth`: shapes, and mesh/<health>.

    Meshes lie in a folder for each class, called like the library's classes; in one folder they are compared with
    all models, unless their names say their class as those of `gp3d mesh` do. They are in the GP3D frame (y up, front
    +z). At most `n` of them are compared, spread over the classes, and as many of a class as half of its models;
    health is of those. Writes `out`/meshes.jsonl, a line for each mesh, and the picture `out`/meshes.png. Raises
    LibraryError, MeshError, WeightsError.
    """
    network = None if pointnet is None else load_pointnet(pointnet, device)
    sets, lines, shown = {}, [], {}
    health: dict[str, list[Health]] = {}
    real_health: dict[str, list[Health]] = {}
    for group in _grouped(meshes, read_library(truth), n, seed):
        made, health[group.name] = [], []
        first: list[Mesh] = []
        for path in tqdm(group.files, desc=group.name, unit="mesh", file=sys.stderr, disable=None):
            mesh = read_shape(path)
            name = path.relative_to(meshes).as_posix()
            made.append(surface_points(mesh.vertices, mesh.faces, cloud_seed("mesh", name)))
            found = mesh_health(mesh)
            health[group.name].append(found)
            first += [mesh] if len(first) < COLUMNS else []
            lines.append({"mesh": name, "class": group.name, **vars(found)})
        drawn = draw_models(group.models, 2 * len(made), seed, group.name)
        shown[group.name] = (first, [model.mesh() for model in drawn[: len(first)]])
        real_health[group.name] = [mesh_health(model.mesh()) for model in drawn[: len(made)]]
        sets[group.name] = (
            unit_clouds(torch.stack(made)),
            model_clouds(drawn[: len(made)]),
            model_clouds(drawn[len(made) :]),
        )
    write_text(out / "meshes.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    save_picture(draw_meshes(shown), out / "meshes.png")
    facts = {"meshes": meshes.name, "reference": truth.name, "classes": len(sets), "seed": seed}
    return compare_shapes(sets, network, facts, device) + health_scores(health, real_health, facts)


def _grouped(meshes: Path, models: Sequence[Model], n: int, seed: int) -> list[_Group]:
    """The meshes by class, no more of each than can be compared. Raises LibraryError where nothing fits."""
    if not meshes.is_dir():
        raise LibraryError(f"{meshes}: no such folder; expected meshes {', '.join(SUFFIXES)}")
    by_class: dict[tuple[str, ...], list[Path]] = {}
    for path, names in mesh_files(meshes):
        by_class.setdefault(names, []).append(path)
    if not by_class:
        raise LibraryError(
            f"{meshes}: no meshes; expected {', '.join(SUFFIXES)}, perhaps in a folder for each class"
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
