"""Nouns of English and the kinds of things they name, as far as classes are found by them. Standard library alone.

words.tsv.gz is made from WordNet 3.0 by tools/class_words.py. It holds the kinds: the 1000 classes of ImageNet, the
categories of ShapeNet, and all hypernyms of either, a graph. A word has senses, usual ones first; a sense is a kind, or
hangs below the nearest kinds above it ("giraffe" below "ruminant"). Words that name nothing near any class are there
without a sense, so that a word which exists is never taken for a misspelling of another. blender_addon has a copy of
this module and its table, made by tools/build_addon.py.
"""

from __future__ import annotations

import gzip
import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PATH = Path(__file__).with_name("words.tsv.gz")


class Sense(NamedTuple):
    """One meaning of a word: it is the kind (one number then), or lies `below` those; near no kind it has none."""

    kinds: tuple[int, ...]
    below: bool


class WordTable:
    """The table, read once; kinds are numbers, words are lower case with single spaces."""

    def __init__(self, path: Path = _PATH) -> None:
        """Reads the table at `path`."""
        parts = gzip.decompress(path.read_bytes()).decode("ascii").split("\n[")[1:]
        rows = {part.partition("]")[0]: part.split("\n")[1:] for part in parts}
        kinds = [row.split("\t") for row in rows["kinds"]]
        self.number = {wnid: place for place, (wnid, _, _) in enumerate(kinds)}
        self.general = frozenset(place for place, row in enumerate(kinds) if row[1] == "!")
        self._parents = [tuple(map(int, filter(None, row[2].split(",")))) for row in kinds]
        self._words = rows["words"]  # sorted, and read word by word: most are never asked for
        self._plurals = _pairs(rows["plurals"])
        self._everyday = _pairs(filter(None, rows["everyday"]))
        self._above = cache(self._steps_up)
        self._sizes = [0] * len(kinds)
        for place, row in enumerate(kinds):
            for kind in self.above(place) if row[1] == "*" else ():
                self._sizes[kind] += 1

    def __contains__(self, word: str) -> bool:
        return word in self._everyday or self._entry(word) is not None

    def _entry(self, word: str) -> str | None:
        """The row of `word` behind its tab, which sorts before all that words are made of."""
        place = bisect_left(self._words, f"{word}\t")
        found, _, senses = self._words[place].partition("\t") if place < len(self._words) else ("", "", "")
        return senses if found == word else None

    def senses(self, word: str) -> tuple[Sense, ...]:
        """Senses of `word`, the usual one first; none for a word that is unknown or names nothing of interest."""
        groups = (self._entry(word) or "").split()
        return tuple(
            Sense(tuple(int(kind.rstrip("+")) for kind in group.split(",") if kind != "-"), group[-1] in "+-")
            for group in groups
        )

    def everyday(self, word: str) -> list[list[str]]:
        """WordNet ids of the classes that `word` means in everyday speech: those to be preferred first."""
        levels = self._everyday.get(word, "").split(";")
        return [level.split(",") for level in levels if level and not level.startswith("=")]

    def stands_for(self, word: str) -> str:
        """The word that has the meaning of `word` in everyday speech, "" for most: "cat" for "kitten"."""
        answer = self._everyday.get(word, "")
        return answer[1:] if answer.startswith("=") else ""

    def above(self, kind: int) -> dict[int, int]:
        """The kind and all above it, each with the number of steps up to it."""
        return self._above(kind)

    def _steps_up(self, kind: int) -> dict[int, int]:
        found, front, steps = {kind: 0}, [kind], 0
        while front:
            steps += 1
            front = [parent for below in front for parent in self._parents[below] if parent not in found]
            found |= dict.fromkeys(front, steps)
        return found

    def size(self, kind: int) -> int:
        """How many of ImageNet's 1000 classes are of that kind, at least 1."""
        return max(1, self._sizes[kind])

    def distance(self, one: int, other: int) -> tuple[int, int] | None:
        """How far apart two kinds are: size of the smallest kind that holds both, and the steps between them.

        None where only what is too general ("artifact", "organism") holds both.
        """
        up, down = self.above(one), self.above(other)
        shared = (up.keys() & down.keys()) - self.general
        return min(((self.size(kind), up[kind] + down[kind]) for kind in shared), default=None)

    def singulars(self, phrase: str) -> list[str]:
        """What `phrase` may be the plural of, its last word set into the singular: ["bus"] for "buses"."""
        *first, last = phrase.split(" ")
        guesses = [self._plurals[last]] if last in self._plurals else []
        if re.search(r"(?:s|x|z|ch|sh)es$", last):
            guesses.append(last[:-2])
        if last.endswith("ies") and len(last) > 4:
            guesses.append(last[:-3] + "y")
        if last.endswith("s") and not last.endswith(("ss", "us", "is")) and len(last) > 3:
            guesses.append(last[:-1])
        return [" ".join([*first, guess]) for guess in dict.fromkeys(guesses)]


def _pairs(rows: Iterable[str]) -> dict[str, str]:
    split = (row.partition("\t") for row in rows)
    return {word: answer for word, _, answer in split}


@cache
def word_table() -> WordTable:
    """The table beside this module."""
    return WordTable()
