"""What is owed to whom, as Markdown: the licences of a data set or a model, what each asks, and a list to paste."""

from __future__ import annotations

import re

from gp3d_core.licences.parts import Licences, Part, by_author
from gp3d_core.licences.terms import terms_of

_SPECIAL = re.compile(r"([\\`*\[\]|~])")
_NAMED = 400  # characters of authors in one line
_SOURCES = 5  # that a line names of one author; dataset.json has all

NOT_SAID = "Nobody has said who made it, nor on what terms it may be used."
_SCOPE = (
    "These are the terms of the models that were shown, in short; the licences themselves decide, and this is no legal "
    "advice. Whether pictures, weights or meshes count as adapted from them is for you to judge; for what does, the "
    "lines below say what is asked."
)


def escaped(text: str) -> str:
    """A text of a stranger as Markdown shows it literally: no markup, no HTML, no links or pictures of its making."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", plain)


def licence_lines(licences: Licences) -> list[str]:
    """Lines of Markdown: a table of the licences, and per licence what it asks and whom to name."""
    if not licences:
        return [NOT_SAID]
    names = sorted(licences.names(), key=lambda name: (terms_of(name).order, name))
    counts = licences.counts()
    lines = ["| licence | models | authors |", "|---|---|---|"]
    for name in names:
        authors = {part.author for part in licences.parts if part.licence == name and part.author}
        lines.append(f"| {escaped(name)} | {counts[name] or 'not counted'} | {len(authors) or 'not named'} |")
    lines += ["", _SCOPE]
    for name in names:
        terms = terms_of(name)
        lines += ["", f"### {escaped(name)}", "", terms.words, ""]
        parts = by_author((part for part in licences.parts if part.licence == name), shown=_SOURCES)
        parts.sort(key=lambda part: (-part.models, part))
        lines += [f"- {attribution(part)}" for part in parts]
    return lines


def attribution(part: Part) -> str:
    """One line of Markdown that names author, source, licence with its link, and changes, ready to be pasted."""
    link = terms_of(part.licence).link
    count = f" ({part.models} model{'s' * (part.models != 1)})" if part.models else ""
    said = [
        f"{escaped(part.author) or 'author not named'}{count}",
        escaped(part.source),
        f"licence {escaped(part.licence)}" + (f", {link}" if link else ""),
        f"changes: {escaped(part.changes)}" if part.changes else "",
    ]
    return "; ".join(filter(None, said))


def short_credits(licences: Licences) -> str:
    """The authors with their licences on one line of bounded length, for files of meshes; "" where nobody is named.

    Those whose licences ask for nothing are left out.
    """
    owed: dict[str, dict[str, int]] = {}
    for part in licences.parts:
        if part.author and terms_of(part.licence).owes_credit:
            authors = owed.setdefault(part.licence, {})
            authors[part.author] = authors.get(part.author, 0) + part.models
    texts = []
    for licence, authors in sorted(owed.items()):
        ranked = sorted(authors, key=lambda author: (-authors[author], author))
        named: list[str] = []
        while ranked and len(", ".join([*named, ranked[0]])) <= _NAMED:
            named.append(ranked.pop(0))
        more = [f"{len(ranked)} more"] if ranked else []
        texts.append(f"{', '.join([*named, *more])} ({licence})")
    return f"Learnt from models by {'; '.join(texts)}." if texts else ""
