"""The reviewed table of classes, classes.tsv: which actor shows what. Every line was looked at in a picture.

ImageNet's classes stand with their index; other things with the WordNet 3.0 noun that they are, without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from synthetic.layouts.shapenet import ObjectClass


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
    found = []
    for line in text.splitlines()[1:]:
        actor, wnid, name, index, synset = line.split("\t")
        found.append(Entry(actor, ObjectClass(wnid, name, int(index) if index else None, synset or None)))
    return tuple(found)
