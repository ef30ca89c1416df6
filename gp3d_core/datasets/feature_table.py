"""The two files of distillation features: a table of float32 rows, and which row belongs to which image.

Layout in docs/dataset.md, "Distillation features". The table is mapped, not loaded.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gp3d_core.datasets.archive import DatasetError


@dataclass(frozen=True)
class Features:
    """The mapped file as `table` [M,D]; of N images the row of each in `rows`, and of its mirror image in `flipped`.

    Without features of their own (`flipped` None) mirror images have those of their image.
    """

    table: NDArray[Any]
    rows: NDArray[Any]
    flipped: NDArray[Any] | None = None

    def of(self, indices: NDArray[Any], mirrored: NDArray[Any]) -> NDArray[Any]:
        """Features float32 [B,D] of the images `indices`, of their mirror images where `mirrored` [B]."""
        rows = self.rows[indices]
        if self.flipped is not None:
            rows = np.where(mirrored, self.flipped[indices], rows)
        return np.asarray(self.table[rows], dtype=np.float32)

    def part(self, kept: NDArray[Any]) -> Features:
        """The features of the images `kept` alone."""
        flipped = None if self.flipped is None else self.flipped[kept]
        return replace(self, rows=self.rows[kept], flipped=flipped)

    @property
    def identity(self) -> bytes:
        """What tells these features from others without reading them: shape, size, rows."""
        flipped = b"" if self.flipped is None else b"flipped\0" + self.flipped.astype("<i8").tobytes()
        head = f"features\0{self.table.shape}\0{self.table.nbytes}\n".encode()
        return head + self.rows.astype("<i8").tobytes() + flipped


def features_description(path: Path) -> Path:
    """The file beside the table `path` that says whose the rows are."""
    return path.with_name(f"{path.stem}_desc.json")


def open_features(path: Path, names: Sequence[str]) -> Features:
    """Maps the features in `path` and finds the row of each of the images `names`.

    Raises DatasetError for a table or a description that is missing or wrong, and for an image without a row.
    """
    description = features_description(path)
    try:
        facts = json.loads(description.read_text(encoding="utf-8"))
        shape, row_of, flipped_row_of = _layout(facts)
        expected, found = 4 * shape[0] * shape[1], path.stat().st_size
        if found != expected:
            raise ValueError(f"expected {expected} bytes for shape {list(shape)}, found {found}")
        table = np.memmap(path, dtype="<f4", mode="r", shape=shape)
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"features {path} with {description.name} cannot be read ({error})") from error
    flipped = None if flipped_row_of is None else _rows(path, flipped_row_of, names, shape[0])
    return Features(table, _rows(path, row_of, names, shape[0]), flipped)


def _rows(path: Path, row_of: dict[str, Any], names: Sequence[str], count: int) -> NDArray[Any]:
    """The row of each of `names`, int64."""
    missing = [name for name in names if name not in row_of]
    if missing:
        raise DatasetError(
            f"features {path} have no row for {len(missing)} images, the first is {missing[0]}"
        )
    for name in names:
        if type(row_of[name]) is not int or not 0 <= row_of[name] < count:
            raise DatasetError(
                f"features {path}: expected a row from 0 to {count - 1} for {name}, "
                f"found {reprlib.repr(row_of[name])}"
            )
    return np.array([row_of[name] for name in names], dtype=np.int64)


def _layout(facts: object) -> tuple[tuple[int, int], dict[str, Any], dict[str, Any] | None]:
    """Shape (M, D) and the rows by path, of images and of mirror images. Raises ValueError for anything else."""
    if not isinstance(facts, dict) or not isinstance(facts.get("filepath_to_idx"), dict):
        raise ValueError(
            f'expected {{"shape": [N, D], "filepath_to_idx": {{path: row}}}}, found {reprlib.repr(facts)}'
        )
    shape = facts.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or any(type(n) is not int or n < 1 for n in shape):
        raise ValueError(f"expected the shape [N, D] in whole numbers, found {reprlib.repr(shape)}")
    flipped = facts.get("flipped_filepath_to_idx")
    if flipped is not None and not isinstance(flipped, dict):
        raise ValueError(f"flipped_filepath_to_idx: expected {{path: row}}, found {reprlib.repr(flipped)}")
    return (shape[0], shape[1]), facts["filepath_to_idx"], flipped
