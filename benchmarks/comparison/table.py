"""The table of a comparison: JSON lines with all facts, and Markdown to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from gp3d_core.atomic import write_text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure over one set of classes: a value for each snapshot, and that of real models, where there is one.

    `better` says in a word what is: lower, higher, a number, or nothing. `floors` are the real models' values for each
    snapshot where they differ, as their classes do.
    """

    measure: str
    scope: str
    better: str
    values: Mapping[str, float | None]
    floors: Mapping[str, float | None] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def mean_of(per_class: Mapping[str, float], names: Sequence[str]) -> float | None:
    """The mean over those of the classes `names` that were measured; None without any."""
    found = [per_class[name] for name in names if name in per_class]
    return fmean(found) if found else None


def write_table(rows: Sequence[Row], names: Sequence[str], head: str, out: Path) -> Path:
    """Writes OUT/comparison.jsonl and OUT/comparison.md, whose path is returned."""
    lines = [json.dumps(vars(row), default=dict) for row in rows]
    write_text(out / "comparison.jsonl", "".join(f"{line}\n" for line in lines))
    titles = ["measure", "classes", "better", *names, "real models"]
    body = [
        [row.measure, row.scope, row.better, *(_shown(row.values.get(name)) for name in names), _floor(row)]
        for row in rows
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles), *body))
    path = out / "comparison.md"
    write_text(path, f"{head}\n\n{table}\n")
    return path


def _floor(row: Row) -> str:
    """What real models get: one number where it is the same for all snapshots."""
    shown = list(dict.fromkeys(_shown(value) for value in row.floors.values()))
    return " / ".join(shown) if shown else "–"


def _shown(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"
