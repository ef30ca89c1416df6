"""Classes by all that they are called. Standard library alone; blender_addon has a copy of this module."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Candidate:
    """A class that may be meant: names with the usual one first, WordNet id and index (-1) if it has them."""

    names: tuple[str, ...]
    wnid: str = ""
    index: int = -1
    definition: str = ""

    @property
    def shown(self) -> str:
        """The usual name with what tells it from others of that name: 'coffee mug' (504)."""
        return f"'{self.names[0]}'" + (f" ({self.index})" if self.index >= 0 else "")


class ClassNames:
    """Classes by all that they are called."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        """Reads all names once."""
        self.candidates = tuple(candidates)
        self._ids: dict[str, list[int]] = {}
        self._usual: dict[str, list[int]] = {}
        self._other: dict[str, list[int]] = {}
        self.joined: dict[str, list[int]] = {}
        for place, one in enumerate(self.candidates):
            for text in filter(None, {one.wnid, str(one.index) if one.index >= 0 else ""}):
                self._ids.setdefault(text, []).append(place)
            names = list(dict.fromkeys(map(plain, one.names)))
            self._usual.setdefault(names[0], []).append(place)
            for name in names:
                self._other.setdefault(name, []).append(place)
            for name in dict.fromkeys(name.replace(" ", "") for name in names):
                self.joined.setdefault(name, []).append(place)
        self._most_parts = max(map(len, self.joined), default=1)  # that a name can have, of one letter each

    def named(self, text: str) -> list[int]:
        """Places of those that `text` names: by index or WordNet id, usual name, other name, or name without spaces."""
        whole = plain(text)
        found = self._ids.get(text.strip()) or self._usual.get(whole) or self._other.get(whole)
        return found or self.joined.get(whole.replace(" ", ""), []) if whole else []

    def split(self, text: str) -> list[str]:
        """The parts of a list with commas, without empty ones; a name that has commas itself is one part."""
        parts, found = text.split(","), []
        while parts:
            ends = range(min(len(parts), self._most_parts), 1, -1)
            end = next((end for end in ends if self.named(",".join(parts[:end]))), 1)
            found.append(",".join(parts[:end]).strip())
            del parts[:end]
        return [part for part in found if part] or [text]


@lru_cache(maxsize=16384)
def plain(name: str) -> str:
    """`name` in the form in which names are compared: lower case, words separated by single spaces."""
    return re.sub(r"[\W_]+", " ", re.sub(r"['’]", "", name.casefold())).strip()
