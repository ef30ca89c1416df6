"""A data set written in one of the formats: scene after scene, with a bar; says in words what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TypeVar, cast

import numpy as np
from tqdm import tqdm

from synthetic.checks.models import Rendered, UncheckedModelError
from synthetic.dataset_index import ManifestEntry
from synthetic.exchange import bop, nerf, shards
from synthetic.exchange.bop_models import MeshFacts, remove_facts, write_info, write_mesh
from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.layout import Scene, scenes_of, write_kept
from synthetic.exchange.source import DataSet, matrix_of
from synthetic.layouts.shapenet import Model
from synthetic.staging.treatment import Treatment

_T = TypeVar("_T")


def _with_bar(items: Iterable[_T], total: int, unit: str) -> Iterator[_T]:
    yield from tqdm(items, total=total, unit=unit, smoothing=0.05, disable=None)


def write_nerf(dataset: DataSet, folder: ExportFolder, masks: bool) -> str:
    """Writes scenes with transforms.json; how much there is now. Raises ExchangeError, StoppedError, OSError."""
    dataset.check_pictures()
    scenes = scenes_of(dataset)
    for scene in _with_bar(scenes, len(scenes), "scene"):
        nerf.write_scene(dataset, scene, folder)
        for name, text in nerf.camera_files(dataset, scene, masks):
            folder.write(name, partial(bytes, text))
    listed = [
        {
            "scene": nerf.scene_folder(scene),
            "model": scene.model,
            "split": scene.split,
            "views": len(scene.views),
        }
        for scene in scenes
    ]
    folder.write("scenes.json", lambda: (json.dumps(listed, indent=1) + "\n").encode())
    write_kept(dataset, folder, "# Scenes with `transforms.json`\n\nOne a model; scenes.json lists them.")
    return f"{len(scenes)} scenes, {len(dataset.views)} views"


def write_bop(
    dataset: DataSet, folder: ExportFolder, models: Mapping[str, Model] | None, millimetres: float
) -> str:
    """Writes BOP's layout; how much there is now. Models that are not those that were rendered are left out and named.

    Raises ExchangeError, StoppedError, OSError.
    """
    dataset.check_pictures()
    stage = dataset.settings.get("stage", "none")
    if stage != "none":
        raise ExchangeError(
            f"{dataset.where}: was rendered with --stage {stage}, where masks are of everything; "
            "BOP needs masks of the model"
        )
    scenes = sorted(scenes_of(dataset), key=lambda scene: scene.model)
    facts, failures = _meshes(dataset, folder, scenes, models, millimetres)
    chosen = [
        bop.BopScene(scene, number, facts[number].centre if number in facts else np.zeros(3))
        for number, scene in enumerate(scenes, 1)
        if models is None or number in facts
    ]
    if not chosen:
        model, reason = next(iter(failures.items()))
        raise ExchangeError(f"none of its {len(scenes)} models is in the library; {model}: {reason}")
    for scene in _with_bar(chosen, len(chosen), "scene"):
        bop.write_scene(dataset, scene, folder)
        for name, text in bop.camera_files(dataset, scene, millimetres):
            folder.write(name, partial(bytes, text))
    bop.write_tables(dataset, chosen, folder, millimetres)
    write_kept(
        dataset,
        folder,
        "# Poses of known objects, in BOP's layout\n\nobjects.json says which object is which model.",
    )
    remove_facts(folder)
    views = sum(len(scene.scene.views) for scene in chosen)
    words = f"{len(chosen)} objects, {views} views, " + (
        "meshes" if models else "no meshes (--models LIBRARY adds them)"
    )
    return words + (f"; {len(failures)} models left out, listed in failures.jsonl" if failures else "")


def _meshes(
    dataset: DataSet,
    folder: ExportFolder,
    scenes: list[Scene],
    models: Mapping[str, Model] | None,
    millimetres: float,
) -> tuple[dict[int, MeshFacts], dict[str, str]]:
    """Facts of the meshes by number, and why others are none, by model; both empty without a library."""
    facts: dict[int, MeshFacts] = {}
    failures: dict[str, str] = {}
    if models is None:
        return facts, failures
    rendered = _rendered(dataset)
    for number, scene in enumerate(_with_bar(scenes, len(scenes), "mesh"), 1):
        try:
            facts[number] = write_mesh(folder, number, scene.model, rendered, models, millimetres)
        except UncheckedModelError as error:
            failures[scene.model] = str(error)
            sys.stderr.write(f"{scene.model}: {error}\n")
    write_info(folder, facts)
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


def write_webdataset(dataset: DataSet, folder: ExportFolder, megabytes: float) -> str:
    """Writes shards; how much there is now. Raises ExchangeError, StoppedError, OSError."""
    dataset.check_pictures()
    planned = shards.plan(dataset, megabytes)
    for shard in _with_bar(planned, len(planned), "shard"):
        shards.write_shard(dataset, shard, folder)
    listed = {shard.name: len(shard.views) for shard in planned}
    folder.write("shards.json", lambda: (json.dumps(listed, indent=1) + "\n").encode())
    write_kept(dataset, folder, "# Shards for WebDataset\n\nshards.json says how many samples each holds.")
    return f"{len(planned)} shards, {len(dataset.views)} views"
