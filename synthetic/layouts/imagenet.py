"""The classes of ImageNet-1k, as classes of a model library. imagenet.tsv is made by tools/synthetic_classes.py."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from synthetic.layouts.shapenet import ObjectClass

_TABLE = Path(__file__).with_name("imagenet.tsv")


@cache
def imagenet_classes() -> Mapping[str, ObjectClass]:
    """All 1000 by WordNet id, in the order of their indices, each called by its first name."""
    return {made.wnid: made for made, _ in _rows()}


@cache
def imagenet_names() -> Mapping[str, tuple[ObjectClass, ...]]:
    """The classes that a name in small letters means; there are names that two share."""
    found: dict[str, tuple[ObjectClass, ...]] = {}
    for made, names in _rows():
        for name in names:
            found[name.lower()] = (*found.get(name.lower(), ()), made)
    return found


@cache
def _rows() -> tuple[tuple[ObjectClass, tuple[str, ...]], ...]:
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    made = []
    for line in lines:
        if not line.startswith("#"):
            index, wnid, names, synset = line.split("\t")
            every = tuple(names.split(", "))
            made.append((ObjectClass(wnid, every[0], int(index), synset or None), every))
    return tuple(made)
