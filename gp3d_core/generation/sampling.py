"""From a snapshot, classes and seeds to pictures and meshes.

The same snapshot, class, seed and truncation give the same object, on any machine up to rounding. An object's noise
comes from its seed alone, so a seed means the same noise in every class.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gp3d_core.distributed import pick_device
from gp3d_core.generation.objects import (
    DEFAULT_TRUNCATION,
    ObjectSpec,
    Recipe,
    check_mesh_files,
    check_sheet,
)
from gp3d_core.generation.recipes import option_facts, place_of, versions
from gp3d_core.meshing.agreement import Agreement
from gp3d_core.meshing.components import loss_in_words
from gp3d_core.meshing.files.bundle import NO_PICTURES, bundle
from gp3d_core.meshing.files.description import UNKNOWN
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.mesh import Mesh
from gp3d_core.meshing.options import MeshOptions
from gp3d_core.meshing.pipeline import Finished, finish_mesh
from gp3d_core.networks.generator import GeneratorOutput
from gp3d_core.networks.latents import style_codes
from gp3d_core.pretrained import name_of
from gp3d_core.rendering.cameras import mean_camera, turn_camera
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.signals import Progress, no_progress
from gp3d_core.snapshots.metadata import BARELY, share_trained
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import Snapshot, load_snapshot
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_picture, sheet

_LIKENESS = (  # from this silhouette IoU on; below the last but one a mesh lacks a part that one sees
    (0.95, "very well"),
    (0.85, "well"),
    (0.0, "poorly: a finer grid or more components may show what is missing"),
)
# of 255: where nothing is seen, at most this share of the pixels differ from all others by so much
_BLANK = (8, 0.005)
_SHAPELESS = "the model has hardly been trained, and more training is what helps"
DEFAULT_OPTIONS = MeshOptions()
_SIDE = 0.5  # yaw of the outermost views of a sheet
_COLUMNS = 8  # of a sheet: more do not fit on a screen
_TILE = 128
_THUMBNAIL = 256


def open_snapshot(path: Path | None = None, device: str = "auto") -> Snapshot:
    """The snapshot file at `path`, or the newest one of the run folder there, ready on `device`.

    None is the pretrained model.
    """
    return load_snapshot(find_snapshot(path), pick_device(device))


@dataclass(frozen=True, eq=False)
class Generated:
    """An object with its tri-planes, made once for all views, the mesh and the texture."""

    spec: ObjectSpec
    truncation: float
    ws: Tensor
    planes: Tensor

    def __repr__(self) -> str:
        """Which object, without its numbers."""
        return f"Generated({self.spec}, truncation {self.truncation:g})"


@torch.no_grad()
def generate(snapshot: Snapshot, spec: ObjectSpec, truncation: float = DEFAULT_TRUNCATION) -> Generated:
    """The object that `spec` names."""
    truncation = float(truncation)  # recipes hold it so
    ws = style_codes(snapshot.generator, spec.label, len(snapshot.classes), spec.seed, truncation)
    return Generated(spec, truncation, ws, snapshot.generator.planes(ws))


@torch.no_grad()
def view(
    snapshot: Snapshot, obj: Generated, yaw: float = 0.0, resolution: int | None = None
) -> GeneratorOutput:
    """The object from the prior's mean camera turned by `yaw` radians; `resolution` defaults to the trained one."""
    camera = turn_camera(mean_camera(snapshot.config.camera), yaw).to(obj.ws.device)
    return snapshot.generator.view(
        obj.ws, camera, resolution=resolution, planes=obj.planes, chunk=rays_at_a_time(1)
    )


@torch.no_grad()
def make_mesh(
    snapshot: Snapshot,
    obj: Generated,
    options: MeshOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
) -> tuple[Mesh, Recipe]:
    """The object's mesh and its recipe: everything that made it, and what it is like.

    `progress` hears of the stages density, surface, atlas, texels, color and compare,
    and may raise to stop. Raises EmptyMeshError when there is no surface at the level.
    """
    finished = finish_mesh(snapshot.generator.field(obj.planes), snapshot.config, options, progress)
    return finished.mesh, _recipe(snapshot, obj, options, finished)


def _recipe(snapshot: Snapshot, obj: Generated, options: MeshOptions, finished: Finished) -> Recipe:
    recipe = {
        "class": obj.spec.record,
        "seed": obj.spec.seed,
        "truncation": obj.truncation,
        "snapshot": name_of(snapshot.path),
        "snapshot_sha256": snapshot.digest,
        "nimg": snapshot.nimg,
        "license": snapshot.license or UNKNOWN,
        **option_facts(options),
        **finished.facts,
        "versions": versions(),
    }
    return cast(Recipe, recipe)


def write_meshes(
    snapshot: Snapshot,
    objects: Sequence[ObjectSpec],
    out: Path,
    *,
    formats: Sequence[str],
    truncation: float = DEFAULT_TRUNCATION,
    picture: bool = False,
    thumbnail: bool = False,
    options: MeshOptions = DEFAULT_OPTIONS,
) -> Iterator[Path]:
    """Writes every object's mesh in every format, with a recipe beside it; yields the mesh files as they are done.

    `picture` adds `<stem>.compare.png`: views of the field above those of the mesh; `thumbnail` adds
    `<stem>.thumbnail.png`, which the recipe names. An object's files appear together, or none of them. Raises
    RequestError for an unknown format, LibraryError for one that cannot be written here, before anything is written.
    """
    check_mesh_files(out, formats, options.compress)
    out.mkdir(parents=True, exist_ok=True)
    for spec in tqdm(objects, desc="meshes", unit="mesh", file=sys.stderr, disable=None):
        obj = generate(snapshot, spec, truncation)
        finished = finish_mesh(snapshot.generator.field(obj.planes), snapshot.config, options)
        recipe = _recipe(snapshot, obj, options, finished)
        paths = [out / f"{spec.stem}.{suffix}" for suffix in formats]
        pictures = {"thumbnail": thumbnail_of(snapshot, obj)} if thumbnail else {}
        if picture:
            pictures["compare"] = _comparison(finished.agreement)
        save_object(finished.mesh, paths, recipe, snapshot.path, pictures)
        tqdm.write(f"{spec.stem}: {_summary(recipe, options.level, _barely(snapshot))}", file=sys.stderr)
        yield from paths


def _barely(snapshot: Snapshot) -> bool:
    return share_trained(snapshot.config, snapshot.nimg) < BARELY


def _summary(recipe: Recipe, asked: Level, barely: bool) -> str:
    level = f"{recipe['level']:.4g}"
    if asked.raw:
        level = f"{asked}, which is {level} after activation"
    likeness = "" if recipe["psnr"] is None else f"PSNR {recipe['psnr']:.1f} dB, "
    how_well = next(words for least, words in _LIKENESS if recipe["iou"] >= least)
    if barely and how_well.startswith("poorly"):
        how_well = f"poorly: {_SHAPELESS}"
    loss = loss_in_words(recipe["dropped"], recipe["dropped_area"])
    return (
        f"{recipe['faces']} faces{loss}, level {level}; matches the model's own views {how_well} "
        f"({likeness}silhouette IoU {recipe['iou']:.3f})"
    )


def save_object(
    mesh: Mesh,
    paths: Sequence[Path],
    recipe: Recipe,
    model: Path,
    pictures: Mapping[str, Image.Image] = NO_PICTURES,
) -> None:
    """Writes `mesh` to `paths`, which differ in their suffix alone, and `<stem>.recipe.json` beside them.

    `model` is the snapshot's file, which the recipe beside names by the way to it. `pictures` become
    `<stem>.<name>.png`. All files appear together, or none of them. Raises MeshError for an unknown suffix.
    """
    with bundle(mesh, paths, recipe, recipe | place_of(model, paths[0].parent), pictures) as files:
        files.publish()


@torch.no_grad()
def thumbnail_of(snapshot: Snapshot, obj: Generated) -> Image.Image:
    """The object from where shapes show best, 256 pixels a side."""
    return Image.fromarray(rgb_to_uint8(view(snapshot, obj, _SIDE, _THUMBNAIL).rgb)[0])


def _comparison(agreement: Agreement) -> Image.Image:
    rows = [("field", list(agreement.field)), ("mesh", list(agreement.mesh))]
    return sheet(rows, tile=agreement.field.shape[1])


@torch.no_grad()
def write_sheet(
    snapshot: Snapshot,
    objects: Sequence[ObjectSpec],
    out: Path,
    *,
    truncation: float,
    resolution: int | None = None,
    views: int = 1,
    depth: bool = False,
) -> None:
    """Draws a row of seeds for every class, or one for each of its `views`, and of its `depth`; saves a PNG.

    One view looks from yaw +0.5, from where shapes show best, several lie evenly between -0.5 and there; the depth is
    that of the last view. A row holds at most eight seeds, more go on below.
    """
    check_sheet(out)
    yaws = [_SIDE] if views == 1 else torch.linspace(-_SIDE, _SIDE, views).tolist()
    rows: list[tuple[str, list[NDArray[Any]]]] = []
    blank = 0
    with tqdm(total=len(objects), desc="views", unit="object", file=sys.stderr, disable=None) as bar:
        for line in _lines(objects):
            columns = []
            for spec in line:
                columns.append(
                    _column(snapshot, generate(snapshot, spec, truncation), yaws, resolution, depth)
                )
                bar.update()
                blank += all(map(_blank, columns[-1][: len(yaws)]))
            name = f"{line[0].record.get('name', 'object')}, {_seeds([spec.seed for spec in line])}"
            looks = [f", yaw {math.degrees(yaw):+.0f}°" if views > 1 else "" for yaw in yaws] + [
                ", depth"
            ] * depth
            rows += [(name + look, [column[k] for column in columns]) for k, look in enumerate(looks)]
    out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(sheet(rows, tile=_TILE), out)
    if blank:
        why = f": {_SHAPELESS}" if _barely(snapshot) else ""
        tqdm.write(f"{blank} of {len(objects)} objects show nothing{why}", file=sys.stderr)


def _blank(picture: NDArray[Any]) -> bool:
    """Whether a view [h,w,3] shows nothing, as those of models do which have hardly learnt anything."""
    difference, share = _BLANK
    odd = np.abs(picture - np.median(picture, axis=(0, 1))).max(axis=-1) > difference
    return bool(odd.mean() <= share)


def _lines(objects: Sequence[ObjectSpec]) -> list[list[ObjectSpec]]:
    """The objects by class, at most a row's number in each list."""
    by_class = [list(same) for _, same in groupby(objects, key=lambda spec: spec.label)]
    return [same[k : k + _COLUMNS] for same in by_class for k in range(0, len(same), _COLUMNS)]


def _column(
    snapshot: Snapshot, obj: Generated, yaws: Sequence[float], resolution: int | None, depth: bool
) -> list[NDArray[Any]]:
    """Pictures of one object, one below another: its views, then the depth of the last one if asked for."""
    pictures = [rgb_to_uint8(view(snapshot, obj, yaw, resolution).rgb)[0] for yaw in yaws]
    if depth:
        seen, planes = view(snapshot, obj, yaws[-1], resolution), snapshot.config.camera
        pictures.append(depth_to_uint8(seen.depth, planes.t_near, planes.t_far)[0])
    return pictures


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: "seed 3", "seeds 0 to 7" where they follow one another, else one by one."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"
