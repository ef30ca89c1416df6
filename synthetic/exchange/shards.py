"""Views in tar files as the webdataset library reads them: one sample a view, its files beside each other.

    OUT/train-000000.tar …     n03063599/mug_000.png, .depth.png16, .geometry.npz, .camera.json, .json, .cls

The key is the path of the view without its ending, in which "." and "%" are written %2E and %25, since a key ends at
the first dot. The depth code ends in `.png16`, since the library would make eight bits of a 16-bit `.png`. `.json` says
what the view is, `.cls` is its label. Samples stand in an order without order (by the hash of their names), so that
every shard shows all classes. Bytes are a function of data and options alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from synthetic.exchange.files import ExchangeError
from synthetic.exchange.folder import ExportFolder
from synthetic.exchange.source import BESIDE, DataSet, View

_BLOCK = 512
_ENDINGS = dict(zip(BESIDE, (".depth.png16", ".geometry.npz", ".camera.json"), strict=True))
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Shard:
    """A tar file and its views."""

    name: str
    views: tuple[View, ...]


def key_of(view: View) -> str:
    """The sample's key: the view's path without its ending, with no dot, and not one that the library skips."""
    key = view.stem.replace("%", "%25").replace(".", "%2E")
    return f"%5F{key[1:]}" if key.startswith("__") else key


def plan(dataset: DataSet, megabytes: float) -> list[Shard]:
    """All shards: as many views as fit, at least one."""
    waiting: dict[str, list[View]] = {}
    for view in sorted(dataset.views, key=lambda view: hashlib.sha256(view.name.encode()).digest()):
        waiting.setdefault(dataset.split_of(view), []).append(view)
    shards = []
    for split, views in sorted(waiting.items()):
        groups: list[list[View]] = []
        room = 0.0
        for view in views:
            size = sum(_padded(length) for _, length in _lengths(dataset, view))
            if size > room:
                groups.append([])
                room = megabytes * _MEGABYTE - 2 * _BLOCK
            groups[-1].append(view)
            room -= size
        shards += [Shard(f"{split}-{number:06d}.tar", tuple(group)) for number, group in enumerate(groups)]
    return shards


def members(dataset: DataSet, view: View) -> list[tuple[str, str | bytes]]:
    """The files of a sample: ending, and the path in the data set, or the bytes of what is made for it."""
    picture, *beside = dataset.files_of(view)
    named: list[tuple[str, str | bytes]] = [(PurePosixPath(picture).suffix.lower(), picture)]
    named += [(_ENDINGS[name.removeprefix(view.stem)], name) for name in beside]
    what: dict[str, object] = {"name": view.name, "label": view.label, "split": dataset.split_of(view)}
    if view.label is not None:
        what["class"] = {k: v for k, v in dataset.classes[view.label].items() if k != "label"}
    if view.camera is not None:
        what |= dataset.credit_of(view.camera.model)
        what |= {"model": view.camera.model, "cam2world": view.camera.cam2world.tolist()}
        what["intrinsics"] = view.camera.intrinsics.tolist()
    named.append((".json", json.dumps(what).encode()))
    if view.label is not None:
        named.append((".cls", str(view.label).encode()))
    return named


def _lengths(dataset: DataSet, view: View) -> Iterator[tuple[str, int]]:
    for ending, content in members(dataset, view):
        yield ending, len(content) if isinstance(content, bytes) else dataset.files.sizes[content]


def _padded(length: int) -> int:
    return _BLOCK + -(-length // _BLOCK) * _BLOCK


def write_shard(dataset: DataSet, shard: Shard, folder: ExportFolder) -> None:
    """Writes a shard, whole, unless it is there. Raises ExchangeError, StoppedError, OSError."""
    if folder.has(shard.name):
        return
    with (
        folder.writing(shard.name) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for view in shard.views:
            folder.has(shard.name)  # ends here where it is to end
            for ending, content in members(dataset, view):
                text = content if isinstance(content, bytes) else dataset.checked(content)
                entry = tarfile.TarInfo(f"{key_of(view)}{ending}")
                entry.size, entry.mode = len(text), 0o644
                tar.addfile(entry, io.BytesIO(text))


def read_shard(content: tarfile.TarFile, most: int, where: str) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a shard's files. Raises ExchangeError for what is no plain file of a bearable size."""
    try:
        for entry in content:
            if not entry.isreg() or entry.issparse():
                raise ExchangeError(f"{where}: {entry.name!r} is no plain file")
            if not 0 <= entry.size <= most:
                raise ExchangeError(
                    f"{where}: {entry.name!r} has {entry.size} bytes, expected at most {most}"
                )
            file = content.extractfile(entry)
            text = file.read() if file else b""
            if len(text) != entry.size:
                raise ExchangeError(f"{where}: ends within {entry.name!r}")
            yield entry.name, text
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, ExchangeError):
            raise
        raise ExchangeError(f"{where}: is no readable tar ({error})") from None


def target_of(dataset_name: str, ending: str) -> str | None:
    """The path in the data set of a sample's file, by that of its picture; None for what was made for the sample."""
    path = PurePosixPath(dataset_name)
    if ending == path.suffix.lower():
        return dataset_name
    names = {shard: beside for beside, shard in _ENDINGS.items()}
    return f"{path.with_suffix('')}{names[ending]}" if ending in names else None
