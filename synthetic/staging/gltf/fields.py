"""Values of a JSON text that may be garbled in any way: of the type and size that is wanted, or a BrokenModelError."""

from __future__ import annotations

import math
from typing import Any

from synthetic.layouts.shapenet import BrokenModelError

Json = dict[str, Any]


def garbled(key: str, value: object, wanted: str) -> BrokenModelError:
    """The error that says of a value what it should have been."""
    shown = repr(value) if isinstance(value, (int, float, str, bool, type(None))) else type(value).__name__
    return BrokenModelError(f"its glTF has {shown[:40]} for {key}, expected {wanted}")


def entries(owner: Json, key: str) -> list[Json]:
    """A list of objects, empty where it is not there."""
    value = owner.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise garbled(key, value, "a list of objects")
    return value


def entry(owner: Json, key: str) -> Json | None:
    """An object, None where it is not there."""
    value = owner.get(key)
    if value is not None and not isinstance(value, dict):
        raise garbled(key, value, "an object")
    return value


def extension(owner: Json, name: str) -> Json | None:
    """What an extension says of an object of the file, None where it says nothing."""
    return entry(entry(owner, "extensions") or {}, name)


def text(owner: Json, key: str) -> str | None:
    """A text, None where it is not there."""
    value = owner.get(key)
    if value is not None and not isinstance(value, str):
        raise garbled(key, value, "a text")
    return value


def integer(owner: Json, key: str) -> int | None:
    """A whole number from 0 on, None where it is not there."""
    value = owner.get(key)
    return None if value is None else _integer(value, key)


def required_integer(owner: Json, key: str) -> int:
    """A whole number from 0 on, which has to be there."""
    return _integer(owner.get(key), key)


def integers(owner: Json, key: str) -> list[int]:
    """A list of whole numbers from 0 on, empty where it is not there."""
    value = owner.get(key, [])
    if not isinstance(value, list):
        raise garbled(key, value, "a list of whole numbers")
    return [_integer(number, key) for number in value]


def texts(owner: Json, key: str) -> list[str]:
    """A list of texts, empty where it is not there."""
    value = owner.get(key, [])
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise garbled(key, value, "a list of texts")
    return value


def number(owner: Json, key: str, default: float) -> float:
    """A finite number."""
    return _number(owner.get(key, default), key)


def numbers(owner: Json, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """As many finite numbers as `default` has."""
    value = owner.get(key)
    if value is None:
        return default
    if not isinstance(value, list) or len(value) != len(default):
        raise garbled(key, value, f"{len(default)} numbers")
    return tuple(_number(each, key) for each in value)


def any_numbers(owner: Json, key: str) -> tuple[float, ...] | None:
    """Finite numbers, however many, None where they are not there."""
    value = owner.get(key)
    if value is not None and not isinstance(value, list):
        raise garbled(key, value, "numbers")
    return None if value is None else tuple(_number(each, key) for each in value)


def _integer(value: object, key: str) -> int:
    if isinstance(value, float) and value.is_integer():  # some writers know no whole numbers
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise garbled(key, value, "a whole number from 0 on")
    return value


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise garbled(key, value, "a number")
    if isinstance(value, int) and abs(value) > 2**1000:
        raise garbled(key, "a number of too many digits", "a number")
    if not math.isfinite(value):
        raise garbled(key, value, "a finite number")
    return float(value)
