"""Which class a word or number of a table means."""

from __future__ import annotations

import re

from synthetic.layouts.imagenet import imagenet_classes, imagenet_names
from synthetic.layouts.shapenet import ObjectClass
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES


class UnknownClassError(ValueError):
    """A word that names no class, or several; the message says what to write instead."""


def class_of(text: str, name: str = "") -> ObjectClass:
    """The class that `text` means.

    It is an ImageNet class (name, index or WordNet id), a category of ShapeNetCore (name, synset, or WordNet id), or
    the WordNet id of any other noun, which `name` calls. Raises UnknownClassError.
    """
    word = " ".join(text.lower().replace("_", " ").split())
    by_id = imagenet_classes()
    if re.fullmatch(r"\d{1,3}", word):
        return list(by_id.values())[int(word)]
    if re.fullmatch(r"n?\d{8}", word):
        synset = word[-8:]
        return by_id.get(f"n{synset}") or _other(synset, name, text)
    found = imagenet_names().get(word, ())
    if len(found) == 1:
        return found[0]
    if found:
        ids = " and ".join(f"{one.wnid} ({one.name})" for one in found)
        raise UnknownClassError(f"its class {text!r} may be {ids}: give the id")
    for synset, (category, _) in SHAPENET_CATEGORIES.items():
        if category == word:
            return _other(synset, name, text)
    raise UnknownClassError(
        f"its class {text!r} is none of ImageNet or ShapeNetCore: give its WordNet id and a name"
    )


def _other(synset: str, name: str, text: str) -> ObjectClass:
    """A class that is none of ImageNet."""
    category, _ = SHAPENET_CATEGORIES.get(synset, ("", None))
    if not (category or name):
        raise UnknownClassError(f"its class {text!r} is none of ImageNet or ShapeNetCore and has no name")
    return ObjectClass(f"n{synset}", category or name, None, synset if category else None)
