"""Finding an ImageNet class by what a person types, and offering some while one types. No bpy.

classes.json holds the 1000 classes as [index, WordNet id, [names], metres], the usual name first, and the classes of
the engine's pretrained models as the engine lists them, and who must be credited for each; tools/build_addon.py makes
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypedDict

from .words import class_matching
from .words.class_matching import ClassMatcher
from .words.class_names import Candidate, ClassNames, plain

MOST_SHOWN = 64
MOST_INSTEAD = 3  # classes that are offered in place of one that the model does not know


@dataclass(frozen=True)
class ImageNetClass:
    """One class: index 0 to 999 (-1 outside ImageNet), WordNet id, all names with the usual one first.

    `badge` says how good the model is at it: good, fair, rough, or nothing where that is not known. `metres` is how
    large such a thing is in the world, None where nobody has stated it. `model` is the name of the one that makes it,
    empty where there is but one. `geometry` is the badge of its report card, as far as it comes along.
    """

    index: int
    wnid: str
    names: tuple[str, ...]
    badge: str = ""
    metres: float | None = None
    model: str = ""
    geometry: str = ""

    @property
    def name(self) -> str:
        """The usual name, e.g. "coffee mug"."""
        return self.names[0]

    @property
    def query(self) -> str:
        """What an engine understands without doubt: the WordNet id, which no other class has, or else the name."""
        return self.wnid or self.name


class Match(NamedTuple):
    """A found class and the synonym by which it was found, empty for its usual name."""

    entry: ImageNetClass
    synonym: str

    @property
    def text(self) -> str:
        """What a list shows: "coffee mug", or "coffeepot (percolator)" when a synonym was typed."""
        return f"{self.entry.name} ({self.synonym})" if self.synonym else self.entry.name


class ClassFile(TypedDict):
    """The content of classes.json: all classes, records of those that the pretrained models know, and these models."""

    classes: list[tuple[int, str, list[str], float | None]]
    pretrained: list[dict[str, object]]
    models: list[dict[str, str]]


class ModelTerms(NamedTuple):
    """A model's name, its licence in words, the line that names whom it owes credit, the folder of its report cards.

    Each may be empty.
    """

    name: str
    license: str
    credits: str
    report_cards: str = ""


def model_terms(records: object) -> tuple[ModelTerms, ...]:
    """The terms of models as an engine or classes.json lists them; none of anything else."""
    entries = [entry for entry in records if isinstance(entry, dict)] if isinstance(records, list) else []
    return tuple(ModelTerms(*(str(entry.get(key) or "") for key in ModelTerms._fields)) for entry in entries)


@lru_cache(maxsize=1)
def pretrained_terms() -> tuple[ModelTerms, ...]:
    """The terms of the engine's pretrained models."""
    return model_terms(class_file()["models"])


@lru_cache(maxsize=1)
def class_file() -> ClassFile:
    """The content of classes.json."""
    content: ClassFile = json.loads((Path(__file__).parent / "classes.json").read_text(encoding="utf-8"))
    return content


@lru_cache(maxsize=1)
def imagenet_classes() -> tuple[ImageNetClass, ...]:
    """All 1000 classes in the order of their index."""
    return tuple(
        ImageNetClass(index, wnid, tuple(names), metres=metres)
        for index, wnid, names, metres in class_file()["classes"]
    )


@lru_cache(maxsize=1)
def pretrained_classes() -> tuple[ImageNetClass, ...]:
    """The classes that the engine's pretrained models know, with their badges; empty where it brings none."""
    return known_classes(class_file()["pretrained"])


def classes_of_model(name: str) -> tuple[ImageNetClass, ...]:
    """The classes that are listed of the pretrained model of that name, "" for all; none of another."""
    return tuple(entry for entry in pretrained_classes() if name in ("", entry.model))


@lru_cache(maxsize=1)
def offered_classes() -> tuple[ImageNetClass, ...]:
    """All classes; those that the engine's pretrained model knows come first."""
    return with_first(pretrained_classes())


def with_first(known: tuple[ImageNetClass, ...]) -> tuple[ImageNetClass, ...]:
    """All classes; `known` ones come first."""
    first = {entry.wnid for entry in known}
    return (*known, *(entry for entry in imagenet_classes() if entry.wnid not in first))


def known_classes(records: Iterable[Mapping[str, object]]) -> tuple[ImageNetClass, ...]:
    """The classes of models' records (name, imagenet_index, wnid, badge, model), with the synonyms of ImageNet."""
    by_wnid = {entry.wnid: entry for entry in imagenet_classes()}
    found = []
    for record in records:
        name, wnid = str(record.get("name") or "object"), str(record.get("wnid") or "")
        index, badge = record.get("imagenet_index"), str(record.get("badge") or "")
        model, geometry = str(record.get("model") or ""), str(record.get("geometry") or "")
        if wnid in by_wnid:
            entry = by_wnid[wnid]
            names = tuple(dict.fromkeys((name, *entry.names)))
            found.append(replace(entry, names=names, badge=badge, model=model, geometry=geometry))
        else:
            index = index if isinstance(index, int) else -1
            found.append(ImageNetClass(index, wnid, (name,), badge, model=model, geometry=geometry))
    return tuple(found)


def search(
    text: str, classes: Sequence[ImageNetClass], recent: Sequence[str] = (), most: int = MOST_SHOWN
) -> list[Match]:
    """Classes that `text` may mean, best first: recent ones (WordNet ids or names), then those with a badge, then the
    start of a name, then the start of a word, then anywhere. An empty text gives recent ones first and then all.
    """
    wanted = plain(text)
    ranked = []
    for place, entry in enumerate(classes):
        rank, synonym = _rank(wanted, entry)
        if rank is None:
            continue
        age = next((i for i, name in enumerate(recent) if name in (entry.wnid, entry.name)), len(recent))
        length = len(entry.name) if wanted else 0
        ranked.append((age, not entry.badge, rank, length, place, Match(entry, synonym)))
    return [row[-1] for row in sorted(ranked)[:most]]


class Choice(NamedTuple):
    """The class that a text means, or None; `note` says which it is, or what there is `instead`, nearest first."""

    entry: ImageNetClass | None
    note: str
    instead: tuple[ImageNetClass, ...] = ()


def choose(text: str, classes: Sequence[ImageNetClass]) -> Choice:
    """The one class that `text` means, by the rules of class_matching, or as a list shows it: "name (synonym)"."""
    shown = [entry for entry in classes if text.startswith(f"{entry.name} (") and text in _labels(entry)]
    if len(shown) == 1:
        return Choice(shown[0], "")
    match = _match(text, tuple(classes))
    if match.place is not None:
        return Choice(classes[match.place], match.note)
    return Choice(None, match.note, tuple(classes[place] for place in match.found[:MOST_INSTEAD]))


def find(text: str, classes: Sequence[ImageNetClass]) -> ImageNetClass | None:
    """The one class that `text` means, or None."""
    return choose(text, classes).entry


def label(entry: ImageNetClass, classes: Sequence[ImageNetClass]) -> str:
    """The class's name, with its index where another of the `classes` has the same: "crane (134)"."""
    shared = sum(plain(other.name) == plain(entry.name) for other in classes) > 1
    return f"{entry.name} ({entry.index})" if shared else entry.name


def _labels(entry: ImageNetClass) -> list[str]:
    return [f"{entry.name} ({other})" for other in (*entry.names[1:], entry.index)]


@lru_cache(maxsize=64)
def _match(text: str, classes: tuple[ImageNetClass, ...]) -> class_matching.Match:
    return _matcher(classes).match(text)


@lru_cache(maxsize=4)
def _matcher(classes: tuple[ImageNetClass, ...]) -> ClassMatcher:
    """For all that ImageNet has, or for what one model knows of it."""
    everything = _names(imagenet_classes())
    if len(classes) >= len(everything.candidates):
        return ClassMatcher(_names(classes), owner="ImageNet")
    return ClassMatcher(_names(classes), everything)


def _names(classes: Iterable[ImageNetClass]) -> ClassNames:
    return ClassNames(Candidate(entry.names, entry.wnid, entry.index) for entry in classes)


def _rank(wanted: str, entry: ImageNetClass) -> tuple[int | None, str]:
    """How well a class fits, 0 best, None not at all; and the synonym that fits if the usual name does not."""
    if wanted in ("", str(entry.index), entry.wnid):
        return 0, ""
    best: tuple[int | None, str] = (None, "")
    for number, name in enumerate(entry.names):
        place = f" {plain(name)}".find(f" {wanted}")
        rank = 0 if place == 0 else 1 if place > 0 else 2 if wanted in plain(name) else None
        if rank is not None and (best[0] is None or rank + (number > 0) < best[0]):
            best = rank + (number > 0), name if number else ""
    return best
