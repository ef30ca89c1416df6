"""Hugging Face data sets on disk: folders of `save_to_disk` (Arrow) and of the hub (Parquet), read with pyarrow.

Nothing is fetched and nothing of the `datasets` library is needed. Tables are read a record batch or row group at a
time. A picture is a column of bytes, or of records with `bytes` and `path`; a row whose picture lies elsewhere (a path
without bytes) is refused by name. Keys are `<file>#<row>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gp3d_core.datasets.decoding import SUFFIXES, PictureError
from gp3d_core.datasets.imagenet import imagenet_classes
from gp3d_core.preparation.sources.layouts import Entry, Listing
from gp3d_core.preparation.sources.trees import MOST_BYTES, SourceError

_MOST_GROUP = 4 * 2**30  # bytes of a row group, unpacked
_PIECE = re.compile(r"(?P<split>.+?)-\d+-of-\d+(?:-[0-9a-f]+)?\.parquet")


@dataclass(frozen=True)
class Columns:
    """Which columns hold picture and class; `names` of the classes in the order of their numbers, where known."""

    image: str
    label: str | None
    names: tuple[str, ...] = ()


def is_table(path: Path) -> bool:
    """Whether `path` is a Hugging Face data set of tables, by its files' names.

    Parquet counts where the hub puts it (`data/`, pieces `…-of-…`), and elsewhere in a folder without pictures.
    """
    if path.is_file():
        return path.suffix in (".arrow", ".parquet")
    if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
        return True
    if any(True for pattern in ("data/*.parquet", "*-of-*.parquet") for _ in path.glob(pattern)):
        return True
    found = False
    for file in path.rglob("*"):
        if file.suffix.lower() in SUFFIXES:
            return False
        found = found or file.suffix == ".parquet"
    return found


def list_tables(
    path: Path, *, split: str | None = None, image_column: str | None = None, label_column: str | None = None
) -> Listing:
    """All rows of the tables at `path` as pictures, by file and row; SourceError where there are none."""
    root, files, kind = _table_files(path, split)
    columns = find_columns(root, files[0], image_column, label_column)
    entries, labels = [], set()
    digits = len(str(max(0, len(columns.names) - 1)))
    refused: dict[str, str] = {}
    for file in files:
        for row, label in enumerate(_column(root, file, columns.label)):
            key = f"{file}#{row:08d}"
            text = None if label is None else str(label).zfill(digits)
            if columns.label is not None and (text is None or text.startswith("-")):
                refused[key] = f"has no {columns.label}"
                continue
            if (
                text is not None
                and columns.names
                and not (isinstance(label, int) and label < len(columns.names))
            ):
                refused[key] = f"has the {columns.label} {label}, known are 0 to {len(columns.names) - 1}"
                continue
            entries.append(Entry(key, text))
            labels.add(text)
    if not entries:
        raise SourceError(f"{path} has no rows with a picture and its class")
    names = {str(k).zfill(digits): name for k, name in enumerate(columns.names)}
    indices = {key: int(key) for key in names} if _is_imagenet(columns.names) else {}
    return Listing(entries, kind, refused, {k: v for k, v in names.items() if k in labels}, indices)


def _is_imagenet(names: tuple[str, ...]) -> bool:
    """Whether `names` are those of the 1000 ImageNet classes in their order; two spellings may differ in few."""
    classes = imagenet_classes()
    same = [
        name.split(",")[0].strip().lower() == entry.name.lower() or name == entry.wnid
        for name, entry in zip(names, classes, strict=False)
    ]
    return len(names) == len(classes) and sum(same) >= 0.9 * len(classes)


def _parquets(path: Path) -> Iterator[Path]:
    return (p for p in sorted(path.rglob("*.parquet")) if p.is_file() and not p.name.startswith("."))


def _table_files(path: Path, split: str | None) -> tuple[Path, list[str], str]:
    """The folder, the tables in it, and what they are; of several splits the asked one, or `train`."""
    if path.is_file():
        return path.parent, [path.name], f"{path.suffix[1:]} table"
    if (path / "dataset_dict.json").exists():
        known = _json(path / "dataset_dict.json").get("splits", [])
        chosen = _choose([str(name) for name in known], split, path)
        if chosen in (".", "..") or "/" in chosen:
            raise SourceError(f"{path}/dataset_dict.json names a split outside itself, {chosen!r}")
        return _arrow_files(path / chosen, f"Arrow data set, split {chosen}")
    if (path / "state.json").exists():
        return _arrow_files(path, "Arrow data set")
    by_split: dict[str, list[str]] = {}
    for found in _parquets(path):
        piece = _PIECE.fullmatch(found.name)
        by_split.setdefault(piece["split"] if piece else found.stem, []).append(
            found.relative_to(path).as_posix()
        )
    chosen = _choose(list(by_split), split, path)
    return path, by_split[chosen], f"Parquet data set, split {chosen}"


def _arrow_files(folder: Path, kind: str) -> tuple[Path, list[str], str]:
    rows = _json(folder / "state.json").get("_data_files", [])
    names: list[str] = []
    for name in (row.get("filename") if isinstance(row, dict) else row for row in rows):
        if not isinstance(name, str) or name in (".", "..") or "/" in name:
            raise SourceError(f"{folder}/state.json names a file outside itself, {name!r}")
        names.append(name)
    if not names:
        raise SourceError(f"{folder}/state.json names no data files")
    return folder, names, kind


def _choose(known: list[str], split: str | None, path: Path) -> str:
    chosen = split or ("train" if "train" in known else known[0] if len(known) == 1 else None)
    if chosen not in known:
        asked = f"no split {split!r}" if split else "several splits"
        raise SourceError(
            f"{path} has {asked}; choose with `split`: {', '.join(sorted(known)) or 'there are none'}"
        )
    return str(chosen)


def _json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read ({error})") from error
    if not isinstance(facts, dict):
        raise SourceError(f"{path}: expected an object, found {type(facts).__name__}")
    return facts


def find_columns(root: Path, file: str, image: str | None, label: str | None) -> Columns:
    """The columns of picture and class of a table, by its declared features or by their usual names."""
    schema = _Table(root, file).schema
    features = _features(schema.metadata)
    for asked in (image, label):
        if asked and asked not in schema.names:
            raise SourceError(f"{root / file} has no column {asked!r}; it has {', '.join(schema.names)}")
    images = [name for name in schema.names if _kind(features, name) == "Image"]
    classes = [name for name in schema.names if _kind(features, name) == "ClassLabel"]
    image = image or _first([*(images if len(images) == 1 else []), "image", "img"], schema.names)
    label = label or _first([*(classes if len(classes) == 1 else []), "label"], schema.names)
    if image is None:
        raise SourceError(
            f"{root / file}: which column is the picture? `image_column`: {', '.join(schema.names)}"
        )
    names = features.get(label, {}).get("names") if label else None
    right = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return Columns(image, label, tuple(names) if right and names else ())


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """The features that `datasets` declares in a table, by column; none where it did not write the table."""
    try:
        declared = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    if not isinstance(declared, dict):
        return {}
    return {name: feature for name, feature in declared.items() if isinstance(feature, dict)}


def _kind(features: Mapping[str, dict[str, Any]], name: str) -> str | None:
    return features.get(name, {}).get("_type")


def _first(wanted: list[str], known: list[str]) -> str | None:
    return next((name for name in wanted if name in known), None)


def _column(root: Path, file: str, name: str | None) -> Iterator[Any]:
    """The values of a column, None for each row where there is no such column to read."""
    table = _Table(root, file)
    if name is None:
        yield from (None for _ in range(table.rows()))
        return
    for _, values in table.batches(name):
        yield from values.to_pylist()


class _Table:
    """One file of a table; SourceError where it is none, or pyarrow is missing."""

    def __init__(self, root: Path, file: str) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise SourceError(
                f"{root / file} is a table, which needs pyarrow: pip install 'gp3d[tables]'"
            ) from None
        self._arrow, self._path = pyarrow, root / file
        self._damage = (OSError, pyarrow.ArrowException)
        try:
            if file.endswith(".parquet"):
                self._parquet = pyarrow.parquet.ParquetFile(self._path, memory_map=True)
                self.schema = self._parquet.schema_arrow
            else:
                self._parquet = None
                self.schema = self._stream().schema
        except self._damage as error:
            raise SourceError(f"{self._path} cannot be read as a table ({_short(error)})") from error

    def _stream(self) -> Any:
        return self._arrow.ipc.open_stream(self._arrow.memory_map(str(self._path)))

    def rows(self) -> int:
        """How many rows there are."""
        if self._parquet is not None:
            return int(self._parquet.metadata.num_rows)
        return sum(batch.num_rows for batch in self._stream())

    def batches(self, column: str) -> Iterator[tuple[int, Any]]:
        """First row and values of `column` of each piece of the file, in order, each validated."""
        start = 0
        try:
            for values in self._pieces(column):
                values.validate(full=True)  # the file may come from anybody
                yield start, values
                start += len(values)
        except self._damage as error:
            raise SourceError(f"{self._path} is damaged after row {start} ({_short(error)})") from error

    def _pieces(self, column: str) -> Iterator[Any]:
        if self._parquet is None:
            yield from (batch.column(batch.schema.get_field_index(column)) for batch in self._stream())
            return
        for group in range(self._parquet.num_row_groups):
            if self._parquet.metadata.row_group(group).total_byte_size > _MOST_GROUP:
                raise SourceError(
                    f"{self._path}: row group {group} unpacks to more than {_MOST_GROUP >> 30} GiB"
                )
            yield self._parquet.read_row_group(group, columns=[column]).column(0)


class TableReader:
    """Reads pictures of the tables at `path`; going forward is cheap, going back starts the file again."""

    def __init__(self, path: Path, split: str | None, image_column: str | None) -> None:
        self._root, files, _ = _table_files(path, split)
        self._image = find_columns(self._root, files[0], image_column, None).image
        self._file = ""
        self._ahead: Iterator[tuple[int, Any]] = iter(())
        self._start, self._values = 0, []  # type: tuple[int, Any]

    def read(self, key: str) -> bytes:
        """Bytes of the picture `key`; PictureError when the row has none."""
        file, _, number = key.rpartition("#")
        row = int(number)
        if file != self._file or row < self._start:
            self._file, self._start, self._values = file, 0, []
            self._ahead = _Table(self._root, file).batches(self._image)
        while row >= self._start + len(self._values):
            try:
                self._start, self._values = next(self._ahead)
            except StopIteration:
                raise PictureError("is not in the table any more") from None
            except SourceError as error:
                raise PictureError(f"cannot be read ({error})") from error
        return _picture(self._values[row - self._start].as_py())


def _picture(value: object) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes) and content:
        if len(content) > MOST_BYTES:
            raise PictureError(f"has more than {MOST_BYTES >> 20} MiB")
        return content
    elsewhere = value.get("path") if isinstance(value, dict) else None
    raise PictureError(
        f"is not in the table, which only names {elsewhere!r}" if elsewhere else "is empty in the table"
    )


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
