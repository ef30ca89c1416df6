"""Who made what a data set shows, or what a model has learnt from, and under which licences (docs/dataset.md).

What stands there comes from strangers: texts are put on one line, without control characters, and cut; the number of
parts is bounded.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

UNKNOWN = "unknown"
MOST_BYTES = 2**20  # of the list as JSON in the header of a snapshot
_MOST_PARTS = 100_000  # that are read
_LONGEST = {"licence": 120, "author": 1000, "source": 1000, "changes": 1000}  # characters
_UNSAID = ("", "not stated", "the licences of the source models apply")  # what `license` says of no licence


@dataclass(frozen=True, order=True)
class Part:
    """One credit: licence (SPDX), author, source, changes, and how many `models` it is about, 0 where nobody counted.

    A licence that nobody states is "unknown"; other texts may be empty.
    """

    licence: str
    author: str = ""
    source: str = ""
    changes: str = ""
    models: int = 0


@dataclass(frozen=True)
class Licences:
    """All credits of a data set or of a model, sorted; none of what nobody has said anything about."""

    parts: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.parts)

    def as_json(self) -> list[dict[str, Any]]:
        """The credits as data sets and snapshots hold them."""
        return [asdict(part) for part in self.parts]

    def names(self) -> list[str]:
        """The licences, sorted, each once."""
        return sorted({part.licence for part in self.parts})

    def in_words(self) -> str:
        """The licences on one line, such as "CC-BY-3.0 and CC0-1.0"; "unknown" where there are none."""
        *others, last = self.names() or [UNKNOWN]
        return " and ".join(filter(None, [", ".join(others), last]))

    def counts(self) -> dict[str, int]:
        """How many models are of each licence, by its name."""
        found = dict.fromkeys(self.names(), 0)
        for part in self.parts:
            found[part.licence] += part.models
        return found


NONE = Licences()


def clean(text: str, most: int) -> str:
    """A text on one line, of at most so many characters, without those that steer a terminal or turn its writing."""
    line = text[: 4 * most]
    if not line.isprintable():  # nearly all are, and letter by letter takes twice the time
        line = "".join(sign if sign.isprintable() else " " for sign in line)
    line = " ".join(line.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def parse_licences(value: object) -> Licences:
    """The credits of a `licences` list, as data sets and snapshots hold it. Raises ValueError for another value."""
    if not isinstance(value, list) or len(value) > _MOST_PARTS:
        found = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise ValueError(f"licences: expected a list of at most {_MOST_PARTS} objects, found {found}")
    return Licences(tuple(sorted({_parse_part(entry) for entry in value})))


def _parse_part(entry: object) -> Part:
    texts: dict[str, Any] = {"licence": None}
    if isinstance(entry, dict):
        texts = {key: entry.get(key, "") for key in _LONGEST}
    models = entry.get("models", 0) if isinstance(entry, dict) else None
    if not all(isinstance(text, str) for text in texts.values()) or type(models) is not int or models < 0:
        raise ValueError(
            "licences: expected objects with the texts licence, author, source and changes, and a number of models, "
            f"found {reprlib.repr(entry)}"
        )
    cut = {key: clean(text, _LONGEST[key]) for key, text in texts.items()}
    return Part(**{**cut, "licence": cut["licence"] or UNKNOWN}, models=min(models, 10**9))


def stated_or_unknown(licences: Licences, words: str, source: str) -> Licences:
    """The licences, or where there are none the one that `words` state, or an unknown one, of what `source` names."""
    if licences:
        return licences
    said = clean(words, _LONGEST["licence"])
    licence = UNKNOWN if said.lower() in _UNSAID else said
    return Licences((Part(licence, source=clean(source, _LONGEST["source"])),))


def grouped(credits: Iterable[Mapping[str, Any] | None]) -> Licences:
    """The credits of single models, one entry each, None for one of which nothing is said."""
    counts: dict[Part, int] = {}
    for credit in credits:
        part = _parse_part({**credit, "models": 0}) if credit else Part(UNKNOWN)
        counts[part] = counts.get(part, 0) + 1
    return Licences(tuple(sorted(replace(part, models=count) for part, count in counts.items())))


def merge(*several: Licences) -> Licences:
    """The credits of all: of several sources, or of data and the model that a training began with.

    What both name with other numbers of models counts once, with the larger number.
    """
    most: dict[Part, int] = {}
    for part in (part for licences in several for part in licences.parts):
        alike = replace(part, models=0)
        most[alike] = max(part.models, most.get(alike, 0))
    return Licences(tuple(sorted(replace(part, models=models) for part, models in most.items())))


def by_author(
    parts: Iterable[Part], keys: Sequence[str] = ("licence", "author"), shown: int = 1
) -> list[Part]:
    """The parts with one entry for all that agree in `keys`, sorted; other texts name so many, and count the rest."""
    alike: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        alike.setdefault(tuple(getattr(part, key) for key in keys), []).append(part)
    return sorted(
        replace(
            group[0],
            models=sum(part.models for part in group),
            source=_some((part.source for part in group), shown),
            changes=_some((part.changes for part in group), shown),
        )
        for group in alike.values()
    )


def _some(texts: Iterable[str], shown: int) -> str:
    """The shortest of different texts, so many, and how many more there are."""
    different = sorted(set(texts) - {""}, key=lambda text: (len(text), text))
    more = [f"and {len(different) - shown} more"] if len(different) > shown else []
    return ", ".join([*different[:shown], *more])


def bounded(licences: Licences, most: int = MOST_BYTES) -> Licences:
    """The same credits in at most `most` bytes of JSON, for the header of a snapshot.

    Where they are more, those that differ in their changes become one, then those that differ in their source, then
    these texts go. If that is not enough, the authors of the fewest models of each licence become one entry that counts
    them: licences and numbers of models are always complete.
    """
    authors = by_author(licences.parts)
    bare = [replace(part, source="", changes="") for part in authors]
    for parts in (licences.parts, by_author(licences.parts, ("licence", "author", "source")), authors, bare):
        if _size(parts) <= most:
            return Licences(tuple(parts))
    by_models = sorted(bare, key=lambda part: -part.models)
    low, high = 0, len(bare)  # how many of them are kept
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(_cut(by_models, middle)) <= most else (low, middle - 1)
    return Licences(tuple(sorted(_cut(by_models, low))))


def _cut(parts: list[Part], kept: int) -> list[Part]:
    """The first parts as they are, the others as one part a licence."""
    rest: dict[str, list[Part]] = {}
    for part in parts[kept:]:
        rest.setdefault(part.licence, []).append(part)
    return parts[:kept] + [
        Part(
            licence,
            f"{len(others)} more authors",
            "named in the data set's dataset.json",
            models=sum(part.models for part in others),
        )
        for licence, others in rest.items()
    ]


def _size(parts: Iterable[Part]) -> int:
    return len(json.dumps([asdict(part) for part in parts]))
