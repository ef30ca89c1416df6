"""Which class of a model a typed text means. Standard library alone; blender_addon has a copy of this module.

A text means a class in one of these ways, the first that fits:
1. it is one of its names, its ImageNet index or its WordNet id (case, spaces, hyphens and plurals do not matter);
2. it is an everyday word for it ("tv");
3. it names a kind of which the class is ("lamp", "bird"), or the class is of a kind of the text's ("navel orange");
4. its end does so ("red coffee mug"), if the whole is no word of its own;
5. it is no word, has five letters or more, and is a slip of one of 1 to 3, a likelier one than of any other word.
A class is taken when it is the only one that fits; the note then says so. Names that merely look alike never count,
and of several classes in a text none is taken: one is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from .class_names import Candidate, ClassNames, plain
from .misspellings import slips, within
from .word_table import WordTable, word_table

MOST_LISTED = 12  # classes that a note lists before it counts the rest
_OF_A_KIND = 3  # classes of each kind that a note names
_FARTHER = 4  # how much larger a group that the nearest class shares may be for the next ones
_SHORTEST = 5  # letters of a word that may be a misspelling
_LONG = 9  # letters from which on two mistakes are allowed
_ABSTRACT = "n00002137"  # what cannot be seen: a crown is a symbol before it is a hat, but no traffic light
_CLEAR = 3  # of the four sorts of slips, those that are clear enough for a word that could be another's
_KINDS = (
    ("animals", ("n00015388",)),
    (
        "food",
        ("n07555863", "n00021265", "n07705931", "n07707451"),
    ),  # solid food, nutrients, edible fruit, vegetables
    ("plants and mushrooms", ("n00017222", "n12992868", "n13086908")),  # plants, fungi, parts of plants
    ("musical instruments", ("n03800933",)),
    ("vehicles", ("n03100490",)),  # conveyances
    ("furniture", ("n03405265",)),  # furnishings
    ("toys and sports gear", ("n03964744", "n04285146", "n02778669")),  # toys, sports equipment, balls
    (
        "clothes",
        ("n03051540", "n03380867", "n03502509", "n02728440"),
    ),  # clothing, footwear, headdresses, apparel
    ("containers", ("n03094503",)),
    ("signs and books", ("n00033020",)),  # communication
    ("buildings", ("n04341686",)),  # structures
    ("devices and tools", ("n03575240", "n02729837")),  # instrumentalities, appliances
    ("landscapes", ("n09287968",)),  # geological formations
    ("people", ("n00007846",)),
)  # label of a list, and the WordNet ids of what comes under it; the first that fits


@dataclass(frozen=True)
class Match:
    """What a text means: `found` are places in the list of candidates.

    named: one of them is called so. taken: one of them is all that fits, and `note` says which ("mug → coffee mug").
    several: all that fit. none: nothing fits, `found` is nearest in kind or empty. `note` is a line for people.
    """

    state: Literal["named", "taken", "several", "none"]
    found: tuple[int, ...]
    note: str = ""

    @property
    def place(self) -> int | None:
        """The one class that is meant, or None."""
        return self.found[0] if self.state in ("named", "taken") else None


class ClassMatcher:
    """Finds the classes of one model, called `owner` in notes; `everything` are those that others may know."""

    def __init__(
        self, names: ClassNames, everything: ClassNames | None = None, owner: str = "this model"
    ) -> None:
        """Reads nothing yet: a text that is a class's name is found without the table of words."""
        self.names, self.candidates, self.owner = names, names.candidates, owner
        self._everything = everything or ClassNames(())

    def match(self, text: str) -> Match:
        """What `text` means."""
        named = self.names.named(text)
        if named:
            return Match("named", tuple(named)) if len(named) == 1 else self._shared(text, named)
        if len(parts := self.names.split(text)) > 1:
            return self._one_of(text, [self.match(part) for part in parts])
        table, asked = word_table(), plain(text)
        for phrase in _readings(asked, table):
            if found := self._meant(phrase, table):
                return self._found(text, found)
            if any(form in table for form in _forms(phrase, table)):
                return self._lacking(text, phrase, table)
            if phrase == asked and (found := self._listed(asked, table)):
                return self._one_of_these(text, found)
            if phrase == asked and (found := self._run_together(asked, table)):
                return self._perhaps(text, found)
            like = []
            if " " in phrase and _misspelt(phrase, table):
                like = self._names_like(phrase, 1) or self._names_like(phrase, 2)
            if (
                len(found := list(dict.fromkeys(place for name in like for place in self.names.named(name))))
                == 1
            ):
                return self._found(text, found)
        near, sure = self._corrected(asked, table)
        meant = [places for word in near if (places := self._meant(word, table))]
        found = list(dict.fromkeys(p for places in meant for p in places)) if sure or len(meant) <= 3 else []
        if len(near) == 1 and not found:
            begun = [
                p for p, one in enumerate(self.candidates) if plain(one.names[0]).startswith(f"{near[0]} ")
            ]
            likely = begun and table.senses(
                near[0]
            )  # a thing, with a class that has to do with it: coffee, coffee mug
            return self._perhaps(text, begun) if likely else self._lacking(text, near[0], table)
        if found and not (sure and len(found) == 1):
            return self._perhaps(text, found)
        return self._found(text, found) if found else self._lacking(text, asked, table)

    @cached_property
    def kinds(self) -> list[tuple[str, list[int]]]:
        """The classes by kind: a label, and the places of those of that kind; the rest comes last."""
        table, grouped = word_table(), {label: list[int]() for label, _ in _KINDS}
        for place, above in enumerate(self._above):
            fits = (label for label, ids in _KINDS if any(table.number[wnid] in above for wnid in ids))
            grouped.setdefault(next(fits, "others"), []).append(place)
        return [(label, places) for label, places in grouped.items() if places]

    def _meant(self, phrase: str, table: WordTable) -> list[int]:
        """All classes that a phrase means as it stands, as one word or as a plural."""
        for form in _forms(phrase, table):
            named = self.names.named(form)
            if found := named or self._everyday(form, table) or self._of_kind(form, table):
                return found
        return []

    def _everyday(self, word: str, table: WordTable) -> list[int]:
        for level in table.everyday(word):
            if found := [place for place, one in enumerate(self.candidates) if one.wnid in level]:
                return found
        return []

    def _of_kind(self, word: str, table: WordTable) -> list[int]:
        """Classes of the kind that `word` names; or else the nearest one of which `word` names a kind."""
        senses = table.senses(word)
        lacked = {table.number[one.wnid] for one in self._elsewhere(word) if plain(one.names[0]) == word}
        if lacked:  # other things of that name would surprise: a sofa bed is a convertible, too
            senses = tuple(sense for sense in senses if lacked & set(sense.kinds))
        groups = []
        for sense in senses:
            wanted = set() if sense.below else set(sense.kinds)
            groups.append([place for place, above in enumerate(self._above) if wanted & above])
        found = list(dict.fromkeys(place for group in groups for place in group))
        called = [p for p in found if any(_head(name) == word for name in self.candidates[p].names)]
        if len(called) == 1 and any(group == called for group in groups):
            return called  # a table lamp is the one lamp of a sense, though in another sense candles are lamps, too
        if found:
            return list(dict.fromkeys([*called, *found]))
        for sense in senses:
            above = {kind: steps for own in sense.kinds for kind, steps in table.above(own).items()}
            over = [
                (above[own], place)
                for place, one in enumerate(self.candidates)
                if (own := table.number.get(one.wnid, -1)) in above and own not in table.general
            ]
            if over:
                return [place for steps, place in over if steps == min(over)[0]]
        strange = [p for p, one in enumerate(self.candidates) if not senses and not self._own[p]]
        return [p for p in strange if any(_head(name) == word for name in self.candidates[p].names)]

    @cached_property
    def _own(self) -> list[tuple[int, ...]]:
        """Of every class its own kind, or for one without a known WordNet id those that its name says."""
        table = word_table()
        return [
            (table.number[one.wnid],) if one.wnid in table.number else _kinds_of(plain(one.names[0]), table)
            for one in self.candidates
        ]

    @cached_property
    def _above(self) -> list[set[int]]:
        """Of every class the kinds that it is of."""
        table = word_table()
        return [{kind for own in kinds for kind in table.above(own)} for kinds in self._own]

    def _listed(self, asked: str, table: WordTable) -> list[int]:
        """Of a list without commas, "mug and teapot" or "mug teapot", the classes; of a phrase that is none, none."""
        parts = re.split(r" and ", asked)
        if len(parts) == 1:
            parts, words = [], asked.split(" ")
            while words:
                ends = range(len(words), 0, -1)
                end = next((end for end in ends if self._called(" ".join(words[:end]), table)), 0)
                if not end:
                    return []
                parts.append(" ".join(words[:end]))
                del words[:end]
        each = ((self._called(phrase, table) for phrase in _readings(part, table)) for part in parts)
        found = dict.fromkeys(place for places in each for place in next(filter(None, places), []))
        return list(found) if len(found) > 1 else []

    def _called(self, phrase: str, table: WordTable) -> list[int]:
        """The one class that is called so, in whole or by the end of its name, or [] if there is none or several."""
        found = self._meant(phrase, table)
        if len(found) != 1 or self.names.named(phrase) or self._everyday(phrase, table):
            return found if len(found) == 1 else []
        return found if any(_head(name) == phrase for name in self.candidates[found[0]].names) else []

    def _run_together(self, asked: str, table: WordTable) -> list[int]:
        """Classes of whose name words that exist are a clear slip: "tee pot" is hardly a pot."""
        if " " not in asked or _misspelt(asked, table) or len(joined := asked.replace(" ", "")) < _SHORTEST:
            return []
        like = [sorted(texts & self.names.joined.keys()) for texts in slips(joined)[:_CLEAR]]
        return [place for name in next(filter(None, like), []) for place in self.names.joined[name]]

    def _corrected(self, asked: str, table: WordTable) -> tuple[list[str], bool]:
        """Names and words of which `asked` is the likeliest slip, and whether all of them mean classes of the model.

        Words that name no thing do not count beside those that a clear slip gives.
        """
        if len(asked.replace(" ", "")) < _SHORTEST or not _is_text(asked):
            return [], False
        if " " in asked and not _misspelt(asked, table):
            return [], False
        for form in (asked, *table.singulars(asked)):
            aside: list[str] = []
            for rank, (texts, joined) in enumerate(
                zip(slips(form), slips(form.replace(" ", "")), strict=True)
            ):
                names = sorted(joined & self.names.joined.keys())
                near = list(dict.fromkeys([*names, *sorted(word for word in texts if word in table)]))
                things = [word for word in near if word in names or self._names_a_thing(word, table)]
                if things:
                    near = things if rank < _CLEAR else near
                    return near, all(self._meant(word, table) for word in near)
                aside += near
            if near := self._names_like(form, 2) or aside:
                return near, all(self._meant(word, table) for word in near)
        return [], False

    def _names_a_thing(self, word: str, table: WordTable) -> bool:
        return bool(
            table.senses(word) or table.everyday(word) or table.stands_for(word) or self._elsewhere(word)
        )

    def _names_like(self, phrase: str, mistakes: int) -> list[str]:
        """Names that differ from `phrase`, as one word, in a mistake, or in two if it is long enough for that."""
        joined = phrase.replace(" ", "")
        if len(joined) < (_SHORTEST if mistakes == 1 else _LONG):
            return []
        if mistakes == 1:
            return sorted(set().union(*slips(joined)) & self.names.joined.keys())
        return [name for name in self.names.joined if within(joined, name, mistakes)]

    def _found(self, text: str, found: Sequence[int]) -> Match:
        """One class is taken, of several the note says which."""
        typed, shown = " ".join(text.split()), self._shown(found)
        if len(found) == 1:
            return Match("taken", tuple(found), f"{typed} → {self.candidates[found[0]].names[0]}")
        rest = len(shown) - MOST_LISTED
        listed = ", ".join(shown[:MOST_LISTED]) + f" and {rest} more" if rest > 0 else _either(shown)
        count = "" if len(shown) == 2 else f"one of {len(shown)} classes: "
        return Match("several", tuple(found), f"'{typed}' may be {count}{listed}; name one")

    def _one_of(self, text: str, matches: Sequence[Match]) -> Match:
        """Of a list with commas the class that all parts mean: ImageNet's lists write "pot, flowerpot"."""
        places = {match.place for match in matches}
        if len(places) == 1 and None not in places:
            return matches[0]
        return Match("none", (), f"'{text.strip()}' names several things; one class is expected here")

    def _one_of_these(self, text: str, found: Sequence[int]) -> Match:
        """Of several classes named in one breath none is dropped."""
        shown = ", ".join(self._shown(found[:MOST_LISTED]))
        note = f"'{text.strip()}' names several things: {shown}; expected one, or commas between them"
        return Match("several", tuple(found), note)

    def _perhaps(self, text: str, found: Sequence[int]) -> Match:
        note = f"unknown class '{text.strip()}': did you mean {_either(self._shown(found[:_OF_A_KIND]))}?"
        return Match("several", tuple(found), note)

    def _shared(self, text: str, named: Sequence[int]) -> Match:
        each = "; ".join(
            ", ".join(filter(None, (f"{one.index} = {one.wnid}", one.definition)))
            for one in (self.candidates[place] for place in named)
        )
        note = f"'{text.strip()}' names {len(named)} classes: {each}. Give the index or the WordNet id"
        return Match("several", tuple(named), note)

    def _shown(self, places: Iterable[int]) -> list[str]:
        return [self.candidates[place].shown for place in places]

    def _lacking(self, text: str, phrase: str, table: WordTable) -> Match:
        """Nothing fits: what is nearest in kind, or all that is known if the text has no kind near any class."""
        if text.strip().lstrip("+-").isdecimal() and not self._elsewhere(text):
            start = f"unknown class '{text.strip()}': an ImageNet index is 0 to 999"
            return Match("none", (), f"{start}; {self._listing(self.owner)}")
        usual = [wnid for level in table.everyday(phrase) for wnid in level]
        elsewhere = (
            [] if usual else self._elsewhere(text) or self._elsewhere(phrase if _is_text(phrase) else "")
        )
        kinds: Sequence[int] = [table.number[wnid] for wnid in usual or [one.wnid for one in elsewhere]]
        if not kinds:  # the usual meaning of what can be seen alone: others would surprise
            meanings = [sense.kinds for form in _forms(phrase, table) for sense in table.senses(form)]
            seen = (
                kinds
                for kinds in meanings
                if not any(table.number[_ABSTRACT] in table.above(kind) for kind in kinds)
            )
            kinds = next(seen, ())
        near = self._nearest(kinds, table)
        start = f"{self.owner} knows no '{phrase}'"
        if elsewhere:
            known = " or ".join(f"'{one.names[0]}' (ImageNet {one.index})" for one in elsewhere)
            start = f"{self.owner} does not know {known}"
        elif not _is_text(phrase) or not any(form in table for form in _forms(phrase, table)):
            start = f"unknown class '{text.strip()}': give a name, an ImageNet index or a WordNet id"
        if not text.strip():
            start = "expected a class, found an empty text"
        if near:
            return Match("none", tuple(near), f"{start}; nearest in kind: {_either(self._shown(near))}")
        who = "it" if start.startswith(self.owner) else self.owner
        return Match("none", (), f"{start}; {self._listing(who)}")

    def _listing(self, who: str) -> str:
        """Where all that the model knows is listed."""
        where = "by gp3d classes" if self._everything.candidates else "in gp3d_core/datasets/imagenet.tsv"
        return f"{who} knows {len(self.candidates)} classes, listed {where}"

    def _elsewhere(self, text: str) -> list[Candidate]:
        """Classes called so that this model does not know."""
        return [self._everything.candidates[place] for place in self._everything.named(text)]

    def _nearest(self, kinds: Sequence[int], table: WordTable) -> list[int]:
        """Up to three classes nearest to the kinds of a meaning; none that is much farther than the nearest."""
        ranked = []
        for place in range(len(self.candidates)):
            pairs = [(kind, own) for kind in kinds for own in self._own[place]]
            gaps = [gap for gap in (table.distance(*pair) for pair in pairs) if gap is not None]
            ranked += [(*min(gaps), place)] if gaps else []
        ranked.sort()
        return [place for size, _, place in ranked if size <= _FARTHER * ranked[0][0]][:_OF_A_KIND]


def _is_text(phrase: str) -> bool:
    """Whether it has letters: numbers are indices as they stand, or nothing."""
    return any(letter.isalpha() for letter in phrase)


def _misspelt(phrase: str, table: WordTable) -> bool:
    """Whether some word of `phrase` is none."""
    return not all(
        word in table or any(form in table for form in table.singulars(word)) for word in phrase.split()
    )


def _head(name: str) -> str:
    return plain(name).rpartition(" ")[2]


def _readings(asked: str, table: WordTable) -> Iterator[str]:
    """The phrase itself, what stands before "with" or "of", then the phrase without its first word, and so on."""
    if _is_text(asked):
        yield asked
    if asked in table:
        return
    core = re.split(r" (?:with|of|in|on|for|from|and) ", asked)[0]
    words = core.split(" ")
    for start in range(1 if core == asked else 0, len(words)):
        if _is_text(rest := " ".join(words[start:])):
            yield rest


def _kinds_of(name: str, table: WordTable) -> tuple[int, ...]:
    """The kinds of the first meaning that a name, or the end of it, has among them."""
    meanings = (sense.kinds for phrase in _readings(name, table) for sense in table.senses(phrase))
    return next(filter(None, meanings), ())


def _forms(phrase: str, table: WordTable) -> list[str]:
    """The phrase, written as one word, and what it may be the plural of; in place of each the word it stands for."""
    forms = (phrase, phrase.replace(" ", ""), *table.singulars(phrase))
    return list(dict.fromkeys(table.stands_for(form) or form for form in forms))


def _either(shown: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))
