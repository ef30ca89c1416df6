"""Faces and a texture size whose files fit: found by writing them, for nothing else tells how large they are.

Both shrink together: with a share s of the texels there is the share s of the faces, so that detail of shape and
of colour keep their proportion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gp3d_core.errors import GP3DError

FEWEST_FACES = 100
SMALLEST_TEXTURE = 32
_STEP = 16  # texels: an edge is a multiple of it
_TRIES = 8
_GOOD = 0.93  # of the budget: no further try is worth its time


class BudgetError(GP3DError):
    """A size that no mesh meets; the message says how small it gets."""


@dataclass(frozen=True)
class Plan:
    """Faces, at most, of a mesh, and texels along an edge of its texture, 0 without one; `fewest` faces are enough."""

    faces: int
    texture_size: int
    fewest: int = FEWEST_FACES

    def at(self, share: float) -> Plan:
        """The plan with a `share` of the faces and texels, from 0 to 1."""
        edge = self.texture_size * math.sqrt(share)
        return Plan(
            max(min(self.fewest, self.faces), round(self.faces * share)),
            max(min(SMALLEST_TEXTURE, self.texture_size), int(edge / _STEP) * _STEP),
            self.fewest,
        )


def fit(plan: Plan, budget: int, measure: Callable[[Plan], int]) -> Plan:
    """The plan with the most faces and texels, up to those of `plan`, that is found to fit.

    `measure` makes a plan's files and returns their bytes; it is asked at most ten times. Raises BudgetError where the
    smallest plan exceeds the `budget`.
    """
    size = measure(plan)
    if size <= budget:
        return plan
    low, low_plan = 0.0, plan.at(0.0)
    low_size = measure(low_plan)
    if low_size > budget:
        raise BudgetError(
            f"`max_size` {in_words(budget)}: no mesh is so small; the smallest, {low_plan.faces} faces"
            + f" with a texture of {low_plan.texture_size}" * bool(low_plan.texture_size)
            + f", takes {in_words(low_size)}"
        )
    high, high_size = 1.0, size
    for _ in range(_TRIES):
        share = _between(low, low_size, high, high_size, budget)
        tried = plan.at(share)
        if tried in (low_plan, plan.at(high)):
            break
        size = measure(tried)
        if size > budget:
            high, high_size = share, size
            continue
        low, low_plan, low_size = share, tried, size
        if size >= _GOOD * budget:
            break
    return low_plan


def _between(low: float, low_size: int, high: float, high_size: int, budget: int) -> float:
    """Where a line through both sizes meets nearly the budget, kept away from both ends."""
    along = (0.97 * budget - low_size) / (high_size - low_size)
    return low + min(max(along, 0.1), 0.9) * (high - low)


def in_words(size: int) -> str:
    """Bytes as an option says them: 500k, 2.4M."""
    if size < 1000:
        return str(size)
    value, unit = (size / 1e6, "M") if size >= 999_950 else (size / 1e3, "k")
    return f"{value:.3g}{unit}" if value < 100 else f"{value:.0f}{unit}"
