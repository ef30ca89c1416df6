"""Which objects of a snapshot are measured, and their surfaces as point clouds, kept on disk one by one."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gp3d_core.atomic import replacing
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.distributed import World
from gp3d_core.evaluation.shapes.health import NOTHING, Health, mesh_health
from gp3d_core.evaluation.shapes.library import cloud_seed
from gp3d_core.generation.objects import MOST_SEEDS, ObjectSpec
from gp3d_core.generation.sampling import generate
from gp3d_core.hashing import DAMAGE
from gp3d_core.meshing.isosurface import field_surface
from gp3d_core.meshing.level import AUTO, Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.pipeline import surface_levels
from gp3d_core.metrics.pointclouds import POINTS, surface_points
from gp3d_core.snapshots.snapshot import Snapshot

GRID = 256  # 3DGP appendix H
LEVEL = Level(10.0)
_ASKED = 4  # objects whose level of agreement is looked for, at the most


def class_records(snapshot: Snapshot) -> list[ClassRecord]:
    """The snapshot's classes; one called "object" if it was trained without."""
    return snapshot.classes or [{"label": 0, "name": "object"}]


def objects_of(record: ClassRecord, count: int, seed: int) -> list[ObjectSpec]:
    """`count` objects of a class, with seeds from 10 000 · `seed` on: what `gp3d mesh` makes of these seeds."""
    first = MOST_SEEDS * seed
    return [ObjectSpec(record.copy(), record["label"], first + i) for i in range(count)]


@dataclass(frozen=True, kw_only=True)
class Surfaces:
    """How surfaces of generated objects are taken: samples per axis, density of the surface, truncation.

    A level after activation is one of density scale and all; the one to be found is that of `gp3d mesh`. Every
    component counts, cavities as well, and nothing is simplified.
    """

    grid: int = GRID
    level: Level = LEVEL
    truncation: float = 1.0

    @property
    def identity(self) -> str:
        """What the files of such surfaces are found by; it must not change, or what is kept is made again."""
        level = self.level.to_json()
        return f"Surfaces(grid={self.grid!r}, level={level!r}, truncation={self.truncation!r})"

    def facts(self, snapshot: Snapshot) -> dict[str, Any]:
        """What scores of such surfaces have to say."""
        return {
            "grid": self.grid,
            "level": self.level.to_json(),
            "density_scale": snapshot.config.render.density_scale,
            "truncation": self.truncation,
            "points": POINTS,
        }


@dataclass(frozen=True, eq=False)
class Clouds:
    """Points [N,P,3] in world units on the surfaces of objects, their levels [N], which of them have a surface [N].

    `health` is of each surface as it comes from the field.
    """

    points: Tensor
    levels: Tensor
    solid: Tensor
    health: list[Health]


def object_clouds(
    snapshot: Snapshot,
    object_specs: Sequence[ObjectSpec],
    surfaces: Surfaces,
    folder: Path,
    world: World | None = None,
) -> Clouds:
    """Clouds of the objects' surfaces; an object without a surface becomes a point at the origin, P times.

    Files of `folder`, one an object, are kept, so that the same call goes on where it stopped. Several processes share
    the work; all have to call it, on one file system.
    """
    world = world or World()
    identity = f"{snapshot.digest} {surfaces.identity} with health"
    own = folder / hashlib.sha256(identity.encode()).hexdigest()[:12]
    own.mkdir(parents=True, exist_ok=True)
    paths = [own / f"{spec.label:04d}-{spec.stem}.npz" for spec in object_specs]
    missing = [(spec, path) for spec, path in zip(object_specs, paths, strict=True) if not path.exists()]
    world.barrier()  # nobody writes before all have seen what is missing
    share = missing[world.rank :: world.size]
    bar = tqdm(
        share, desc="surfaces", unit="object", file=sys.stderr, disable=not (world.leads and share) or None
    )
    for spec, path in bar:
        points, level, health = _surface(snapshot, spec, surfaces)
        with replacing(path) as temporary:
            np.savez(temporary, points=points.numpy(), level=level, **vars(health))
    world.barrier()
    loaded = [_read(path) for path in paths]
    return Clouds(
        torch.stack([points for points, _, _ in loaded]),
        torch.tensor([level for _, level, _ in loaded]),
        torch.tensor([health.components > 0 for _, _, health in loaded]),
        [health for _, _, health in loaded],
    )


def agreement_level(snapshot: Snapshot, object_specs: Sequence[ObjectSpec], truncation: float) -> float:
    """The median level of `gp3d mesh`, at which a surface agrees best with the views, over some of the objects."""
    few = object_specs[:: -(-len(object_specs) // _ASKED)]
    fields = (snapshot.generator.field(generate(snapshot, spec, truncation).planes) for spec in few)
    return median(surface_levels(field, snapshot.config, AUTO)[0] for field in fields)


def _surface(snapshot: Snapshot, spec: ObjectSpec, surfaces: Surfaces) -> tuple[Tensor, float, Health]:
    field = snapshot.generator.field(generate(snapshot, spec, surfaces.truncation).planes)
    level, raw = surface_levels(field, snapshot.config, surfaces.level)
    vertices, faces = field_surface(field, box=field.box, grid=surfaces.grid, level=raw, device=field.device)
    seed = cloud_seed("object", spec.label, spec.seed)
    health = mesh_health(Mesh(vertices, faces)) if len(faces) else NOTHING
    return surface_points(vertices, faces, seed), level, health


def _read(path: Path) -> tuple[Tensor, float, Health]:
    try:
        with np.load(path, allow_pickle=False) as file:
            health = Health(bool(file["watertight"]), int(file["components"]), float(file["smoothness"]))
            return torch.from_numpy(file["points"]), float(file["level"]), health
    except DAMAGE as error:
        raise DatasetError(
            f"{path} is damaged ({error}); remove it, and the same command makes it again"
        ) from error
