"""All families, sorted by name whatever the case of its letters, and how to find one.

A new family is a file in families/ and a line here.
"""

from __future__ import annotations

import difflib

from synthetic.shapes.families import (
    acorn,
    acoustic_guitar,
    airliner,
    balloon,
    banana,
    barn,
    barrel,
    baseball,
    basketball,
    beacon,
    bell_pepper,
    bookcase,
    bucket,
    cab,
    candle,
    castle,
    cheeseburger,
    chest,
    church,
    coffee_mug,
    corn,
    cowboy_hat,
    daisy,
    dining_table,
    drum,
    folding_chair,
    gas_pump,
    goldfish,
    granny_smith,
    hotdog,
    hourglass,
    ice_cream,
    king_penguin,
    laptop,
    lemon,
    mailbox,
    mosque,
    mushroom,
    orange,
    park_bench,
    piggy_bank,
    pineapple,
    pot,
    pretzel,
    rocking_chair,
    school_bus,
    snail,
    soccer_ball,
    sombrero,
    starfish,
    steam_locomotive,
    strawberry,
    street_sign,
    studio_couch,
    table_lamp,
    teapot,
    teddy,
    television,
    tennis_ball,
    throne,
    traffic_light,
    umbrella,
    vase,
    volleyball,
    wall_clock,
    washer,
    water_tower,
    wine_bottle,
)
from synthetic.shapes.family import Family

FAMILIES: tuple[Family, ...] = (
    acorn.FAMILY,
    acoustic_guitar.FAMILY,
    airliner.FAMILY,
    balloon.FAMILY,
    banana.FAMILY,
    barn.FAMILY,
    barrel.FAMILY,
    baseball.FAMILY,
    basketball.FAMILY,
    beacon.FAMILY,
    bell_pepper.FAMILY,
    bookcase.FAMILY,
    bucket.FAMILY,
    cab.FAMILY,
    candle.FAMILY,
    castle.FAMILY,
    cheeseburger.FAMILY,
    chest.FAMILY,
    church.FAMILY,
    coffee_mug.FAMILY,
    corn.FAMILY,
    cowboy_hat.FAMILY,
    daisy.FAMILY,
    dining_table.FAMILY,
    drum.FAMILY,
    folding_chair.FAMILY,
    gas_pump.FAMILY,
    goldfish.FAMILY,
    granny_smith.FAMILY,
    hotdog.FAMILY,
    hourglass.FAMILY,
    ice_cream.FAMILY,
    king_penguin.FAMILY,
    laptop.FAMILY,
    lemon.FAMILY,
    mailbox.FAMILY,
    mosque.FAMILY,
    mushroom.FAMILY,
    orange.FAMILY,
    park_bench.FAMILY,
    piggy_bank.FAMILY,
    pineapple.FAMILY,
    pot.FAMILY,
    pretzel.FAMILY,
    rocking_chair.FAMILY,
    school_bus.FAMILY,
    snail.FAMILY,
    soccer_ball.FAMILY,
    sombrero.FAMILY,
    starfish.FAMILY,
    steam_locomotive.FAMILY,
    strawberry.FAMILY,
    street_sign.FAMILY,
    studio_couch.FAMILY,
    table_lamp.FAMILY,
    teapot.FAMILY,
    teddy.FAMILY,
    television.FAMILY,
    tennis_ball.FAMILY,
    throne.FAMILY,
    traffic_light.FAMILY,
    umbrella.FAMILY,
    vase.FAMILY,
    volleyball.FAMILY,
    wall_clock.FAMILY,
    washer.FAMILY,
    water_tower.FAMILY,
    wine_bottle.FAMILY,
)

_SHORTEST_SLIP = 5  # letters: shorter words that look alike are other words
_SLIP = 0.82  # likeness of a misspelling: one wrong letter among six; "phone" and "throne" have 0.73


def select_families(request: str) -> tuple[Family, ...]:
    """The families of a comma-separated request, in the order of the library, each once.

    Each item is "all", a name ("coffee mug" or coffee_mug; "teddy bears" for "teddy bear"), an ImageNet index, a
    WordNet id, or a word that occurs in one name only ("mug"). Raises ValueError with names that have the word or are
    a slip away for anything else.
    """
    items = [item.strip() for item in request.split(",") if item.strip()]
    if not items:
        raise ValueError("no class was named; say all, or names such as barrel,coffee mug")
    chosen = {family.name for item in items for family in ((*FAMILIES,) if item == "all" else (_find(item),))}
    return tuple(family for family in FAMILIES if family.name in chosen)


def _find(item: str) -> Family:
    """The family that an item of a request means."""
    wanted = " ".join(item.lower().replace("_", " ").replace("-", " ").split())
    forms = (wanted, wanted.removesuffix("s"), wanted.removesuffix("es"))
    for family in FAMILIES:
        ids, joined = (str(family.imagenet_index), family.wnid), family.name.lower().replace(" ", "")
        if wanted in ids or joined in (form.replace(" ", "") for form in forms):
            return family
    by_word = [family for family in FAMILIES if set(forms) & set(family.name.lower().split())]
    if len(by_word) == 1:
        return by_word[0]
    names = [family.name for family in FAMILIES]
    near = [family.name for family in by_word]
    if not near and len(wanted) >= _SHORTEST_SLIP:
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=_SLIP)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}"
    raise ValueError(f"unknown class {item!r}: {hint}")
