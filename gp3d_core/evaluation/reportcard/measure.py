"""The geometry of a class's objects as `gp3d mesh` makes them: what was seen, what agrees, what is thin, what closed.

Thin parts are compared in two ways: a mesh keeps what its field shows in thin pixels of the silhouettes, or not; and
the field has as many thin pixels as real views of the class, or fewer. Objects are measured class by class, and what is
measured stays in the folder, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gp3d_core.atomic import write_json
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.imagenet import ClassRecord
from gp3d_core.evaluation.geometry import draw_views, look_once
from gp3d_core.evaluation.reportcard.pictures import draw_object
from gp3d_core.evaluation.shapes.health import mesh_health
from gp3d_core.evaluation.shapes.objects import class_records, objects_of
from gp3d_core.evaluation.true_views import TruthViews, read_views
from gp3d_core.generation.objects import ObjectSpec
from gp3d_core.generation.sampling import generate
from gp3d_core.meshing.extraction import EmptyMeshError
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import find_surface
from gp3d_core.metrics.score import Score
from gp3d_core.rendering.volume import ShapeField
from gp3d_core.snapshots.snapshot import Snapshot
from gp3d_core.trust.disagreement import thin_pixels
from gp3d_core.trust.report import Trust, examine
from gp3d_core.visualization import save_picture

OBJECTS = 2  # of a class, at the most
GRID = 96
_REAL_VIEWS = 24  # of a class that thin parts are looked for in
_VIEWS = 4  # all around that mesh and field are compared from
_OWN_VIEWS = 2  # from real cameras that thin parts of the field are looked for in
_LEAST_THIN = 0.02  # share of real silhouettes that is thin, below which a class has no thin parts
MEASURES = {
    "never_seen": "share of the surface that no training camera sees",
    "well_supervised": "share of the surface that training cameras see well",
    "disagreement": "mean distance of mesh and field, share of the longest side",
    "disagreement_95": "what 95 % of the distances stay below",
    "thickness": "median thickness, share of the longest side",
    "thin": "share of the surface thinner than 2 % of the longest side",
    "thin_parts_kept": "share of the field's thin parts that the mesh has",
    "thin_parts": "thin share of silhouettes over that of real views, 1 at most",
    "watertight": "share of meshes that are closed and wound one way",
    "one_piece": "share of meshes in one piece",
    "no_mesh": "share of objects without a surface",
}


@dataclass(frozen=True)
class _Setting:
    """What decides the figures of a class besides snapshot and data."""

    count: int
    seed: int
    truncation: float
    pixels: int  # along an edge of views

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "grid": GRID}


def measure_cards(
    snapshot: Snapshot,
    dataset: Path,
    *,
    n: int,
    seed: int,
    out: Path,
    truncation: float,
    pixels: int | None = None,
) -> list[Score]:
    """Scores card/<measure> of about `n` objects, at most two of each class that snapshot and data set share.

    Writes a picture of each class and what was measured into `out`/cards. Views have `pixels` an edge, every k-th of
    the data set's; None: all. Raises DatasetError for a data set without
    depth and cameras or without a class of the snapshot.
    """
    truth = read_views(dataset, pixels)
    shared = [(record, images) for record in class_records(snapshot) if (images := truth.of_class(record))]
    if not shared:
        raise DatasetError(f"{dataset} shows none of the snapshot's classes")
    setting = _Setting(max(1, min(OBJECTS, n // len(shared))), seed, truncation, truth.size)
    folder = out / "cards"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, float | None]] = {}
    bar = tqdm(shared, desc="report cards", unit="class", file=sys.stderr, disable=None)
    for record, images in bar:
        rows[str(record["name"])] = _of_class(snapshot, truth, record, images, setting, folder)
    facts = {
        "objects_a_class": setting.count,
        "grid": GRID,
        "pixels": truth.size,
        "truncation": truncation,
        "reference": dataset.name,
        "seed": seed,
        "pages": {str(record["name"]): page_name(record) for record, _ in shared},
    }
    return _scores(rows, setting.count * len(shared), facts)


def page_name(record: Mapping[str, Any]) -> str:
    """What the files of a class are called: its WordNet id, or its number."""
    wnid = str(record.get("wnid") or "")
    return wnid if wnid.isalnum() and wnid.isascii() else f"{int(record['label']):04d}"


@dataclass(frozen=True, eq=False)
class Examined:
    """An object, its field, the mesh of it and what is known of that; None where the field has no surface."""

    spec: ObjectSpec
    field: ShapeField
    mesh: Mesh | None
    trust: Trust | None

    def measures(self) -> dict[str, float | None]:
        """The measures that need no partner."""
        if self.mesh is None or self.trust is None:
            return {"no_mesh": 1.0}
        health = mesh_health(self.mesh)
        closed = {"watertight": float(health.watertight), "one_piece": float(health.components == 1)}
        return self.trust.facts() | closed | {"no_mesh": 0.0}


def examined(snapshot: Snapshot, spec: ObjectSpec, truncation: float) -> Examined:
    """The object that `spec` names with its mesh of 96 samples an axis, examined."""
    field = snapshot.generator.field(generate(snapshot, spec, truncation).planes)
    try:
        surface = find_surface(field, snapshot.config, MeshOptions(grid=GRID, color="none"))
    except EmptyMeshError:
        return Examined(spec, field, None, None)
    trust = examine(surface.mesh, field, snapshot.config, surface.level, views=_VIEWS)
    return Examined(spec, field, surface.mesh, trust)


def _of_class(
    snapshot: Snapshot,
    truth: TruthViews,
    record: ClassRecord,
    images: Sequence[int],
    setting: _Setting,
    folder: Path,
) -> dict[str, float | None]:
    """The means of a class, from the folder if they are there, with the picture of its first object beside them."""
    name, page = str(record["name"]), page_name(record)
    kept = folder / f"{page}.json"
    settings = setting.to_json() | {"snapshot": snapshot.digest, "data": truth.dataset.fingerprint}
    known = _kept(kept, settings)
    if known is not None:
        return known
    real = _thin_share(
        [truth.view(k).mask.numpy() for k in draw_views(images, _REAL_VIEWS, setting.seed, name)]
    )
    cameras = draw_views(images, _OWN_VIEWS, setting.seed, name)
    found = []
    for number, spec in enumerate(objects_of(record, setting.count, setting.seed)):
        made = examined(snapshot, spec, setting.truncation)
        masks = [_silhouette(snapshot, made, truth, k) for k in cameras]
        kept_thin = None if real < _LEAST_THIN else min(_thin_share(masks) / real, 1.0)
        found.append(made.measures() | {"thin_parts": kept_thin})
        if number == 0:
            picture = draw_object(snapshot, made.field, made.mesh, made.trust, truth, images, cameras[0])
            save_picture(picture, folder / f"{page}.png")
    row = {measure: _mean([each.get(measure) for each in found]) for measure in MEASURES}
    write_json(kept, {"settings": settings, "name": name, "measures": row})
    return row


def _kept(path: Path, settings: Mapping[str, Any]) -> dict[str, float | None] | None:
    """The measures in the file, if it holds those of these settings."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        own = found["measures"]
        return {name: own[name] for name in MEASURES} if found["settings"] == settings else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _silhouette(snapshot: Snapshot, made: Examined, truth: TruthViews, index: int) -> NDArray[Any]:
    """Where the camera of the truth's image `index` sees the field, bool [h,h]."""
    camera = truth.cameras[index].to(made.field.device)
    front = look_once(made.field.fast(), camera, snapshot.config, truth.size, truth.stride)[1]
    return np.isfinite(front.numpy())


def _thin_share(masks: Sequence[NDArray[Any]]) -> float:
    """The share of all these silhouettes that is thin."""
    solid = sum(int(mask.sum()) for mask in masks)
    return sum(int(thin_pixels(mask).sum()) for mask in masks) / max(solid, 1)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None


def _scores(rows: Mapping[str, Mapping[str, float | None]], n: int, facts: Mapping[str, Any]) -> list[Score]:
    scores = []
    for measure, words in MEASURES.items():
        per_class = {name: row[measure] for name, row in rows.items()}
        value = _mean(list(per_class.values()))
        own = {"what": words, "per_class": per_class, **facts}
        scores.append(
            Score(metric=f"card/{measure}", value=math.nan if value is None else value, n=n, facts=own)
        )
    return scores
