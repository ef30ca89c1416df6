"""All families, sorted by name, and how to find one. A new family is a file in families/ and a line here."""

from __future__ import annotations

import difflib

from synthetic.shapes.families import (
    balloon,
    barrel,
    beacon,
    bookcase,
    bucket,
    candle,
    coffee_mug,
    dining_table,
    folding_chair,
    hourglass,
    ice_cream,
    mailbox,
    mushroom,
    park_bench,
    pot,
    rocking_chair,
    sombrero,
    street_sign,
    table_lamp,
    teapot,
    traffic_light,
    umbrella,
    vase,
    wine_bottle,
)
from synthetic.shapes.family import Family

FAMILIES: tuple[Family, ...] = (
    balloon.FAMILY,
    barrel.FAMILY,
    beacon.FAMILY,
    bookcase.FAMILY,
    bucket.FAMILY,
    candle.FAMILY,
    coffee_mug.FAMILY,
    dining_table.FAMILY,
    folding_chair.FAMILY,
    hourglass.FAMILY,
    ice_cream.FAMILY,
    mailbox.FAMILY,
    mushroom.FAMILY,
    park_bench.FAMILY,
    pot.FAMILY,
    rocking_chair.FAMILY,
    sombrero.FAMILY,
    street_sign.FAMILY,
    table_lamp.FAMILY,
    teapot.FAMILY,
    traffic_light.FAMILY,
    umbrella.FAMILY,
    vase.FAMILY,
    wine_bottle.FAMILY,
)


def select_families(request: str) -> tuple[Family, ...]:
    """The families of a comma-separated request, in the order of the library, each once.

    Each item is "all", a name ("coffee mug" or coffee_mug), an ImageNet index, a WordNet id, or a word that occurs in
    one name only ("mug"). Raises ValueError with the nearest names for anything else.
    """
    items = [item.strip() for item in request.split(",") if item.strip()]
    if not items:
        raise ValueError("no class was named; say all, or names such as barrel,coffee mug")
    chosen = {family.name for item in items for family in ((*FAMILIES,) if item == "all" else (_find(item),))}
    return tuple(family for family in FAMILIES if family.name in chosen)


def _find(item: str) -> Family:
    """The family that an item of a request means."""
    wanted = item.lower().replace("_", " ")
    for family in FAMILIES:
        if wanted in (family.name, str(family.imagenet_index), family.wnid):
            return family
    by_word = [family for family in FAMILIES if wanted in family.name.split()]
    if len(by_word) == 1:
        return by_word[0]
    names = [family.name for family in FAMILIES]
    near = [family.name for family in by_word] or difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    near = near or [name for name in names if difflib.get_close_matches(wanted, name.split(), cutoff=0.7)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    raise ValueError(f"unknown class {item!r}: {hint}")
