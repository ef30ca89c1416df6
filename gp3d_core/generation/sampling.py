"""From a snapshot, classes and seeds to objects and pictures of them.

The same snapshot, class, seed and truncation give the same object, on any machine up to rounding. An object's noise
comes from its seed alone, so a seed means the same noise in every class.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

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
    Parent,
    RequestError,
    check_sheet,
)
from gp3d_core.networks.generator import GeneratorOutput, NoShapeError
from gp3d_core.networks.latents import combined_codes, style_codes
from gp3d_core.pretrained import name_of
from gp3d_core.rendering.cameras import mean_camera, turn_camera
from gp3d_core.rendering.volume import rays_at_a_time
from gp3d_core.snapshots.metadata import BARELY, share_trained
from gp3d_core.snapshots.run_folder import find_snapshot
from gp3d_core.snapshots.snapshot import Snapshot, load_snapshot
from gp3d_core.visualization import depth_to_uint8, rgb_to_uint8, save_picture, sheet

# of 255: where nothing is seen, at most this share of the pixels differ from all others by so much
_BLANK = (8, 0.005)
SHAPELESS = "the model has hardly been trained, and more training is what helps"
_SIDE = 0.5  # yaw of the outermost views of a sheet
_COLUMNS = 8  # of a sheet: more do not fit on a screen
_TILE = 128
_FEWEST_CODES = 4  # style codes of a model of which some may be called late
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
    """The object that `spec` names. Raises RequestError for a combination that the model cannot make."""
    truncation = float(truncation)  # recipes hold it so
    spec = settled(snapshot, spec)
    ws = _codes(snapshot, spec, truncation)
    return Generated(spec, truncation, ws, snapshot.generator.planes(ws))


def settled(snapshot: Snapshot, spec: ObjectSpec) -> ObjectSpec:
    """The object with the number of its first late style code, where it is combined from others.

    Late are from one before the middle on: measured as the place where the shape follows one parent and the colours the
    other about equally (docs/combinations.md). Raises RequestError for a model that has no late codes to combine, or
    not that one.
    """
    if not spec.parents:
        return spec
    layers = snapshot.generator.mapping.num_ws
    late_from = layers // 2 - 1 if spec.late_from is None else spec.late_from
    whole = all(one.early == one.late for one in spec.parents)
    if spec.late_from is None and whole:
        late_from = max(1, late_from)  # any will do: early and late shares are the same
    if late_from > layers:
        raise RequestError(
            f"late_from: expected a whole number from 1 to {layers}, as many style codes as objects of "
            f"{name_of(snapshot.path)} have, found {late_from}"
        )
    if late_from < 1 or (layers < _FEWEST_CODES and not whole):
        raise RequestError(
            f"{name_of(snapshot.path)} has no late style codes to take colours from: its objects have {layers}; "
            "blend them instead"
        )
    return replace(spec, late_from=late_from)


def _codes(snapshot: Snapshot, spec: ObjectSpec, truncation: float) -> Tensor:
    """Style codes [1,L,D] of an object that is `settled`."""
    generator, classes = snapshot.generator, len(snapshot.classes)
    if spec.late_from is None or not spec.parents:
        return style_codes(generator, spec.label, classes, spec.seed, truncation)
    codes = [style_codes(generator, one.label, classes, one.seed, truncation) for one in spec.parents]
    return combined_codes(codes, [(one.early, one.late) for one in spec.parents], spec.late_from)


@torch.no_grad()
def view(
    snapshot: Snapshot, obj: Generated, yaw: float = 0.0, resolution: int | None = None
) -> GeneratorOutput:
    """The object from the prior's mean camera turned by `yaw` radians; `resolution` defaults to the trained one."""
    camera = turn_camera(mean_camera(snapshot.config.camera), yaw).to(obj.ws.device)
    return snapshot.generator.view(
        obj.ws, camera, resolution=resolution, planes=obj.planes, chunk=rays_at_a_time(1)
    )


def barely_trained(snapshot: Snapshot) -> bool:
    """Whether its objects are expected to be shapeless."""
    return share_trained(snapshot.config, snapshot.nimg) < BARELY


@torch.no_grad()
def thumbnail_of(snapshot: Snapshot, obj: Generated) -> Image.Image:
    """The object from where shapes show best, 256 pixels a side."""
    return Image.fromarray(rgb_to_uint8(view(snapshot, obj, _SIDE, _THUMBNAIL).rgb)[0])


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
    """Draws a sheet of one model's objects: see `write_sheet_of`."""
    parts = [(snapshot, objects)]
    write_sheet_of(parts, out, truncation=truncation, resolution=resolution, views=views, depth=depth)


@torch.no_grad()
def write_sheet_of(
    parts: Iterable[tuple[Snapshot, Sequence[ObjectSpec]]],
    out: Path,
    *,
    truncation: float,
    resolution: int | None = None,
    views: int = 1,
    depth: bool = False,
) -> None:
    """Draws a row of seeds for every class, or one for each of its `views`, and of its `depth`; saves a PNG.

    `parts` are models, taken one after the other, each with its objects. One view looks from yaw +0.5, from where
    shapes show best, several lie evenly between -0.5 and there; the depth is that of the last view. A row holds at
    most eight seeds, more go on below.
    """
    check_sheet(out)
    yaws = [_SIDE] if views == 1 else torch.linspace(-_SIDE, _SIDE, views).tolist()
    looks = [f", yaw {math.degrees(yaw):+.0f}°" if views > 1 else "" for yaw in yaws] + [", depth"] * depth
    rows: list[tuple[str, list[NDArray[Any]]]] = []
    remarks = []
    for snapshot, objects in parts:
        blank = 0
        with tqdm(total=len(objects), desc="views", unit="object", file=sys.stderr, disable=None) as bar:
            for line in _lines(objects):
                columns = []
                for spec in line:
                    obj = generate(snapshot, spec, truncation)
                    columns.append(_column(snapshot, obj, yaws, resolution, depth))
                    bar.update()
                    blank += all(map(_blank, columns[-1][: len(yaws)]))
                name = f"{line[0].record.get('name', 'object')}, {_told(line)}"
                rows += [(name + look, [column[k] for column in columns]) for k, look in enumerate(looks)]
        if blank:
            why = f": {SHAPELESS}" if barely_trained(snapshot) else ""
            remarks.append(f"{blank} of {len(objects)} objects show nothing{why}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_picture(sheet(rows, tile=_TILE), out)
    for remark in remarks:
        tqdm.write(remark, file=sys.stderr)


def depth_picture(snapshot: Snapshot, seen: GeneratorOutput) -> NDArray[Any]:
    """Depth of the first of the views as colours uint8 [H,H,3]. Raises NoShapeError for a model that has none."""
    if snapshot.config.dimensions < 3:
        raise NoShapeError(f"a model of {snapshot.config.system} draws pictures: there is no depth to show")
    camera = snapshot.config.camera
    return depth_to_uint8(seen.depth, camera.t_near, camera.t_far)[0]


def _blank(picture: NDArray[Any]) -> bool:
    """Whether a view [h,w,3] shows nothing, as those of models do which have hardly learnt anything."""
    difference, share = _BLANK
    odd = np.abs(picture - np.median(picture, axis=(0, 1))).max(axis=-1) > difference
    return bool(odd.mean() <= share)


def _lines(objects: Sequence[ObjectSpec]) -> list[list[ObjectSpec]]:
    """The objects by class, at most a row's number in each list; combined ones as they come."""
    if any(spec.parents for spec in objects):
        return [list(objects[k : k + _COLUMNS]) for k in range(0, len(objects), _COLUMNS)]
    by_class = [list(same) for _, same in groupby(objects, key=lambda spec: spec.label)]
    return [same[k : k + _COLUMNS] for same in by_class for k in range(0, len(same), _COLUMNS)]


def _column(
    snapshot: Snapshot, obj: Generated, yaws: Sequence[float], resolution: int | None, depth: bool
) -> list[NDArray[Any]]:
    """Pictures of one object, one below another: its views, then the depth of the last one if asked for."""
    pictures = [rgb_to_uint8(view(snapshot, obj, yaw, resolution).rgb)[0] for yaw in yaws]
    if depth:
        pictures.append(depth_picture(snapshot, view(snapshot, obj, yaws[-1], resolution)))
    return pictures


def _told(line: Sequence[ObjectSpec]) -> str:
    """The objects of a row in words: their seeds, or of combined ones those of all parents."""
    if not any(spec.parents for spec in line):
        return _seeds([spec.seed for spec in line])
    every = [one for spec in line for one in spec.parents or (Parent(spec.record, spec.label, spec.seed),)]
    own = line[0].label
    named = [f"{one.seed}" if one.label == own else f"{one.seed} of {one.record['name']}" for one in every]
    return f"combined from seeds {', '.join(dict.fromkeys(named))}"


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: "seed 3", "seeds 0 to 7" where they follow one another, else one by one."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"
