"""Distillation features of a data set in one mapped file (docs/dataset.md, "Distillation features").

Rows stand in the order of the images' paths; with flips, the mirror images follow in the same order. While they are
computed they lie in `.<name>.partial`, with `.<name>.progress.json` beside it, and the same command goes on.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from gp3d_core.atomic import alone, forget_leftovers_of, naming, replacing, write_json
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.datasets.feature_table import features_description, open_features
from gp3d_core.hashing import DAMAGE, digest, ordinary
from gp3d_core.preparation.teachers import Teacher
from gp3d_core.signals import Interruption

FILES = (".npy", ".safetensors")  # of features that some other program computed


@dataclass(frozen=True)
class FeaturesReport:
    """`rows` of `dim` numbers, of which `computed` now; `stopped` before all were."""

    rows: int
    dim: int
    computed: int
    stopped: bool


def default_features_path(dataset: Path, teacher: str) -> Path:
    """Beside the data set: `<data set>_<teacher>.f32`."""
    network = (
        Path(teacher).stem
        if teacher.endswith(FILES)
        else teacher.rstrip("/").replace(":", "-").replace("/", "-")
    )
    return dataset.resolve().with_name(f"{_title(dataset)}_{network}.f32")


def write_features(
    dataset: Dataset, teacher: Teacher, out: Path, stop: Interruption, *, flips: bool = False, batch: int = 32
) -> FeaturesReport:
    """Computes the features of all images, with `flips` also of their mirror images, and writes `out`.

    Raises DatasetError for an image that cannot be read, when `out` was begun or made with other settings, and while
    another process writes it.
    """
    with _alone(out):
        return _compute(dataset, teacher, out, stop, flips, batch)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    busy = DatasetError(f"another process is writing {out}; wait for it or choose another `out`")
    with alone(out.with_name(f".{out.name}.lock"), busy):
        for path in (out, features_description(out), _progress_of(out)):
            forget_leftovers_of(path)
        yield


def _progress_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.progress.json")


def _compute(
    dataset: Dataset, teacher: Teacher, out: Path, stop: Interruption, flips: bool, batch: int
) -> FeaturesReport:
    count = len(dataset) * (2 if flips else 1)
    facts = {
        "shape": [count, teacher.dim],
        "flips": flips,
        "teacher": teacher.facts,
        "data": dataset.fingerprint,
    }
    partial, progress = out.with_name(f".{out.name}.partial"), _progress_of(out)
    if _finished(out, facts):
        progress.unlink(missing_ok=True)  # of a process that was killed after its last row
        return FeaturesReport(count, teacher.dim, 0, False)
    done = first = _begun(partial, progress, facts)
    with naming(partial, out):
        _allocate(partial, 4 * count * teacher.dim, anew=not done)
    table = np.memmap(partial, dtype="<f4", mode="r+", shape=(count, teacher.dim))
    with (
        ThreadPoolExecutor(4) as pool,
        tqdm(total=count, initial=done, desc="features", unit="img", disable=None) as bar,
    ):
        while done < count and not stop.requested:
            rows = range(done, min(done + batch, count))
            images = list(pool.map(lambda row: _picture(dataset, row), rows))
            table[rows.start : rows.stop] = teacher.encode(images)
            table.flush()
            done = rows.stop
            write_json(progress, {**facts, "done": done})
            bar.update(len(rows))
    del table
    if done == count:
        write_json(features_description(out), {**facts, **_index(dataset, flips)})
        os.replace(partial, out)
        progress.unlink()
    return FeaturesReport(count, teacher.dim, done - first, done < count)


def _allocate(path: Path, size: int, *, anew: bool) -> None:
    """Takes all the room that the file at `path` will need: a disk that is full while it is written through memory
    would kill the process. Begun `anew` it holds nothing of what another command may have left, perhaps a longer one.
    """
    with path.open("wb" if anew else "ab") as file:
        os.posix_fallocate(file.fileno(), 0, size)


def import_features(dataset: Dataset, file: Path, out: Path) -> FeaturesReport:
    """Writes `out` from a table [N,D] that some other program computed, a row for each image in the order of the paths.

    Raises DatasetError for a file of another kind or shape, and for numbers that are not finite.
    """
    table = _read_table(ordinary(file))
    if table.ndim != 2 or len(table) != len(dataset) or table.dtype.kind != "f":
        raise DatasetError(
            f"{file}: expected floating-point features [{len(dataset)}, D], a row for each image in the order of the "
            f"paths, found {table.dtype} {list(table.shape)}"
        )
    if not np.isfinite(table).all():
        raise DatasetError(f"{file}: expected finite features, found NaN or infinity")
    facts = {
        "shape": list(table.shape),
        "flips": False,
        "teacher": {"name": file.name, "sha256": digest(file)},
        "data": dataset.fingerprint,
    }
    with _alone(out):
        if _finished(out, facts):
            return FeaturesReport(len(table), table.shape[1], 0, False)
        # first: a table without a description would be nobody's
        write_json(features_description(out), {**facts, **_index(dataset, flips=False)})
        with replacing(out) as temporary:
            np.ascontiguousarray(table, dtype="<f4").tofile(temporary)
    return FeaturesReport(len(table), table.shape[1], len(table), False)


def find_features(dataset: Path) -> Path:
    """The one file of features beside the data set; DatasetError where there is none, or several."""
    title = _title(dataset)
    found = sorted(dataset.resolve().parent.glob(f"{glob.escape(title)}_*.f32"))
    if len(found) != 1:
        seen = "none" if not found else ", ".join(path.name for path in found)
        raise DatasetError(
            f"expected one file of features {title}_*.f32 beside {dataset}, found {seen}; "
            "`gp3d data features` makes one, `features` names one"
        )
    return found[0]


def _title(dataset: Path) -> str:
    """The name of a data set without the ending of a zip; a folder may be called v1.5."""
    home = dataset.resolve()
    return home.stem if home.suffix.lower() == ".zip" else home.name


def features_of(dataset: Dataset, path: Path) -> NDArray[Any]:
    """Features [N,D] of the images of `dataset`, in their order; DatasetError when the file is unfit."""
    features = open_features(path, dataset.names)
    return features.of(np.arange(len(dataset)), np.zeros(len(dataset), dtype=bool))


def _picture(dataset: Dataset, row: int) -> NDArray[Any]:
    flipped, index = divmod(row, len(dataset))
    image = dataset.load_image(index)
    return np.ascontiguousarray(image[:, ::-1]) if flipped else image


def _index(dataset: Dataset, flips: bool) -> dict[str, Any]:
    """Where the row of each image is, and of its mirror image."""
    index: dict[str, Any] = {"filepath_to_idx": {name: i for i, name in enumerate(dataset.names)}}
    if flips:
        index["flipped_filepath_to_idx"] = {name: len(dataset) + i for i, name in enumerate(dataset.names)}
    return index


def _finished(out: Path, facts: dict[str, Any]) -> bool:
    """Whether `out` holds what `facts` ask for; DatasetError when it holds something else."""
    description = features_description(out)
    if not out.exists():
        return False
    found = _facts(description) if description.exists() else {}
    if {key: found.get(key) for key in facts} == facts:
        return True
    raise DatasetError(
        f"{out} holds features of other data, of another teacher or with other `flips`; "
        "remove it or choose another `out`"
    )


def _begun(partial: Path, progress: Path, facts: dict[str, Any]) -> int:
    """How many rows an interrupted run left; DatasetError when it had other settings."""
    if not (partial.exists() and progress.exists()):
        return 0
    found = _facts(progress)
    if {key: found.get(key) for key in facts} != facts:
        raise DatasetError(
            f"{partial} was begun with other data, another teacher or other `flips`; "
            "remove it or choose another `out`"
        )
    return int(found["done"])


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); remove it") from error
    return found if isinstance(found, dict) else {}


def _read_table(file: Path) -> NDArray[Any]:
    """The one array of an .npy or .safetensors file."""
    try:
        if file.suffix == ".npy":
            return np.asarray(np.load(file, allow_pickle=False, mmap_mode="r"))
        with safe_open(file, framework="numpy") as content:
            names = list(content.keys())
            if len(names) != 1:
                raise ValueError(f"expected one tensor, found {len(names)}")
            return content.get_tensor(names[0])
    except (*DAMAGE, SafetensorError) as error:
        raise DatasetError(f"features {file} cannot be read ({error})") from error
