"""The class of every picture by the folders it lies in, by WordNet ids in its path, or by a table of labels.

A WordNet id with which a folder's or a picture's name begins decides ("n02085620-Chihuahua", "n01440764_tench.JPEG").
Folders of splits (`train`, `val`, `test`) are no classes: a picture right below one, or in its folder `images`, has
none unless a table gives it. Evidence that contradicts itself is refused with the option that decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from gp3d_core.preparation.sources.label_tables import LabelTable
from gp3d_core.preparation.sources.trees import SourceError

Layout = Literal["auto", "ids", "classes", "flat"]
_ID = re.compile(r"(n\d{8})(?!\w)|(n\d{8})_")
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev"}
_HOLDERS = {"", "images", "jpegimages", "img", "imgs"}  # of a split's pictures; of no class


@dataclass
class FolderLabels:
    """Class by picture (None: the source has no classes), and how many were left out, by what they are."""

    kind: str
    labels: dict[str, str | None]
    left_out: dict[str, int] = field(default_factory=dict)


def id_of(name: str) -> str | None:
    """The WordNet id that a folder's or a file's name begins with, or None."""
    match = _ID.match(name)
    return (match[1] or match[2]) if match else None


def label_by_folders(
    pictures: Sequence[str], where: str, layout: Layout, table: LabelTable | None
) -> FolderLabels:
    """The classes of `pictures`, paths in the source called `where`; `table` labels those without a class of their own.

    Raises SourceError where the layout contradicts itself.
    """
    if layout == "flat":
        return FolderLabels("flat folder", dict.fromkeys(pictures))
    ids = {name: _id_in(name, where) for name in pictures} if layout != "classes" else {}
    without = [name for name in pictures if ids.get(name) is None]
    if len(without) == len(pictures):
        if layout == "ids":
            raise SourceError(f"{where}: no path has a part that begins with a WordNet id such as n01440764")
        return _by_class_folders(pictures, where, layout, table)
    labels = {name: label for name, label in ids.items() if label is not None}
    unlabelled = [name for name in without if _split_of(name) is not None]
    others = [name for name in without if _split_of(name) is None]
    labels |= _from_table(others + unlabelled, table)
    others = [name for name in others if name not in labels]
    if others and layout == "auto":
        housed = _by_class_folders(pictures, where, "classes", table)
        if all(housed.labels.get(name) == label for name, label in labels.items()):
            return housed
        known = next(name for name, label in ids.items() if label is not None)
        raise SourceError(
            f"{where}: {len(pictures) - len(without)} pictures have a WordNet id in their path ({known}), "
            f"{len(others)} have none ({others[0]}); `layout` ids leaves the others out, `layout` classes goes "
            "by folders alone"
        )
    left = _left_out([name for name in unlabelled if name not in labels])
    if others:
        left["pictures without a WordNet id"] = len(others)
    return FolderLabels("ImageNet", dict(labels), left)


def _id_in(name: str, where: str) -> str | None:
    """The WordNet id of a path: of its deepest folder that has one, or of the picture's own name."""
    *folders, own = PurePosixPath(name).parts
    housed = next((found for part in reversed(folders) if (found := id_of(part))), None)
    named = id_of(own)
    if housed and named and housed != named:
        raise SourceError(
            f"{where}: {name} lies in the folder of {housed} and is called {named}; move it, "
            "or `layout` classes goes by folders alone"
        )
    return housed or named


def _split_of(name: str) -> str | None:
    """The split right below which a picture lies (or in a folder `images` of it), which says nothing of its class."""
    folders = PurePosixPath(name).parts[:-1]
    while folders and folders[-1].lower() in _HOLDERS:
        folders = folders[:-1]
    return folders[-1] if folders and folders[-1].lower() in _SPLITS else None


def _from_table(names: Sequence[str], table: LabelTable | None) -> dict[str, str]:
    found = {name: table.label_of(name) for name in names} if table else {}
    return {name: label for name, label in found.items() if label is not None}


def _left_out(names: Sequence[str]) -> dict[str, int]:
    counts = Counter(_split_of(name) for name in names)
    return {f"pictures of {split} without a class": count for split, count in sorted(counts.items(), key=str)}


def _by_class_folders(
    pictures: Sequence[str], where: str, layout: Layout, table: LabelTable | None
) -> FolderLabels:
    """Classes by the first folder below those that all pictures share and below splits."""
    folders = {name: PurePosixPath(name).parts[:-1] for name in pictures}
    shared = _shared(folders)
    below = {name: parts[shared:] for name, parts in folders.items()}
    tops = {parts[0].lower() if parts else "" for parts in below.values()}
    splits = tops & _SPLITS
    if splits and tops <= _SPLITS:
        inside = {name: parts[1:] for name, parts in below.items()}
        bare = [name for name, parts in inside.items() if "".join(parts).lower() in _HOLDERS]
        labels = _from_table(bare, table)
        if len(bare) < len(pictures) or labels:
            named = {name: parts[0] for name, parts in inside.items() if name not in set(bare)}
            left = _left_out([name for name in bare if name not in labels])
            return FolderLabels("folder per class", _with_ids({**named, **labels}), left)
        return FolderLabels("flat folder", dict.fromkeys(pictures))
    if splits and layout == "auto":
        stranger = next(name for name, parts in below.items() if not parts or parts[0].lower() not in _SPLITS)
        raise SourceError(
            f"{where}: {', '.join(sorted(splits))} look like splits, and {stranger} lies in none; move it, "
            "or `layout` classes takes each folder for a class"
        )
    bare = [name for name, parts in below.items() if not parts]
    labels = _from_table(bare, table)
    bare = [name for name in bare if name not in labels]
    if bare and labels:
        return FolderLabels(
            "folder with a table of labels",
            _with_ids({**_firsts(below), **labels}),
            {"pictures without a row in the table": len(bare)},
        )
    if len(bare) == len(pictures) and layout == "auto":
        return FolderLabels("flat folder", dict.fromkeys(pictures))
    if bare:
        housed = next((name for name, parts in below.items() if parts), None)
        beside = f", {housed} does" if housed else ""
        raise SourceError(
            f"{where}: {bare[0]} lies in no class folder{beside}; move it, or `layout` flat takes all without classes"
        )
    return FolderLabels("folder per class", _with_ids({**_firsts(below), **labels}))


def _shared(folders: Mapping[str, tuple[str, ...]]) -> int:
    """How many leading folders all pictures have in common, of which the last is kept as a class."""
    first, shared = next(iter(folders.values())), 0
    while all(len(parts) > shared + 1 and parts[shared] == first[shared] for parts in folders.values()):
        shared += 1
    return shared


def _firsts(below: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: parts[0] for name, parts in below.items() if parts}


def _with_ids(labels: Mapping[str, str]) -> dict[str, str | None]:
    """Labels of which those that begin with a WordNet id are that id."""
    return {name: id_of(label) or label for name, label in labels.items()}
