"""Who made a model and on what terms it may be used: LIBRARY/licences.jsonl, one JSON object a line.

    {"model": "<synset>/<id>", "author": "…", "licence": "CC-BY-3.0", "source": "…", "changes": "…", "parent": ""}

`licence` is an SPDX identifier or expression; `parent` is the model that a variant was made from, "" for one that
stands for itself. What a line says wrong is a fault of its model alone, whose licence is then "unknown": never a free
one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

LICENCES = "licences.jsonl"
UNKNOWN = "unknown"  # the licence of a model of which none is known

_LARGEST_FILE, _LONGEST_LINE = 256 * 2**20, 64 * 2**10  # bytes
_LONGEST = {"model": 500, "author": 1000, "licence": 120, "source": 1000, "changes": 1000, "parent": 500}


class LicenceError(ValueError):
    """A licences.jsonl, or a choice of licences, that cannot be read; the message says what was expected."""


class CreditRecord(TypedDict):
    """A Credit as it stands in data sets: without its parent and its fault."""

    author: str
    licence: str
    source: str
    changes: str


@dataclass(frozen=True)
class Credit:
    """What is owed to whom for a model: author, SPDX identifier of the licence, where it is from, what was changed.

    `fault` says what is wrong with the line that it was read from, for people; it is not written.
    """

    author: str
    licence: str
    source: str
    changes: str
    parent: str = ""
    fault: str = field(default="", compare=False)

    def as_json(self) -> CreditRecord:
        """The credit as it stands in data sets."""
        return {
            "author": self.author,
            "licence": self.licence,
            "source": self.source,
            "changes": self.changes,
        }


def spdx(text: str) -> str | None:
    """A licence as SPDX spells it ("cc-by-3.0" is CC-BY-3.0), None where it is no identifier or expression of SPDX."""
    return _spdx(text) if len(text) <= _LONGEST["licence"] else None


@lru_cache(maxsize=4096)
def _spdx(text: str) -> str | None:
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def licence_lines(credits: Mapping[str, Credit]) -> str:
    """The text of a licences.jsonl of models by key, sorted."""
    lines = []
    for key, credit in sorted(credits.items()):
        facts = {name: text for name, text in asdict(credit).items() if name != "fault"}
        lines.append(json.dumps({"model": key, **facts}, ensure_ascii=False) + "\n")
    return "".join(lines)


def read_licences(library: Path, models: Sequence[str]) -> dict[str, Credit]:
    """The credits that a library's licences.jsonl states, by key, and one for each of its `models`.

    Empty without such a file. A model whose line is missing, unreadable, or contradicted by another has the licence
    "unknown" and a fault. Raises LicenceError for a file that cannot be read at all.
    """
    path = library / LICENCES
    if not path.exists():
        return {}
    try:
        if not path.is_file():  # a pipe would be waited for
            raise LicenceError(f"{path}: expected a file, found something else; mend it")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise LicenceError(f"{path}: cannot be read ({error.strerror}); mend it") from None
    if len(content) > _LARGEST_FILE:
        raise LicenceError(f"{path}: expected at most {_LARGEST_FILE} bytes, found more; mend it")
    stated: dict[str, Credit] = {}
    unreadable = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        found = _credit(line)
        if found is None:
            unreadable.append(number)
            continue
        key, credit = found
        first = stated.setdefault(key, credit)
        if first != credit:
            stated[key] = replace(first, licence=UNKNOWN, fault="two lines contradict one another")
    missing = f"no line of {LICENCES} is about it"
    if unreadable:
        missing += f" that can be read ({len(unreadable)} cannot, the first is line {unreadable[0]})"
    none = Credit("", UNKNOWN, "", "", fault=missing)
    return dict.fromkeys(models, none) | stated


def _credit(line: bytes) -> tuple[str, Credit] | None:
    """The model of a line and its credit; None where it names no model or lacks a text."""
    try:
        entry: Any = json.loads(line) if len(line) <= _LONGEST_LINE else None
        texts = {key: entry.get(key, "") if key == "parent" else entry[key] for key in _LONGEST}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(text, str) for text in texts.values()) or not texts["model"]:
        return None
    clean = {key: plain(text) for key, text in texts.items()}
    long = [key for key, most in _LONGEST.items() if len(clean[key]) > most]
    licence, fault = spdx(clean["licence"]), ""
    if licence is None and clean["licence"].lower() != UNKNOWN:
        fault = f"expected an SPDX licence such as CC-BY-3.0, found {clean['licence'][:60]!r}"
    elif long:
        fault = f"its {long[0]} has more than {_LONGEST[long[0]]} characters and is cut"
    cut = {key: text[: _LONGEST[key]] for key, text in clean.items()}
    model = cut.pop("model")
    return model, Credit(**{**cut, "licence": licence or UNKNOWN}, fault=fault)


def plain(text: str) -> str:
    """The text on one line, without control characters and signs that turn the direction of writing."""
    if not text.isprintable():  # hardly any text
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())


def origins(credits: Mapping[str, Credit]) -> dict[str, str]:
    """The model that each variant goes back to, through any number of parents, by the variant's key.

    It need not be among the `credits`. Parents in a circle go back to the first of its keys, all of them.
    """
    found: dict[str, str] = {}
    for key in credits:
        chain: dict[str, None] = {}  # in order
        step = key
        while step not in found and step not in chain and step in credits and credits[step].parent:
            chain[step] = None
            step = credits[step].parent
        if step in chain:
            circle = list(chain)
            step = min(circle[circle.index(step) :])
        found |= dict.fromkeys(chain, found.get(step, step))
    return found


# Words of --licences that stand for all versions; a licence belongs to the family that its name begins with, up to the
# version: CC-BY-3.0 to cc-by, CC-BY-SA-3.0 to cc-by-sa alone.
FAMILIES = (
    "cc0",
    "public-domain",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "mit",
    "bsd",
    "apache",
    "mpl",
    "lgpl",
    "gpl",
    "agpl",
    "ofl",
    UNKNOWN,
)
_FAMILY_OF = {
    "CC-PDDC": "public-domain",
    "CC-PDM-1.0": "public-domain",
    "LicenseRef-public-domain": "public-domain",
    "PDDL-1.0": "public-domain",
    "Unlicense": "public-domain",
    "0BSD": "bsd",
    "MIT-0": "mit",
}
_VERSION = re.compile(r"-\d")


def family(licence: str) -> str:
    """The family of an SPDX identifier: what its name says before the version, in small letters."""
    return _FAMILY_OF.get(licence) or _VERSION.split(licence)[0].lower()


@dataclass(frozen=True)
class LicenceFilter:
    """The licences that a choice of models allows: families of FAMILIES, and identifiers as SPDX spells them."""

    words: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> LicenceFilter:
        """The licences of a list with commas, such as "cc0,CC-BY-3.0", in any case. Raises LicenceError."""
        words = [word for word in (part.strip() for part in text.split(",")) if word]
        known = {word: word.lower() if word.lower() in FAMILIES else spdx(word) for word in words}
        odd = [word for word, meant in known.items() if meant is None]
        if odd or not known:
            raise LicenceError(
                f"expected families ({', '.join(FAMILIES)}) or SPDX licences such as CC-BY-3.0, with commas between, "
                f"found {odd[0] if odd else text!r}"
            )
        return cls(frozenset(meant for meant in known.values() if meant))

    def allows(self, licence: str) -> bool:
        """Whether a model of this licence is chosen: of "A OR B" one has to be allowed, of "A AND B" both."""
        if licence in self.words:
            return True
        while inner := _INNERMOST.search(licence):
            answer = _YES if self.allows(inner[1]) else _NO
            licence = f"{licence[: inner.start()]}{answer}{licence[inner.end() :]}"
        return any(all(map(self._allows_one, way.split(" AND "))) for way in licence.split(" OR "))

    def _allows_one(self, licence: str) -> bool:
        plain_licence = licence.partition(" WITH ")[0]
        return licence == _YES or licence in self.words or family(plain_licence) in self.words


_INNERMOST = re.compile(r"\(([^()]*)\)")
_YES, _NO = "yes", "no"  # no licences of SPDX; they take the place of a part in brackets
