"""Meshes in BOP's form: staged as they were rendered, millimetres, z up, the middle of their box at the origin."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import trimesh
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from synthetic.checks.models import Rendered, Truth, UncheckedModelError, staged_truth
from synthetic.dataset_index import ManifestEntry
from synthetic.exchange.conventions import Z_UP
from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.layout import Scene
from synthetic.exchange.source import DataSet, Floats, matrix_of
from synthetic.layouts.shapenet import Model
from synthetic.staging.sampling import srgb_bytes
from synthetic.staging.surface import face_normals
from synthetic.staging.treatment import Treatment

_CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # of a triangle, as weights of its corners 1 and 2
_ROWS = 2048  # of a table of distances, at once


@dataclass(frozen=True)
class MeshFacts:
    """What models_info.json says of a mesh, in mm, and where its middle stands in the z-up world, in world units."""

    centre: Floats
    info: dict[str, float]


def write_meshes(
    dataset: DataSet,
    folder: ExportFolder,
    scenes: Iterable[Scene],
    models: Mapping[str, Model],
    millimetres: float,
) -> tuple[dict[int, MeshFacts], dict[str, str]]:
    """Writes models/ with the meshes of scenes, numbered from 1: facts by number, and why others are none, by model.

    Raises ExchangeError where the data set does not say how it was rendered, StoppedError, OSError.
    """
    facts: dict[int, MeshFacts] = {}
    failures: dict[str, str] = {}
    rendered = _rendered(dataset)
    for number, scene in enumerate(scenes, 1):
        try:
            facts[number] = _write_mesh(folder, number, scene.model, rendered, models, millimetres)
        except UncheckedModelError as error:
            failures[scene.model] = str(error)
            sys.stderr.write(f"{scene.model}: {error}\n")
    _write_info(folder, facts)
    text = "".join(json.dumps({"model": key, "reason": why}) + "\n" for key, why in failures.items())
    if text:
        folder.write("failures.jsonl", text.encode)
    return facts, failures


def _rendered(dataset: DataSet) -> Rendered:
    """What staging the models again has to know. Raises ExchangeError where the index does not say it."""
    treatment = dataset.settings.get("treatment", {})
    for key, entry in dataset.sources.items():
        where = f"{dataset.index.path}/manifest.json: {key}"
        place = matrix_of(entry.get("to_world"), 4, f"{where}: to_world")
        if not np.linalg.det(place[:3, :3]) > 0 or not isinstance(entry.get("sha256"), dict):
            raise ExchangeError(f"{where}: expected to_world of a volume above 0, and sha256 by file")
    try:
        sources = cast("dict[str, ManifestEntry]", dataset.sources)
        return Rendered(
            views={},
            sources=sources,
            treatment=Treatment(**treatment),
            samples=1,
            passes=(),
            all_files="cutouts" in treatment,
        )
    except (TypeError, ValueError) as error:
        raise ExchangeError(f"{dataset.where}: does not say how its models were rendered ({error})") from None


def _write_mesh(
    folder: ExportFolder, number: int, key: str, rendered: Rendered, models: Mapping[str, Model], mm: float
) -> MeshFacts:
    """Writes models/obj_<number>.ply of a model; a world unit has `mm` millimetres.

    Raises UncheckedModelError where the library's model is not the one that was rendered.
    """
    facts_name = f"models/.obj_{number:06d}.json"
    if folder.has(facts_name):
        kept = json.loads((folder.path / facts_name).read_bytes())
        return MeshFacts(np.array(kept["centre"]), kept["info"])
    with staged_truth(rendered, key, models) as truth:
        positions = truth.surface.positions @ Z_UP.T
        centre = (positions.min(axis=0) + positions.max(axis=0)) / 2
        points = (positions - centre) * mm
        low, size = points.min(axis=0), np.ptp(points, axis=0)
        info = {"diameter": _diameter(points)}
        info |= {f"min_{axis}": float(value) for axis, value in zip("xyz", low, strict=True)}
        info |= {f"size_{axis}": float(value) for axis, value in zip("xyz", size, strict=True)}
        folder.write(f"models/obj_{number:06d}.ply", partial(_ply, truth, points))
    folder.write(facts_name, lambda: json.dumps({"centre": centre.tolist(), "info": info}).encode())
    return MeshFacts(centre, info)


def _ply(truth: Truth, points: Floats) -> bytes:
    """Binary PLY with normals and colours; a vertex of two colours or normals stands there twice."""
    surface = truth.surface
    count = len(surface)
    normals = surface.normals
    if normals is None:
        normals = np.repeat(face_normals(surface.positions, surface.triangles)[:, None], 3, axis=1)
    turned = (normals.reshape(-1, 3) @ Z_UP.T).astype(np.float32)
    linear = truth.colors.at(np.repeat(np.arange(count), 3), np.tile(_CORNERS, (count, 1)))[:, :3]
    corners = np.column_stack([surface.triangles.reshape(-1, 1), np.round(turned, 4), srgb_bytes(linear)])
    _, first, place = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    mesh = trimesh.Trimesh(
        vertices=points[surface.triangles.reshape(-1)[first]],
        faces=place.reshape(-1, 3),
        vertex_normals=turned[first],
        vertex_colors=corners[first, 4:].astype(np.uint8),
        process=False,
    )
    content = mesh.export(file_type="ply", vertex_normal=True)
    if not isinstance(content, bytes):
        raise TypeError(f"expected bytes of a PLY file, found {type(content).__name__}")
    return content


def _diameter(points: Floats) -> float:
    """The largest distance between any two points: between corners of their convex hull."""
    hull = points[ConvexHull(points, qhull_options="QJ").vertices]  # QJ: flat ones have one, too
    return float(max(cdist(hull[start : start + _ROWS], hull).max() for start in range(0, len(hull), _ROWS)))


def _write_info(folder: ExportFolder, facts: Mapping[int, MeshFacts]) -> None:
    """Writes models_info.json."""
    text = {str(number): entry.info for number, entry in facts.items()}
    folder.write("models/models_info.json", lambda: (json.dumps(text, indent=1) + "\n").encode())


def remove_facts(folder: ExportFolder) -> None:
    """Removes what `write_meshes` remembers of meshes for a later run: to be done last."""
    for path in (folder.path / "models").glob(".obj_*.json"):
        path.unlink()
