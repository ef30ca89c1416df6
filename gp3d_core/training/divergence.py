"""Recognises a run that diverges, early enough that going back to the last checkpoint helps."""

from __future__ import annotations

import math
from collections.abc import Mapping

SCORE_LIMIT = 200.0  # healthy logits stay below about 20
PATIENCE = 3  # steps in a row that may be skipped for gradients that overflow half precision


class DivergenceGuard:
    """Judges step after step; remembers only how many steps in a row had to be skipped."""

    def __init__(self, skipped_in_a_row: int = 0) -> None:
        """A guard that has seen so many skipped steps last."""
        self.skipped_in_a_row = skipped_in_a_row

    def judge(self, log: Mapping[str, float], *, skipped: bool) -> str | None:
        """What is wrong after a step with these numbers, in a few words; None while training may go on.

        `skipped` says that the step's gradients were not finite and no weights were changed.
        """
        for name, value in log.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        if log.get("scores/largest", 0.0) > SCORE_LIMIT:
            return f"scores exploded to {log['scores/largest']:.0f}"
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
        if self.skipped_in_a_row >= PATIENCE:
            return f"gradients were not finite {PATIENCE} steps in a row"
        return None
