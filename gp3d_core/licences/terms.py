"""What licences ask of whoever shares what is under them, in plain words. In short, and no legal advice."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gp3d_core.licences.parts import UNKNOWN

Kind = Literal["free", "credit", "share-alike", "restricted", "notice", "copyleft", "unknown", "other"]

_VERSION = re.compile(r"-\d")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_FAMILIES: dict[str, Kind] = {
    "cc0": "free",
    "cc-pddc": "free",
    "cc-pdm": "free",
    "pddl": "free",
    "unlicense": "free",
    "mit-0": "free",
    "0bsd": "free",
    "cc-by": "credit",
    "cc-by-sa": "share-alike",
    "cc-by-nc": "restricted",
    "cc-by-nd": "restricted",
    "cc-by-nc-sa": "restricted",
    "cc-by-nc-nd": "restricted",
    "mit": "notice",
    "bsd": "notice",
    "apache": "notice",
    "gpl": "copyleft",
    "lgpl": "copyleft",
    "agpl": "copyleft",
    "unknown": "unknown",
}
_WORDS: dict[Kind, str] = {
    "free": "Nothing has to be named or handed on. Naming the authors is a courtesy.",
    "credit": "Name the authors, the source and the licence with a link, and say what was changed.",
    "share-alike": "Name the authors, the source and the licence with a link, and say what was changed. "
    "**Share alike:** what is adapted from it is shared under the same licence, or one that it declares compatible.",
    "restricted": "Name the authors, the source and the licence with a link, and say what was changed.",
    "notice": "Keep the copyright notice and the text of the licence with every copy.",
    "copyleft": "**Copyleft:** what is derived from it is shared under the same licence, with its source.",
    "unknown": "**Warning:** nobody has said on what terms these may be used. Ask their authors, or leave the models "
    "out.",
    "other": "Read this licence: its terms are not known here.",
}
_ORDER: tuple[Kind, ...] = (
    "unknown",
    "restricted",
    "share-alike",
    "copyleft",
    "credit",
    "notice",
    "other",
    "free",
)


@dataclass(frozen=True)
class Terms:
    """What one licence asks: its kind, a sentence or more in Markdown, and where its text stands, "" if not known."""

    kind: Kind
    words: str
    link: str

    @property
    def owes_credit(self) -> bool:
        """Whether somebody has to be named, for all that is known."""
        return self.kind != "free"

    @property
    def order(self) -> int:
        """The place of this kind in a list that begins with what needs most care."""
        return _ORDER.index(self.kind)


@lru_cache(maxsize=1024)  # models are thousands, their licences few
def terms_of(licence: str) -> Terms:
    """What a licence asks; of several in one expression what the strictest asks, and that there are more."""
    singles = [name for name in re.split(r" AND | OR |[()]", licence) if name]
    if len(singles) > 1:
        several = min((terms_of(name) for name in singles), key=lambda terms: terms.order)
        words = f"Several licences in one expression: read each. Of the strictest: {several.words}"
        return Terms(several.kind, words, "")
    name = licence.partition(" WITH ")[0]
    family = name.lower() if name.lower() in _FAMILIES else _VERSION.split(name)[0].lower()
    kind = _FAMILIES.get(family, "other")
    words = _WORDS[kind]
    if "-nc" in family and kind == "restricted":
        words += " **Warning, not for commercial use:** neither it nor what is adapted from it."
    if "-nd" in family and kind == "restricted":
        words += " **Warning, no derivatives:** what is adapted from it may not be shared."
    if "-sa" in family and kind == "restricted":
        words += " **Share alike:** what is adapted from it is shared under the same licence."
    known = licence != UNKNOWN and kind != "other" and _IDENTIFIER.fullmatch(licence)
    return Terms(kind, words, f"https://spdx.org/licenses/{licence}.html" if known else "")
