"""Kinds of values that options have, each with the ways in which borders say them.

`accepts` tells whether a value is one of the kind. `of_text` reads command lines and `of_json` requests; both give back
what they cannot read, which `accepts` then refuses, so that there is one place that decides.
"""

from __future__ import annotations

import numbers
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gp3d_core.errors import GP3DError
from gp3d_core.meshing.level import LEVEL_WORDS, Level

Corners = tuple[float, ...]


def python_number(value: Any) -> Any:
    """The value; numbers of other kinds, such as numpy's, and those of a tuple as Python's of the same value."""
    if isinstance(value, tuple):
        return tuple(map(python_number, value))
    if isinstance(value, bool):  # a whole number to Python, and none of an option
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


@dataclass(frozen=True)
class Number:
    """Numbers from `low` to `high`, and the `words` that stand for themselves.

    `nothing` is how borders say None, that is "no limit": 0, or null, for which command lines say none.
    """

    low: float
    high: float
    whole: bool = False
    nothing: Literal["zero", "null"] | None = None
    words: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The values in words."""
        noun = "a whole number" if self.whole else "a number"
        number = f"{noun} from {_shown(self.low)} to {_shown(self.high)}"
        return ", or ".join([number, *self.words])

    def accepts(self, value: Any) -> bool:
        """Whether an option may be `value`."""
        if value is None:
            return self.nothing is not None
        if isinstance(value, str):
            return value in self.words
        kinds = (int,) if self.whole else (int, float)
        return type(value) in kinds and self.low <= value <= self.high

    def of_text(self, text: str) -> Any:
        """The value that a command line says; what it says, where that is none."""
        if text in self.words:
            return text
        if text == "none" and self.nothing == "null":
            return None
        try:
            return self.of_json(int(text) if self.whole else float(text))
        except ValueError:
            return text

    def of_json(self, value: Any) -> Any:
        """The value that a request says."""
        if type(value) is not int:
            return value
        if value == 0 and self.nothing == "zero":
            return None
        return value if self.whole else float(value)

    def to_json(self, value: Any) -> Any:
        """What a request says for the value."""
        return 0 if value is None and self.nothing == "zero" else value

    def to_text(self, value: Any) -> str:
        """What a command line says for the value."""
        return "none" if value is None and self.nothing == "null" else str(self.to_json(value))


@dataclass(frozen=True)
class Bytes:
    """Sizes of files in bytes, at least `low`, or None for any; texts may count in k, M and G, powers of a thousand."""

    low: int = 1000

    @property
    def expected(self) -> str:
        """The sizes in words."""
        return f"a size such as 500k or 2M, at least {self.low} bytes"

    def accepts(self, value: Any) -> bool:
        """Whether an option may be `value`."""
        return value is None or (type(value) is int and self.low <= value <= 10**12)

    def of_text(self, text: str) -> Any:
        """The bytes that a command line says; the text, where these are none."""
        if text == "none":
            return None
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", text.lower())
        return (
            round(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]]) if match else text
        )

    def of_json(self, value: Any) -> Any:
        """The bytes that a request says, as a number or as a command line does."""
        return self.of_text(value) if isinstance(value, str) else value

    def to_json(self, value: int | None) -> int | None:
        """What a request says for the bytes."""
        return value

    def to_text(self, value: int | None) -> str:
        """What a command line says for the bytes."""
        return "none" if value is None else str(value)


@dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The names in words."""
        return f"one of {', '.join(self.names)}"

    def accepts(self, value: Any) -> bool:
        """Whether an option may be `value`."""
        return isinstance(value, str) and value in self.names

    def of_text(self, text: str) -> Any:
        """The value that a command line says."""
        return text

    of_json = to_json = to_text = of_text


@dataclass(frozen=True)
class Levels:
    """Levels; `raw` ones only where the field's density is activated after it was learnt."""

    raw: bool = True

    @property
    def expected(self) -> str:
        """The levels in words."""
        return LEVEL_WORDS if self.raw else "auto, or a density above 0"

    def accepts(self, value: Any) -> bool:
        """Whether an option may be `value`."""
        return isinstance(value, Level) and (self.raw or not value.raw)

    def of_text(self, text: str) -> Any:
        """The level that a command line says; the text, where that is none."""
        try:
            return Level.parse(text)
        except GP3DError:
            return text

    def of_json(self, value: Any) -> Any:
        """The level that a request says: a number, or a text."""
        value = python_number(value)
        if type(value) in (int, float):
            value = repr(value)
        return self.of_text(value) if isinstance(value, str) else value

    def to_json(self, value: Level) -> float | str:
        """A number if it is a density, else a text."""
        return value.to_json()

    def to_text(self, value: Level) -> str:
        """What a command line says for the level."""
        return str(value)


@dataclass(frozen=True)
class TwoCorners:
    """Two corners x, y, z of a box, the first below the second in all three; or None."""

    expected: ClassVar[str] = "six numbers, the first three below the others"  # in words

    def accepts(self, value: Any) -> bool:
        """Whether an option may be `value`."""
        return value is None or (
            isinstance(value, tuple)
            and len(value) == 6
            and all(type(number) in (int, float) and abs(number) < 1e6 for number in value)
            and all(low < high for low, high in zip(value[:3], value[3:], strict=True))
        )

    def of_text(self, text: str) -> Any:
        """The corners that a command line says, between commas; the text, where that is none."""
        if text == "none":
            return None
        try:
            return tuple(float(part) for part in text.split(","))
        except ValueError:
            return text

    def of_json(self, value: Any) -> Any:
        """The corners of a list."""
        return tuple(value) if isinstance(value, list) else value

    def to_json(self, value: Corners | None) -> list[float] | None:
        """A list."""
        return None if value is None else list(value)

    def to_text(self, value: Corners | None) -> str:
        """What a command line says for the corners."""
        return "none" if value is None else ",".join(map(repr, value))


Values = Bytes | Number | OneOf | Levels | TwoCorners


def _shown(number: float) -> str:
    """The number in a few digits, or in all if it needs them."""
    short = f"{number:g}"
    return short if float(short) == number else str(number)


def expected(values: Values, null: str) -> str:
    """The values in words at a border that says `null` for None, unless it counts and says 0."""
    if not values.accepts(None):
        return values.expected
    counts = isinstance(values, Number) and values.nothing == "zero" and null != "None"
    return f"{values.expected}, or {'0' if counts else null}"
