"""Numbers drawn for one purpose, the same on every machine and in every order of work."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass


class Draws:
    """A sequence of numbers that a text alone decides.

    Python promises the numbers of `random()` for all its versions, which NumPy does not for its distributions.
    """

    def __init__(self, text: str) -> None:
        self._random = random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))

    def between(self, low: float, high: float) -> float:
        """A number in [low, high), evenly."""
        return low + (high - low) * self._random.random()

    def around(self, most: float) -> float:
        """A number in [-most, most), evenly."""
        return self.between(-most, most)

    def factor(self, most: float) -> float:
        """A number in (1/most, most): above 1 as often as below, and there evenly in itself or its inverse."""
        share = self.around(1.0)
        step = 1 + (most - 1) * abs(share)
        return step if share > 0 else 1 / step

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self._random.random() < probability

    def index(self, count: int) -> int:
        """A number of 0 to count - 1."""
        return min(int(self._random.random() * count), count - 1)


@dataclass(frozen=True)
class VariantSeed:
    """What decides all that is drawn for a variant: the seed, the key of its parent, and its number from 1 on."""

    seed: int
    parent: str
    number: int

    def draws(self, purpose: str) -> Draws:
        """The numbers for one purpose, whatever is drawn for others."""
        return Draws(f"variation {self.seed} {self.parent} {self.number} {purpose}")
