"""A data set written in one of the formats: scene after scene, with a bar; says in words what came out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from tqdm import tqdm

from synthetic.exchange import bop, nerf, shards
from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.layout import scenes_of, write_kept
from synthetic.exchange.source import DataSet
from synthetic.layouts.shapenet import Model

if TYPE_CHECKING:
    from synthetic.exchange import bop_models

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
            **dataset.credit_of(scene.model),
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
    scenes = bop.numbered(dataset)
    facts: dict[int, bop_models.MeshFacts] = {}
    failures: dict[str, str] = {}
    if models is not None:
        from synthetic.exchange import bop_models  # its libraries take a second to import

        listed = _with_bar([scene for _, scene in scenes], len(scenes), "mesh")
        facts, failures = bop_models.write_meshes(dataset, folder, listed, models, millimetres)
    chosen = [
        bop.BopScene(scene, number, facts[number].centre if number in facts else np.zeros(3))
        for number, scene in scenes
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
    if models is not None:
        bop_models.remove_facts(folder)
    views = sum(len(scene.scene.views) for scene in chosen)
    words = f"{len(chosen)} objects, {views} views, " + (
        "meshes" if models else "no meshes (--models LIBRARY adds them)"
    )
    return words + (f"; {len(failures)} models left out, listed in failures.jsonl" if failures else "")


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
