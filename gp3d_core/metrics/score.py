"""One score: the line of metrics.jsonl that every metric ends in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number and what must be known to quote it.

    `metric` is its name with a path for parts ("fid2k", "fpd", "geometry/completeness"), `n` the number of generated
    samples it rests on, `facts` JSON values: network, cameras, truncation, reference and its size, class, seed, ...
    """

    metric: str
    value: float
    n: int
    facts: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The line of metrics.jsonl as a JSON object."""
        return asdict(self)
