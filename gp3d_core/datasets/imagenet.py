"""The 1000 ImageNet classes, and finding one by what a person types.

Names and definitions come from WordNet; imagenet.tsv carries them with their licence. What a text means is
decided by class_matching: any name of a class, its ImageNet index 0 to 999, its WordNet id, or a word that
fits one class only. Models know some of the classes: their records are those of dataset.json, with at
least "label" and "name", and "imagenet_index" where it is an ImageNet class.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Required, TypedDict, cast

from gp3d_core.datasets.class_matching import ClassMatcher
from gp3d_core.datasets.class_names import Candidate, ClassNames
from gp3d_core.errors import GP3DError

_LONGEST_NAME = 500  # characters; to look for longer texts among misspellings takes long
_RATINGS = ("badge", "measures")  # of a record: how good a model is at the class


class UnknownClassError(GP3DError):
    """No such class, or not in this model; the message suggests the nearest ones."""


class AmbiguousClassError(UnknownClassError):
    """A name that several classes share; the message tells them apart."""


class ClassRecord(TypedDict, total=False):
    """What data sets and models say of a class (docs/dataset.md); files may hold further keys, which are kept.

    label: its position, where it stands in a list. wnid, synset: of WordNet and ShapeNet. badge, measures: how good it
    is made.
    """

    label: int
    name: Required[str]
    imagenet_index: int | None
    wnid: str | None
    synset: str | None
    badge: str
    measures: dict[str, Any]


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
    return tuple(ImageNetClass(int(i), wnid, tuple(names.split(", ")), text) for i, wnid, names, text in rows)


@dataclass(frozen=True)
class ChosenClass:
    """The class that a text means; `note` says which if the text is none of its names: "mug → coffee mug"."""

    entry: ImageNetClass
    note: str


def find_class(query: str | int, known: Sequence[Mapping[str, Any]] | None = None) -> ImageNetClass:
    """The class that `query` means: `choose_class` without its note."""
    return choose_class(query, known).entry


def choose_class(query: str | int, known: Sequence[Mapping[str, Any]] | None = None) -> ChosenClass:
    """The class that `query` means: a name, an index or a WordNet id, or a word that fits one class only.

    With `known`, the class records of a model or data set, the answer is one of those and carries its
    `label`; their own names count as well. What fits stands in class_matching. Raises AmbiguousClassError for a
    text that several classes fit, UnknownClassError for one that none fits; the message says what there is.
    """
    classes = imagenet_classes() if known is None else _known_classes(known)
    return _choose(str(query), classes, _matcher(classes, known is None))


def choose_classes(
    queries: Sequence[str], known: Sequence[Mapping[str, Any]] | None = None
) -> list[ChosenClass]:
    """The classes that `queries` mean, each once; a query may be a list with commas: "coffee mug, teapot".

    A name that has commas itself counts as one. Raises as `choose_class`.
    """
    classes = imagenet_classes() if known is None else _known_classes(known)
    matcher = _matcher(classes, known is None)
    chosen: dict[ImageNetClass, ChosenClass] = {}
    for query in queries:
        for text in matcher.names.split(query):
            found = _choose(text, classes, matcher)
            chosen.setdefault(found.entry, found)
    return list(chosen.values())


def classes_by_kind(known: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """The class records of a model by the kind of thing they are: ("animals", [...]), ("food", [...]), ..."""
    kinds = _matcher(_known_classes(known), False).kinds
    return [(label, [known[place] for place in places]) for label, places in kinds]


def classes_named(text: str) -> tuple[ImageNetClass, ...]:
    """The ImageNet classes of which `text` is a name, the index or the WordNet id, in the order of their index."""
    known = imagenet_classes()
    return tuple(known[place] for place in sorted(_names(known).named(text)))


def _choose(query: str, classes: Sequence[ImageNetClass], matcher: ClassMatcher) -> ChosenClass:
    if len(query) > _LONGEST_NAME:
        raise UnknownClassError(f"expected the name of a class, found a text of {len(query)} characters")
    match = matcher.match(query)
    if match.place is not None:
        return ChosenClass(classes[match.place], match.note)
    raise (AmbiguousClassError if match.state == "several" else UnknownClassError)(match.note)


def _matcher(classes: tuple[ImageNetClass, ...], everything: bool) -> ClassMatcher:
    if everything:
        return ClassMatcher(_names(classes), owner="ImageNet")
    return ClassMatcher(_names(classes), _names(imagenet_classes()))


@lru_cache(maxsize=8)
def _names(classes: tuple[ImageNetClass, ...]) -> ClassNames:
    return ClassNames(Candidate(one.names, one.wnid, one.index, one.definition) for one in classes)


def unrated(record: ClassRecord) -> ClassRecord:
    """The record of a class without what it says about how good its model is: which class, and nothing else."""
    return cast(ClassRecord, {key: value for key, value in record.items() if key not in _RATINGS})


def describe_class(record: Mapping[str, Any]) -> dict[str, Any]:
    """A model's class as JSON for programs: label, all names, ImageNet index, WordNet id, definition, badge.

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


def class_records(value: object) -> list[ClassRecord]:
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
