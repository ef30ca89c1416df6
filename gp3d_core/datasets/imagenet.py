"""The 1000 ImageNet classes, and finding one by what a person types.

Names and definitions come from WordNet; imagenet.tsv carries them with their licence. A class is named by any
of its names (case, spaces, underscores, hyphens and apostrophes do not matter), by its ImageNet index 0 to
999, or by its WordNet id. Models know some of the classes: their records are those of dataset.json, with at
least "label" and "name", and "imagenet_index" where it is an ImageNet class.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from gp3d_core.errors import GP3DError

_LISTED = 12  # classes that a message lists before it counts the rest
_RATINGS = ("badge", "measures")  # of a record: how good a model is at the class


class UnknownClassError(GP3DError):
    """No such class, or not in this model; the message suggests the nearest ones."""


class AmbiguousClassError(UnknownClassError):
    """A name that several classes share; the message tells them apart."""


@dataclass(frozen=True)
class ImageNetClass:
    """One class: `index` 0 to 999, WordNet id, `names` with the usual one first, and a short definition.

    `label` is its number in the model whose records it was looked up in, None without.
    """

    index: int
    wnid: str
    names: tuple[str, ...]
    definition: str
    label: int | None = None

    @property
    def name(self) -> str:
        """The usual name, for instance "coffee mug"."""
        return self.names[0]


@cache
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """All 1000 classes in the order of their index."""
    text = files("gp3d_core.datasets").joinpath("imagenet.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")][1:]
    return tuple(ImageNetClass(int(i), wnid, tuple(names.split(", ")), said) for i, wnid, names, said in rows)


def find_class(query: str | int, known: Sequence[Mapping[str, Any]] | None = None) -> ImageNetClass:
    """The class that `query` names: a name, an index or a WordNet id.

    With `known`, the class records of a model or data set, the answer is one of those and carries its
    `label`; their own names count as well. Raises AmbiguousClassError for a name that several classes have as
    their usual one (or, if none has, as another one), UnknownClassError for a class that does not exist or
    that the model does not know.
    """
    candidates = imagenet_classes() if known is None else _known_classes(known)
    found = _matches(str(query), candidates)
    if len(found) == 1:
        return found[0]
    if found:
        each = "; ".join(f"{c.index} = {c.wnid}, {c.definition}" for c in found)
        raise AmbiguousClassError(
            f"'{query}' names {len(found)} classes: {each}. Give the index or the WordNet id"
        )
    elsewhere = [] if known is None else _matches(str(query), imagenet_classes())
    if elsewhere:
        which = " or ".join(f"'{c.name}' (ImageNet {c.index})" for c in elsewhere)
        raise UnknownClassError(f"the model does not know {which}; it knows {_listed(candidates)}")
    nearest = _nearest(str(query), candidates)
    remedy = f"did you mean {nearest}?" if nearest else "give a name, an index from 0 to 999 or a WordNet id."
    knows = "" if known is None else f" The model knows {_listed(candidates)}"
    raise UnknownClassError(f"unknown class '{query}': {remedy}{knows}")


def unrated(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a class without what it says about how good its model is: which class, and nothing else."""
    return {key: value for key, value in record.items() if key not in _RATINGS}


def describe_class(record: Mapping[str, Any]) -> dict[str, Any]:
    """What programs are told of a model's class: label, all names, ImageNet index, WordNet id, definition, badge.

    None where there is nothing to tell: outside ImageNet, or for a model whose classes have not been measured.
    """
    (known,) = _known_classes([record])
    in_imagenet = known.index >= 0
    return {
        "label": record["label"],
        "name": record["name"],
        "names": list(known.names),
        "imagenet_index": known.index if in_imagenet else None,
        "wnid": known.wnid or None,
        "definition": known.definition if in_imagenet else None,
        "badge": record.get("badge"),
    }


def _known_classes(known: Sequence[Mapping[str, Any]]) -> tuple[ImageNetClass, ...]:
    """The records' classes; those outside ImageNet have index -1 and the names and the wnid of their record."""
    classes = []
    for record in known:
        index, label, name = record.get("imagenet_index"), record.get("label"), record.get("name")
        if not (isinstance(label, int) and isinstance(name, str)):
            raise UnknownClassError(f"a class record needs label and name, found {dict(record)}")
        if isinstance(index, int) and 0 <= index < len(imagenet_classes()):
            entry = imagenet_classes()[index]
        else:
            entry = ImageNetClass(-1, str(record.get("wnid") or ""), (name,), name)
        classes.append(replace(entry, names=tuple(dict.fromkeys((name, *entry.names))), label=label))
    return tuple(classes)


def _matches(query: str, classes: Sequence[ImageNetClass]) -> list[ImageNetClass]:
    """The classes that `query` names; those whose usual name it is come alone."""
    plain = _plain(query)
    exact = [c for c in classes if query.strip() and query.strip() in (str(c.index), c.wnid)]
    usual = [c for c in classes if plain == _plain(c.name)]
    other = [c for c in classes if plain in map(_plain, c.names)]
    return exact or usual or other


@lru_cache(maxsize=8192)
def _plain(name: str) -> str:
    """`name` in the form in which names are compared: lower case, words separated by single spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"['’]", "", name.casefold())).strip()


def _nearest(query: str, classes: Sequence[ImageNetClass]) -> str:
    """Up to three classes whose names contain the query as a word or resemble it, as a phrase; or nothing."""
    plain = _plain(query)
    owners: dict[str, ImageNetClass] = {}
    for entry in classes:
        for name in entry.names:
            owners.setdefault(_plain(name), entry)
    containing = [name for name in owners if plain and f" {plain} " in f" {name} "]
    resembling = difflib.get_close_matches(plain, owners, n=3, cutoff=0.6)
    best = dict.fromkeys(owners[name] for name in [*sorted(containing, key=len), *resembling])
    return " or ".join(f"'{entry.name}' ({entry.index})" for entry in list(best)[:3])


def _listed(classes: Sequence[ImageNetClass]) -> str:
    named = (c.name if c.index < 0 else f"{c.name} ({c.index})" for c in classes[:_LISTED])
    shown = ", ".join(named)
    return shown if len(classes) <= _LISTED else f"{shown} and {len(classes) - _LISTED} more"


def class_records(value: object) -> list[dict[str, Any]]:
    """`value` when it is a list of class records, each with its position as "label" and a text as "name".

    Raises ValueError that names the first record which is none.
    """
    if not isinstance(value, list):
        raise ValueError(f"classes: expected a list of records, found {reprlib.repr(value)}")
    for k, record in enumerate(value):
        right = isinstance(record, dict) and type(record.get("label")) is int and record["label"] == k
        if not (right and isinstance(record.get("name"), str) and record["name"].strip()):
            raise ValueError(
                f"classes: expected label {k} and a name in record {k}, found {reprlib.repr(record)}"
            )
    return value
