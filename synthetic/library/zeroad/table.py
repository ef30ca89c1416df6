"""The reviewed table of classes, classes.tsv: which actor shows what. Every line was looked at in a picture.

Things that are none of ImageNet's classes stand with the WordNet 3.0 noun that they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from synthetic.layouts.shapenet import ObjectClass
from synthetic.library.classes import class_of


@dataclass(frozen=True)
class Entry:
    """A line: an actor below art/actors, without its suffix, and what it shows."""

    actor: str
    object_class: ObjectClass

    @property
    def identifier(self) -> str:
        """The actor as a model's name."""
        return self.actor.replace("/", "-")


@cache
def entries() -> tuple[Entry, ...]:
    """All lines of the table, in its order."""
    text = (resources.files(__package__) / "classes.tsv").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    return tuple(Entry(actor, class_of(wnid, name)) for actor, wnid, name in rows)
