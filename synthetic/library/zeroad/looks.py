"""Which models an actor gives: its coats, by its groups of variants, and moments of its animations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from synthetic.library.zeroad.actors import Actor, Animation, Variant, combine

_MOST_LOOKS = 12  # of an actor
_MOST_CHOICES = 4096  # that are looked through for them
_NOT_POSES = ("death", "dying", "corpse")


@dataclass(frozen=True)
class Look:
    """An actor with one variant of each group."""

    actor: Actor
    variant: Variant

    @property
    def seen(self) -> object:
        """What of it is seen in a picture: looks of which this is equal look the same, but for what chance decides."""
        one = self.variant
        return (
            one.mesh,
            one.textures.get("baseTex"),
            one.color,
            frozenset(prop for prop in one.props if prop.actor),
        )


def looks(actor: Actor) -> list[Look]:
    """Every look of an actor that differs in what is seen, in the order of its file, at most 12 evenly from them all.

    A group gives its variants that are chosen by chance; where none is, its first.
    """
    groups = [[one for one in group if one.frequency] or [group[0]] for group in actor.groups]
    seen: dict[object, Look] = {}
    for chosen in islice(product(*groups), _MOST_CHOICES):
        look = Look(actor, combine(chosen))
        seen.setdefault(look.seen, look)
    found = list(seen.values())
    step = max(1.0, len(found) / _MOST_LOOKS)
    return [found[math.floor(number * step)] for number in range(min(len(found), _MOST_LOOKS))]


def clips(variant: Variant) -> list[Animation]:
    """The animations of a look that may give poses: of these each file once, and none that shows it dying."""
    found: dict[str, Animation] = {}
    for clip in variant.animations:
        if not any(word in text for word in _NOT_POSES for text in (clip.action, clip.file.lower())):
            found.setdefault(clip.file, clip)
    return list(found.values())


def generator(*names: object) -> np.random.Generator:
    """Random numbers that the names decide."""
    digest = hashlib.sha256("\n".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def color_of(names: Sequence[object]) -> tuple[int, int, int]:
    """The colour of the player that a model belongs to: one of eight, decided by the names."""
    return _PLAYERS[int(generator("player", *names).integers(len(_PLAYERS)))]


_PLAYERS = (
    (150, 40, 35),
    (40, 70, 150),
    (50, 110, 55),
    (205, 165, 50),
    (110, 60, 120),
    (200, 110, 45),
    (60, 130, 140),
    (120, 90, 60),
)
