"""JSON as the standard has it, which knows no NaN and no infinity: other readers refuse files that hold them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

_LONGEST_WHOLE = 300  # digits: what is longer is no float, either


def to_text(value: Any, indent: int | None = None, *, ascii_only: bool = True) -> str:
    """The JSON text of `value`; numbers that JSON cannot hold become null."""
    return json.dumps(finite(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def of_text(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for any other text.

    Such are texts with NaN, with numbers too large for Python or nested without end. Their strings may hold what
    `check_characters` refuses.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_characters(value: Any) -> None:
    """Raises ValueError if a text in a JSON value has half of a pair of surrogates: no file can be named so."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a text has half of a pair of surrogates, which is no character") from error


def finite(value: Any) -> Any:
    """`value` of JSON values with None for every number that is not finite, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    return [finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    """The number; "1e999" is JSON, and infinity to Python."""
    value = float(digits)
    if not math.isfinite(value):
        _refuse(f"{digits[:20]}, which is too large a number,")
    return value


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_WHOLE:
        _refuse(f"a number of {len(digits)} digits")
    return int(digits)
