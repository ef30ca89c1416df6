"""Back to a data set from what was exported: its files as they were, to the byte.

An export holds all of them, under other names. What was changed in it since does not go back: cameras stand in several
files there, and nobody could tell which of them is meant.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from synthetic.exchange import bop, nerf, shards
from synthetic.exchange.files import MOST_BYTES, Below, ExchangeError, Files, is_safe, parsed
from synthetic.exchange.folder import DONE, ExportFolder
from synthetic.exchange.layout import KEPT, scenes_of
from synthetic.exchange.source import DataSet

Report = Callable[[], object]  # told of every view


class Export:
    """What lies in an export, as its export.json says. Raises ExchangeError where it is none, OSError."""

    def __init__(self, files: Files) -> None:
        """Reads export.json and the index of the data set."""
        self.files = files
        if DONE not in files.sizes:
            raise ExchangeError(
                f"{files.path}: has no {DONE}; expected what `python -m synthetic.export` wrote to its end"
            )
        facts = parsed(files.read(DONE), f"{files.path}/{DONE}")
        self.facts: dict[str, Any] = facts if isinstance(facts, dict) else {}
        if self.facts.get("format") != "gp3d-export" or self.facts.get("version") != 1:
            raise ExchangeError(f"{files.path}/{DONE}: expected gp3d-export version 1")
        self.to = self.facts.get("to")
        self.index = Below(files, KEPT)
        self.dataset = DataSet(files, self.index)


def restore(export: Export, out: ExportFolder) -> str:
    """Writes the data set that was exported; how much it holds. Raises ExchangeError, StoppedError, OSError."""
    copies = {"nerf": _from_nerf, "bop": _from_bop}
    if export.to not in (*copies, "webdataset"):
        raise ExchangeError(
            f"{export.files.path}/{DONE}: expected nerf, bop or webdataset, found {export.to!r}"
        )
    with tqdm(total=len(export.dataset.views) or None, unit="view", smoothing=0.05, disable=None) as bar:
        if export.to == "webdataset":
            done = _from_shards(export, out, bar.update)
        else:
            done = _copied(export, out, bar.update, copies[export.to](export))
    last = "dataset.json"  # with it, the data set is whole
    for name in (*(name for name in export.index.sizes if name != last), last):
        out.write(name, partial(export.index.read, name))
    return f"{done} views, as they were"


def _copied(export: Export, out: ExportFolder, told: Report, pairs: Iterator[tuple[str, str]]) -> int:
    pictures, found = {view.name for view in export.dataset.views}, 0
    for source, target in pairs:
        if source in pictures:
            found += 1
            told()
        elif target not in export.files.sizes:
            continue
        out.write(source, partial(export.files.read, target))
    if found < len(pictures):
        raise ExchangeError(
            f"{export.files.path}: holds {found} of {len(pictures)} views, as models were left out when it was exported"
        )
    return found


def _from_nerf(export: Export) -> Iterator[tuple[str, str]]:
    for scene in scenes_of(export.dataset):
        for name, text in nerf.camera_files(export.dataset, scene, bool(export.facts.get("masks"))):
            _check_same(export.files, name, text)
        yield from nerf.kept_files(export.dataset, scene)


def _from_bop(export: Export) -> Iterator[tuple[str, str]]:
    where = f"{export.files.path}/objects.json"
    objects = parsed(export.files.read("objects.json"), where)
    try:
        models = {int(number): entry["model"] for number, entry in objects.items()}
        millimetres = float(export.facts["millimetres"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExchangeError(f"{where}: expected models by number ({error!r})") from None
    for number, scene in bop.numbered(export.dataset):
        if models.get(number) == scene.model:
            one = bop.BopScene(scene, number, np.zeros(3))
            name, text = next(bop.camera_files(export.dataset, one, millimetres))
            _check_same(export.files, name, text)
            yield from bop.kept_files(export.dataset, one)


def _check_same(files: Files, name: str, text: bytes) -> None:
    if parsed(files.read(name), f"{files.path}/{name}") != parsed(text, name):
        raise ExchangeError(
            f"{files.path}: {name} has been changed since it was exported; only what is unchanged goes back"
        )


def _from_shards(export: Export, out: ExportFolder, told: Report) -> int:
    names = {shards.key_of(view): view.name for view in export.dataset.views}
    labelled, seen = bool(names), set[str]()
    for shard in sorted(name for name in export.files.sizes if "/" not in name and name.endswith(".tar")):
        where = f"{export.files.path}/{shard}"
        with _opened(export.files, shard) as tar:
            for key, sample in _samples(tar, where):
                name = names.get(key) if labelled else _name_in(sample, where)
                if name is None:
                    raise ExchangeError(f"{where}: {key} is no view of the data set in {KEPT}/")
                for ending, text in sample.items():
                    target = shards.target_of(name, ending)
                    if target is not None:
                        out.write(target, partial(bytes, text))
                if name in seen:
                    raise ExchangeError(f"{where}: {key} is there twice")
                seen.add(name)
                told()
    missing = sorted(set(names.values()) - seen)
    if missing:
        raise ExchangeError(
            f"{export.files.path}: {len(missing)} views are in no shard, such as {missing[0]}"
        )
    return len(seen)


@contextmanager
def _opened(files: Files, shard: str) -> Iterator[tarfile.TarFile]:
    """A shard, which is not compressed: nothing in it can unpack to more than is there."""
    try:
        packed = None if files.path.is_dir() else io.BytesIO(files.read(shard))
        with tarfile.open(files.path / shard, mode="r:", fileobj=packed) as tar:
            yield tar
    except tarfile.TarError as error:
        raise ExchangeError(f"{files.path}/{shard}: is no readable tar ({error})") from None


def _samples(tar: tarfile.TarFile, where: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Keys and files (by ending) of a shard's samples, which stand beside each other."""
    current: str | None = None
    sample: dict[str, bytes] = {}
    for name, text in shards.read_shard(tar, MOST_BYTES, where):
        if not is_safe(name):
            raise ExchangeError(f"{where}: {name!r} is no path of a file below it")
        folder, slash, file = name.rpartition("/")
        stem, dot, ending = file.partition(".")
        key = f"{folder}{slash}{stem}"
        if key != current:
            if current is not None:
                yield current, sample
            current, sample = key, {}
        if f"{dot}{ending}" in sample:
            raise ExchangeError(f"{where}: {name} is there twice")
        sample[f"{dot}{ending}"] = text
    if current is not None:
        yield current, sample


def _name_in(sample: dict[str, bytes], where: str) -> str | None:
    """The picture's path as the sample's own record says it: of data without labels no list of pictures exists."""
    record = parsed(sample.get(".json", b"{}"), where)
    name = record.get("name") if isinstance(record, dict) else None
    return name if isinstance(name, str) and is_safe(name) else None
