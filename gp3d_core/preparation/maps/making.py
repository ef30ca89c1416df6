"""Maps beside the images of a data set, batch by batch: one source for all, the same call goes on.

The card of the data set says which source that is. Going on with another one would mix two kinds of maps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from tqdm import tqdm

from gp3d_core.atomic import alone, forget_leftovers
from gp3d_core.datasets.archive import DatasetError
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.preparation.dataset_card import read_card, record_step
from gp3d_core.preparation.pack_folder import LOCK
from gp3d_core.signals import Interruption


class MapSource(Protocol):
    """Where maps come from. `record` says so in JSON values; equal records give equal maps."""

    record: dict[str, Any]

    def maps(self, names: Sequence[str], images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Maps [R,R] of the `images` uint8 [R,R,3], whose paths are `names`."""


@dataclass(frozen=True)
class MapKind:
    """A kind of map: the `step` that makes it, in the card and on the progress bar; what the maps are `called`.

    file_of: name of an image → name of its map. save: writes one map to a path.
    """

    step: str
    called: str
    file_of: Callable[[str], str]
    save: Callable[[Path, NDArray[Any]], None]


@dataclass
class MapReport:
    """What was done: maps `made` now and `kept` from before, whether it was `stopped`."""

    made: int = 0
    kept: int = 0
    stopped: bool = False


def open_folder(path: Path, called: str) -> Dataset:
    """The data set in the folder `path`; DatasetError for a zip, beside whose images nothing can be written."""
    if path.is_file():
        raise DatasetError(
            f"{path} is not a folder, but {called} are written beside the images; unpack it first"
        )
    return Dataset(path, needs_depth=False)


def make_maps(
    path: Path,
    kind: MapKind,
    source: MapSource,
    stop: Interruption,
    *,
    batch: int,
    overwrite: bool,
    look: Callable[[Sequence[NDArray[Any]]], None],
) -> MapReport:
    """Writes the maps that the images of the data set folder `path` lack, `batch` at a time; `look` sees the new ones.

    The source's record goes into the card before the first map; going on with another one is refused, and so are
    maps of unknown origin, unless `overwrite` removes what is there. Raises DatasetError, also while another process
    writes there.
    """
    open_folder(path, kind.called)
    busy = DatasetError(f"another process is writing into {path}; wait for it")
    with alone(path / LOCK, busy):
        dataset = Dataset(path, needs_depth=False)  # as it is now that nobody else writes there
        todo = _missing(path, dataset, kind, source.record, overwrite=overwrite)
        record_step(path, kind.step, source.record)  # once none is left of another source
        return _make(path, dataset, todo, kind, source, stop, batch, look)


def _missing(
    path: Path, dataset: Dataset, kind: MapKind, record: dict[str, Any], *, overwrite: bool
) -> list[int]:
    """The rows of the images whose maps are to be made, after what killed processes left, or is replaced, is gone."""
    for folder in {path, *((path / name).parent for name in dataset.names)}:
        forget_leftovers(folder)
    todo = [i for i, name in enumerate(dataset.names) if kind.file_of(name) not in dataset.archive.sizes]
    if not _replaces(path, kind, record, known=len(todo) < len(dataset), overwrite=overwrite):
        return todo
    for name in dataset.names:
        (path / kind.file_of(name)).unlink(missing_ok=True)
    return list(range(len(dataset)))


def _make(
    path: Path,
    dataset: Dataset,
    todo: Sequence[int],
    kind: MapKind,
    source: MapSource,
    stop: Interruption,
    batch: int,
    look: Callable[[Sequence[NDArray[Any]]], None],
) -> MapReport:
    """Writes the maps of the rows `todo`."""
    report = MapReport(kept=len(dataset) - len(todo))
    with (
        ThreadPoolExecutor(4) as pool,
        tqdm(total=len(dataset), initial=report.kept, desc=kind.step, unit="img", disable=None) as bar,
    ):
        chunks = [todo[start : start + batch] for start in range(0, len(todo), batch)]
        # What the network waits for is read, and what it has made is written, while it works.
        loading = pool.map(dataset.load_image, chunks[0] if chunks else [])
        saving: Iterator[None] = iter(())
        for number, chunk in enumerate(chunks, 1):
            images = list(loading)
            loading = pool.map(dataset.load_image, chunks[number] if number < len(chunks) else [])
            names = [dataset.names[i] for i in chunk]
            maps = source.maps(names, images)
            deque(saving, maxlen=0)
            saving = pool.map(kind.save, [path / kind.file_of(name) for name in names], maps)
            look(maps)
            report.made += len(maps)
            bar.update(len(chunk))
            if stop.requested:
                report.stopped = True
                break
        deque(saving, maxlen=0)
    return report


def _replaces(path: Path, kind: MapKind, record: dict[str, Any], *, known: bool, overwrite: bool) -> bool:
    """Whether the maps that are there must go; DatasetError where they are of another source, or an unknown one."""
    steps = [step for step in read_card(path)["steps"] if step.get("step") == kind.step]
    found = {key: value for key, value in steps[0].items() if key != "step"} if steps else None
    if found == record and not overwrite:
        return False
    if known and not overwrite:
        if found is None:
            raise DatasetError(
                f"{path} has {kind.called} of unknown origin; `overwrite` replaces all of them"
            )
        key = next(key for key in {**record, **found} if found.get(key) != record.get(key))
        raise DatasetError(
            f"{path} has {kind.called} made with {key} = {found.get(key)}, asked for is {record.get(key)}; "
            "`overwrite` replaces all of them"
        )
    return known
