"""Which files of a source are pictures, and of which class, by its folders or by its metadata file.

Rules, first match counts: a `metadata.csv` or `metadata.jsonl` with a label column (Hugging Face's image folder); a
WordNet id that a part of the path begins with (ImageNet and its relatives); the first folder below those that all
share and below names of splits (`train`, `val`, `test`); no class at all where no picture lies in a folder.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from gp3d_core.datasets.decoding import FOREIGN, SUFFIXES
from gp3d_core.preparation.sources.folders import Layout, label_by_folders
from gp3d_core.preparation.sources.label_tables import ANNOTATIONS, LabelTable, parse_table
from gp3d_core.preparation.sources.trees import Files, SourceError

WNID = re.compile(r"n\d{8}")
METADATA = ("metadata.csv", "metadata.jsonl")


@dataclass(frozen=True)
class Entry:
    """A picture of a source: its `key` there, its class, and its bytes (0 where they are not known)."""

    key: str
    label: str | None
    size: int = 0


@dataclass
class Listing:
    """All pictures of a source, sorted by key.

    names: what a class is called, by its label, where that is more than the label. indices: its number in ImageNet,
    where the source says so. refused: reasons by key of what looks like a picture and is none for us. kind: of which
    layout the source is. left_out: how many other files there are, by what they are.
    """

    entries: list[Entry]
    kind: str
    refused: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def list_pictures(
    files: Files,
    read: Callable[[str], bytes],
    where: str,
    *,
    layout: Layout = "auto",
    label_column: str | None = None,
    table: LabelTable | None = None,
) -> Listing:
    """The pictures among `files`, with classes; `read` gives the content of a metadata file.

    `table` has the classes of pictures whose folders say none; a `val_annotations.txt` among the files is read anyway.

    Raises SourceError when there are none, or when their layout contradicts itself.
    """
    pictures = [name for name in files.sizes if PurePosixPath(name).suffix.lower() in SUFFIXES]
    maps = _depth_maps(pictures)
    pictures = [name for name in pictures if name not in maps]
    metadata = [name for name in files.sizes if PurePosixPath(name).name in METADATA]
    foreign = [name for name in files.sizes if PurePosixPath(name).suffix.lower() in FOREIGN]
    refused = files.refused | dict.fromkeys(
        foreign, "is of a format that is not read; save it as PNG or JPEG"
    )
    if not pictures:
        raise SourceError(f"{where} has no pictures ({', '.join(SUFFIXES)}){_instead(refused)}")
    beside = [name for name in files.sizes if PurePosixPath(name).name == ANNOTATIONS]
    known = {*pictures, *maps, *metadata, *foreign, *beside}
    others = [name for name in files.sizes if name not in known]
    some = f"{others[0]}, …" if len(others) > 1 else "".join(others)
    left_out = {k: n for k, n in {"depth maps": len(maps), f"other files ({some})": len(others)}.items() if n}
    rows = _metadata_labels(metadata, read, where, label_column) if layout == "auto" else None
    if rows is not None:
        strangers = [name for name in pictures if name not in rows]
        refused |= dict.fromkeys(strangers, "has no row in the metadata")
        named = {name: rows[name] for name in pictures if name in rows}
        if not named:
            raise SourceError(f"{where}: the metadata names none of the {len(pictures)} pictures")
        labels, names = _numbered(named)
        kind = "image folder with metadata"
    else:
        for name in beside:
            folder = PurePosixPath(name).parent.as_posix()
            found = parse_table(read(name), f"{where}/{name}", (folder, f"{folder}/images"))
            table = found.merged(table) if table else found
        folders = label_by_folders(pictures, where, layout, table)
        kind, labels, names = folders.kind, folders.labels, {}
        left_out |= folders.left_out
    entries = [Entry(name, labels[name], files.sizes[name]) for name in pictures if name in labels]
    return Listing(entries, kind, refused, names, left_out=left_out)


def _instead(refused: Mapping[str, str]) -> str:
    return "" if not refused else "; " + "; ".join(f"{name} {why}" for name, why in list(refused.items())[:1])


def _depth_maps(pictures: Sequence[str]) -> set[str]:
    """Pictures `X_depth.*` and `X_mask.*` that lie beside a picture `X.*`."""
    stems = {str(PurePosixPath(name).with_suffix("")) for name in pictures}
    found = set()
    for name in pictures:
        stem = str(PurePosixPath(name).with_suffix(""))
        if any(stem.endswith(end) and stem.removesuffix(end) in stems for end in ("_depth", "_mask")):
            found.add(name)
    return found


def _metadata_labels(
    metadata: Sequence[str], read: Callable[[str], bytes], where: str, column: str | None
) -> dict[str, Any] | None:
    """Label by picture from the metadata files; None where no file has a label column and none was asked for."""
    labels: dict[str, Any] = {}
    known: set[str] = set()
    for name in metadata:
        folder = PurePosixPath(name).parent
        for number, row in enumerate(_rows(name, read(name), where), 1):
            known |= row.keys()
            if not isinstance(row.get("file_name"), str):
                raise SourceError(f"{where}/{name}: row {number} has no file_name")
            if (column or "label") in row:
                picture = (folder / row["file_name"]).as_posix()
                label = row[column or "label"]
                if not isinstance(label, str | int) or isinstance(label, bool) or label == "":
                    raise SourceError(
                        f"{where}/{name}: row {number} has the label {label!r}, expected text or number"
                    )
                if labels.setdefault(picture, label) != label:
                    raise SourceError(
                        f"{where}/{name}: {picture} has two labels, {labels[picture]!r} and {label!r}"
                    )
    if column and column not in known:
        there = (
            f"it has {', '.join(sorted(known))}" if metadata else "there is no metadata.csv or metadata.jsonl"
        )
        raise SourceError(f"{where}: no column {column!r} for `label_column`; {there}")
    return labels or None


def _rows(name: str, content: bytes, where: str) -> Iterator[dict[str, Any]]:
    """The rows of a metadata file."""
    try:
        text = content.decode("utf-8-sig")
        if name.endswith(".csv"):
            yield from csv.DictReader(io.StringIO(text), strict=True)
            return
        for line in text.split("\n"):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object a line, found {line[:40]!r}")
                yield row
    except (ValueError, csv.Error, RecursionError) as error:
        raise SourceError(f"{where}/{name} cannot be read ({error})") from error


def _numbered(labels: Mapping[str, Any]) -> tuple[dict[str, str | None], dict[str, str]]:
    """Labels as text that sorts like the numbers, and what such classes are called."""
    texts = {str(label) for label in labels.values()}
    if not all(re.fullmatch(r"\d{1,9}", text) for text in texts):
        return {name: str(label) for name, label in labels.items()}, {}
    width = max(map(len, texts))
    keys = {name: str(label).zfill(width) for name, label in labels.items()}
    return dict(keys), {key: f"class {int(key)}" for key in set(keys.values())}
