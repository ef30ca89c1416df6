"""When a run saves and ends: what every training's configuration provides for the loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Thousands of images until a run ends, and between its reports, snapshots and checkpoints.

    max_rollbacks: how often the run may return to a checkpoint before it gives up.
    """

    kimg: float
    status_kimg: float
    snapshot_kimg: float
    checkpoint_kimg: float
    max_rollbacks: int

    @property
    def images(self) -> int:
        """Images until the run ends, at least one; `kimg` as a float may lie a hair beside that count."""
        return max(round(1000 * self.kimg), 1)
