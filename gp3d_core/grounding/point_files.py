"""Reading `points/<synset>/<model>.npz` of `synthetic.points`: points of space and of surfaces (docs/dataset.md).

Letters: M models, N stored points of a model, S of them on its surface.
"""

from __future__ import annotations

import io
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gp3d_core.datasets.archive import Archive, DatasetError
from gp3d_core.grounding.surfaces import Surfaces
from gp3d_core.hashing import DAMAGE

POINTS = "points"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class StoredPoints:
    """positions float16 [M,N,3], occupied bool [M,N] and, if asked for, the points on surfaces."""

    positions: Tensor
    occupied: Tensor
    surface: Surfaces | None


def read_points(archive: Archive, models: list[str], pool: Executor, *, surface: bool) -> StoredPoints:
    """The points of all `models`, as many of each. Raises DatasetError for files that are missing or damaged."""
    loaded = pool.map(lambda model: _read(archive, model, surface=surface), models)
    whole: Arrays = {}
    for k, arrays in enumerate(
        tqdm(loaded, total=len(models), desc="reading points", unit="model", leave=False, disable=None)
    ):
        for name, rows in arrays.items():
            if name not in whole:
                whole[name] = np.empty((len(models), *rows.shape), rows.dtype)
            room = whole[name]
            if room.shape[1:] != rows.shape:
                raise DatasetError(
                    f"{archive.path}: models have {room.shape[1]} and {len(rows)} points ({name}), expected one number"
                )
            room[k] = rows
    tensors = {name: torch.from_numpy(rows) for name, rows in whole.items()}
    found = None
    if surface:
        found = Surfaces(*(tensors[f"surface_{name}"] for name in ("positions", "normals", "albedo")))
    return StoredPoints(tensors["positions"], tensors["occupied"], found)


def _read(archive: Archive, model: str, *, surface: bool) -> Arrays:
    """positions [N,3] and occupied [N] of `model`; with `surface` also its arrays of [S,3]."""
    name = f"{POINTS}/{model}.npz"
    if name not in archive.sizes:
        raise DatasetError(
            f"{archive.path}: no {name}; make the points from the folder of models that the views were rendered from: "
            f"python -m synthetic.points MODELS {archive.path}"
        )
    try:
        with np.load(io.BytesIO(archive.read(name)), allow_pickle=False) as file:
            arrays = {
                "positions": file["positions"].astype(np.float16),
                "occupied": file["occupied"].astype(bool),
            }
            if surface:
                if "surface_albedo" not in file:
                    raise DatasetError(
                        f"{archive.path}: {name} has no points on the surface; make the points with "
                        "python -m synthetic.points and its option `surface`, or set `grounding.surface_points`=0"
                    )
                arrays["surface_positions"] = file["surface_positions"].astype(np.float16)
                arrays["surface_normals"] = np.rint(file["surface_normals"].astype(np.float32) * 127).astype(
                    np.int8
                )
                arrays["surface_albedo"] = file["surface_albedo"].astype(np.uint8)
    except DAMAGE as error:
        raise DatasetError(
            f"{archive.path}: {name} is damaged ({error}); remove it and make it again"
        ) from error
    _check_shapes(archive, name, arrays)
    return arrays


def _check_shapes(archive: Archive, name: str, arrays: Arrays) -> None:
    """Raises DatasetError unless positions are (N, 3) and occupied (N,), and all of the surface (N, 3)."""
    solid = {"positions": ("N", 3), "occupied": ("N",)}
    surface = {name: ("N", 3) for name in arrays if name not in solid}
    for layout in (solid, surface):
        found = [arrays[part].shape for part in layout]
        rows = {shape[:1] for shape in found}
        if len(rows) > 1 or any(a[1:] != b[1:] for a, b in zip(found, layout.values(), strict=True)):
            wanted = " and ".join("(N, 3)" if len(shape) == 2 else "(N,)" for shape in layout.values())
            raise DatasetError(
                f"{archive.path}: {name} has {' and '.join(f'{part} {arrays[part].shape}' for part in layout)}, "
                f"expected {wanted}"
            )
