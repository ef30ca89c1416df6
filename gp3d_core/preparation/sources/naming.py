"""What packed pictures and their classes are called: a function of the source's listing alone.

A picture is `<class>/<stem>.png`, without classes `<stem>.png`; its stem keeps the name it had, of ASCII letters,
digits and `._+-`, with the folders between the class's and its own in front. Names that fall together get -2, -3, ….
The folder of an ImageNet class is its WordNet id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from gp3d_core.datasets.imagenet import ClassRecord, classes_named, imagenet_classes
from gp3d_core.preparation.sources.folders import id_of
from gp3d_core.preparation.sources.layouts import WNID, Entry, Listing
from gp3d_core.preparation.sources.trees import SourceError

_LONGEST = 120


@dataclass(frozen=True)
class Names:
    """images: the path of each entry of the listing, in its order. classes: the record (without "label") by label."""

    images: list[str]
    classes: dict[str, ClassRecord]


def name_all(listing: Listing, *, imagenet_names: bool = False) -> Names:
    """Names for everything in `listing`; with `imagenet_names` a class called like one of ImageNet's is that one.

    Raises SourceError where such a name is that of several.
    """
    classes = _classes(listing, imagenet_names)
    taken: dict[str, int] = {}
    images = []
    for entry in listing.entries:
        stem = _stem(entry)
        name = stem if entry.label is None else f"{classes[entry.label]['wnid']}/{stem}"
        images.append(f"{_free(name, taken)}.png")
    return Names(images, classes)


def class_records(names: Names, labels: Sequence[str | None]) -> tuple[list[ClassRecord], dict[str, int]]:
    """Records as dataset.json has them of the classes that occur in `labels`, and the number of each label."""
    used = {label for label in labels if label is not None}
    order = sorted(used, key=lambda label: str(names.classes[label]["wnid"]))
    return (
        [{"label": k, **names.classes[label]} for k, label in enumerate(order)],
        {label: k for k, label in enumerate(order)},
    )


def safe(text: str) -> str:
    """`text` as a part of a path everywhere: ASCII, not hidden, not empty, not long."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w.+-]+", "-", plain).strip("-.")[:_LONGEST].rstrip(".") or "picture"


def readable(text: str) -> str:
    """`text` as people and fonts can have it: on one line, without control characters or bytes that are no text."""
    shown = text.encode("utf-8", "replace").decode("utf-8")  # file names keep such bytes as half characters
    return " ".join("".join(c if c.isprintable() else " " for c in shown).split()) or "class"


def _stem(entry: Entry) -> str:
    path = PurePosixPath(entry.key)
    parts = path.parts[:-1]
    housed = [k for k, part in enumerate(parts) if entry.label in (part, id_of(part))] if entry.label else []
    parts = parts[housed[-1] + 1 :] if housed else parts
    file, row = path.name.rpartition("#")[::2]
    last = f"{PurePosixPath(file).stem}_{row}" if re.fullmatch(r"\d{8,}", row) and file else path.stem
    stem = safe("_".join((*parts, last)))
    return re.sub("_depth$", "-depth", stem)  # X_depth.png would be somebody's depth map


def _free(name: str, taken: dict[str, int]) -> str:
    """`name`, or with the first number that is free; capitals do not tell names apart."""
    chosen, key = name, name.lower()
    while chosen.lower() in taken:
        taken[key] += 1
        chosen = f"{name}-{taken[key]}"
    taken[chosen.lower()] = 1
    return chosen


def _classes(listing: Listing, imagenet_names: bool) -> dict[str, ClassRecord]:
    taken: dict[str, int] = {}
    known = imagenet_classes()
    records: dict[str, ClassRecord] = {}
    for label in sorted({entry.label for entry in listing.entries if entry.label is not None}):
        name = listing.names.get(label, label)
        index = _imagenet_index(label, name, listing.indices.get(label), imagenet_names)
        if index is not None and known[index].wnid in taken:
            index = None
        folder = _free(
            safe(name if label in listing.names else label) if index is None else known[index].wnid, taken
        )
        records[label] = {
            "name": readable(name) if index is None else known[index].name,
            "imagenet_index": index,
            "wnid": folder,
            "synset": None,
        }
    return records


def _imagenet_index(label: str, name: str, given: int | None, by_name: bool) -> int | None:
    """ImageNet index of a class: by the source's word, its WordNet id, all its names, or (if asked) any of them."""
    if given is not None:
        return given
    known = imagenet_classes()
    wnid = next((text for text in (label, name) if WNID.fullmatch(text)), None)
    whole = next((c.index for c in known if name == (", ".join(c.names) if len(c.names) > 1 else "")), None)
    if whole is not None or (wnid is None and (not by_name or name.isdigit())):
        return whole
    meant = classes_named(wnid or name)
    if len(meant) > 1:
        which = " or ".join(f"{one.wnid} ({one.definition})" for one in meant)
        raise SourceError(
            f"the class {name!r} is the name of {len(meant)} classes of ImageNet: {which}; "
            f"begin its name with the id, such as {meant[0].wnid}-{safe(name)}"
        )
    return meant[0].index if meant else None
