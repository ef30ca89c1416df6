"""Files of a ShapeNetCore.v2 layout, as everything that writes one lays them out.

    OUT/taxonomy.json                     [{"synsetId", "name", "children", "numInstances"}, ...]
    OUT/classes.json                      {"<synset>/<model id>": class record, ...}
    OUT/<synset>/<model id>/models/       model_normalized.obj, .mtl, .json
    OUT/<synset>/<model id>/images/       texture0.png ... (textured models only)

model_normalized.json keeps the bounds before normalisation, as ShapeNet's own does.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.atomic import write_whole

PARTIAL = ".partial"  # ending of the folder in which a model is made
MODEL_FILES = ("model_normalized.mtl", "model_normalized.json", "model_normalized.obj")


def is_whole(folder: Path) -> bool:
    """Whether a model's folder has all files of a model."""
    return all((folder / "models" / name).is_file() for name in MODEL_FILES)


@contextmanager
def building_model(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write a model into, which becomes `folder` at the end of `with`.

    What `folder` held before goes; after an exception nothing of either is left.
    """
    partial = folder.with_name(f".{folder.name}{PARTIAL}")
    for leftover in (partial, folder):
        if leftover.exists():
            shutil.rmtree(leftover)
    (partial / "models").mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def bounds(identifier: str, vertices: NDArray[np.float64]) -> dict[str, Any]:
    """The record of model_normalized.json of vertices [V, 3] before they are normalised."""
    return {
        "id": identifier,
        "min": _plain(vertices.min(axis=0)),
        "max": _plain(vertices.max(axis=0)),
        "centroid": _plain(vertices.mean(axis=0)),
        "numVertices": len(vertices),
    }


def _plain(point: NDArray[np.float64]) -> list[float]:
    """A point as numbers of six decimals, so that rounding noise never reaches a file."""
    return [float(value) for value in np.round(point, 6) + 0.0]


def distinct_rows(rows: NDArray[np.float64], decimals: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different rows after rounding, sorted, and where each row of the input went.

    Two numbers a row may reach to 2^29 units of their last decimal, three to 2^19.
    """
    scaled = np.round(rows * 10**decimals).astype(np.int64)
    bits = 60 // scaled.shape[1]
    key = (scaled + 2 ** (bits - 1)) @ (2 ** (bits * np.arange(scaled.shape[1])))
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return scaled[first] / 10**decimals, inverse


def statements(template: str, rows: NDArray[Any]) -> str:
    """A line of an OBJ file for each row, such as "v %.6f %.6f %.6f"."""
    return "\n".join([template] * len(rows)) % tuple(rows.ravel().tolist())


def write_index(out: Path, records: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> None:
    """Replaces taxonomy.json and classes.json.

    `records` are the class records by "<synset>/<id>", `names` what synsets are called; others are called as the
    class of their first model.
    """
    synsets: dict[str, dict[str, Any]] = {}
    for key, record in sorted(records.items()):
        folder = key.partition("/")[0]
        entry = synsets.setdefault(
            folder,
            {
                "synsetId": folder,
                "name": names.get(folder, record["name"]),
                "children": [],
                "numInstances": 0,
            },
        )
        entry["numInstances"] += 1
    write_whole(out / "classes.json", json.dumps(records, indent=1, sort_keys=True).encode())
    write_whole(out / "taxonomy.json", json.dumps(list(synsets.values()), indent=1).encode())
