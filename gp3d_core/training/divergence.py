"""Recognises a run that diverges, early enough that going back to the last checkpoint helps."""

from __future__ import annotations

import math
from collections.abc import Mapping

# Healthy logits stay below about 20; at 200 softplus gives one player no gradient any more. A limit close
# to what is healthy would send runs back that recover by themselves.
SCORE_LIMIT = 200.0
# Gradients may overflow half precision now and then: the step is skipped, and nothing is lost. But while steps are
# skipped the weights that overflow do not move, so that waiting longer cannot help.
PATIENCE = 3


class DivergenceGuard:
    """Checks step after step; remembers only how many steps in a row had to be skipped."""

    def __init__(self, skipped_in_a_row: int = 0) -> None:
        """Starts after so many skipped steps in a row, as a checkpoint tells."""
        self.skipped_in_a_row = skipped_in_a_row

    def check_step(self, log: Mapping[str, float], *, skipped: bool) -> str | None:
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
