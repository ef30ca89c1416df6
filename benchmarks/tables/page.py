"""The table as Markdown and CSV: our scores and the paper's side by side, never of the same network and data."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.tables.measures import SCORES, Outcome
from benchmarks.tables.paper import Figures
from benchmarks.tables.rows import Row
from benchmarks.tables.signs import comparisons, signs_table
from gp3d_core.atomic import replacing, write_text

_NONE = "–"


@dataclass(frozen=True)
class Setting:
    """What a table was made with: its number, a sentence about data and budget, and the distance of real halves."""

    table: int
    about: str
    floor: float


def write_table(
    out: Path,
    setting: Setting,
    rows: Sequence[Row],
    outcomes: Sequence[Outcome],
    paper: Figures,
    pairs: Sequence[tuple[str, str]],
) -> Path:
    """Writes OUT/tableN.md and .csv; returns the former."""
    lines = table_lines(rows, outcomes, paper)
    name = f"table{setting.table}"
    with replacing(out / f"{name}.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    reasons = "".join(f"* {row.title}: quoted; {row.reason}.\n" for row in rows if row.kind == "quoted")
    text = (
        f"# Table {setting.table}\n\n{setting.about}\n\nOur numbers and the paper's are of other data, sizes and "
        "feature networks: compare orders, not digits. Two halves of the real pictures are "
        f"{figure(setting.floor)} apart.\n\n"
        f"{markdown(lines)}\n{reasons}\n## Orders\n\n{signs_table(comparisons(pairs, outcomes, paper), rows)}\n"
        f"## How far\n\n{progress(outcomes)}\n![samples]({name}.png)\n\n![curves]({name}-curves.png)\n"
    )
    write_text(out / f"{name}.md", text)
    return out / f"{name}.md"


def table_lines(rows: Sequence[Row], outcomes: Sequence[Outcome], paper: Figures) -> list[list[str]]:
    """The head, then a line a row: how it came about, images seen, our scores (seeds with slashes), the paper's."""
    extra = dict.fromkeys(name for outcome in outcomes for name in outcome.scores if name not in SCORES)
    ours = [name for name in SCORES if any(name in o.scores for o in outcomes)]
    ours += [name for name in extra if "/" not in name and name in ("coverage", "mmd")]
    ours += [name for name in extra if name in ("nfs/frontal", "geometry/completeness", "geometry/accuracy")]
    theirs = list(dict.fromkeys(name for figures in paper.values() for name in figures))
    head = ["row", "how", "images seen", *ours, *(f"paper: {name}" for name in theirs)]
    lines = [head]
    for row in rows:
        own = [outcome for outcome in outcomes if outcome.row.key == row.key]
        how = row.kind if own or row.kind == "quoted" else "not measured"
        seen = "/".join(dict.fromkeys(str(outcome.images) for outcome in own)) or _NONE
        values = [_number([o.scores[name] for o in own if name in o.scores]) for name in ours]
        figures = paper.get(row.key, {})
        quoted = [f"{figures[name]:g}" if name in figures else _NONE for name in theirs]
        lines.append([row.title, f"*{how}*" if how == "quoted" else how, seen, *values, *quoted])
    return lines


def _number(values: Sequence[float]) -> str:
    return " / ".join(map(figure, values)) or _NONE


def figure(value: float) -> str:
    """Four digits, or all before the point where there are more."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the head first."""
    rule = ["---" for _ in lines[0]]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:])) + "\n"


def progress(outcomes: Sequence[Outcome]) -> str:
    """How each run got on: the Fréchet distance of the first and the last round, time, parameters, roll-backs."""
    head = ["row", "seed", "first fid", "last fid", "last / first", "training s", "images/s", "parameters"]
    lines = [[*head, "roll-backs"]]
    for outcome in outcomes:
        if not outcome.curve:
            continue
        first, last = outcome.curve[min(outcome.curve)], outcome.curve[max(outcome.curve)]
        speed = outcome.trained / outcome.seconds if outcome.seconds else math.nan
        cells = [
            figure(first),
            figure(last),
            f"{last / first:.2f}",
            f"{outcome.seconds:.0f}",
            f"{speed:.3g}",
        ]
        size = f"{outcome.parameters:,}"
        lines.append([outcome.row.title, str(outcome.seed), *cells, size, str(outcome.rollbacks)])
    return markdown(lines)


def mean_curve(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """The mean over seeds of the Fréchet distance by images seen, where all seeds have it."""
    common = set.intersection(*(set(o.curve) for o in outcomes)) if outcomes else set()
    return {images: fmean(o.curve[images] for o in outcomes) for images in sorted(common)}
