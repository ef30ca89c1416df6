"""What the command lines of `gp3d` share: a parser whose errors are one line, and numbers with ranges."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NoReturn

from gp3d_core.errors import GP3DError


class UsageError(GP3DError):
    """A command line that cannot be read."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError with the message and where to read more."""
        raise UsageError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def number(
    kind: type[int] | type[float], low: float, high: float, *, or_zero: bool = False
) -> Callable[[str], float]:
    """Reads a number from `low` to `high`; with `or_zero` also 0."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if low <= value <= high or (or_zero and value == 0):
            return value
        noun = "a whole number" if kind is int else "a number"
        raise argparse.ArgumentTypeError(
            f"expects {noun} from {low:g} to {high:g}{', or 0' if or_zero else ''}, found {text!r}"
        )

    return read
