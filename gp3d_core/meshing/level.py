"""Levels: which density a surface is drawn at, as people say it and as a field knows it. No torch: borders read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from gp3d_core.errors import GP3DError

_HIGHEST = 1e30  # of a density: what is above has lost its digits in float32
_BEFORE = "raw:"


class Activation(Protocol):
    """What turns raw density into density, and back."""

    def inverse(self, sigma: float) -> float:
        """The raw density of a density."""


@dataclass(frozen=True)
class Level:
    """A density after activation; with `raw` one before it; without a value, the level that is to be found.

    Raises GP3DError unless the value is finite, and above 0 after activation.
    """

    value: float | None = None
    raw: bool = False

    def __post_init__(self) -> None:
        if self.value is None and not self.raw:
            return
        value = math.nan if self.value is None else self.value
        if not (math.isfinite(value) if self.raw else 0 < value < _HIGHEST):
            raise GP3DError(f"a level is {LEVEL_WORDS}, found {self}")
        object.__setattr__(self, "value", float(value))  # as recipes hold it

    @classmethod
    def parse(cls, text: str) -> Level:
        """The level of "auto", "10" (a density) or "raw:-3" (before activation). Raises GP3DError for other texts."""
        if text == "auto":
            return AUTO
        number = text.removeprefix(_BEFORE)
        try:
            return cls(float(number), raw=number != text)
        except ValueError:
            raise GP3DError(f"expected {LEVEL_WORDS}, found {text!r}") from None

    def to_json(self) -> float | str:
        """The number if it is a density, else the text that `parse` reads."""
        return str(self) if self.value is None or self.raw else self.value

    def to_raw(self, activation: Activation) -> float:
        """The density before `activation`. Raises ValueError for the level that is to be found."""
        if self.value is None:
            raise ValueError("no level was named: it is to be found from the field")
        return self.value if self.raw else activation.inverse(self.value)

    def __str__(self) -> str:
        """What `parse` reads."""
        return "auto" if self.value is None else f"{_BEFORE * self.raw}{self.value!r}"


LEVEL_WORDS = "auto, a density above 0, or raw:NUMBER for a density before activation"
AUTO = Level()
