"""Scores that are known class by class, as one HTML table: a row a class, a column a score, the floor in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from gp3d_core.evaluation.report.paper import shown
from gp3d_core.metrics.score import Score

BY_CLASS = ("per_class", "floor_per_class")
"""The facts that the table shows."""


def class_table(scores: Sequence[Score]) -> str:
    """The table of the scores that have classes; nothing if none has."""
    known = [score for score in scores if score.facts.get("per_class")]
    classes = list(dict.fromkeys(name for score in known for name in score.facts["per_class"]))
    if not classes:
        return ""
    head = "".join(f"<th>{escape(score.metric.replace('_', ' '))}</th>" for score in known)
    rows = [_row("mean", [_cell(score.value, score.facts.get("floor")) for score in known])]
    rows += [_row(name, [_of_class(score, name) for score in known]) for name in classes]
    body = f"<tr><th></th>{head}</tr>{''.join(rows)}"
    return f"<h2>By class</h2>\n<p>In brackets: the same of real ones.</p>\n<table>{body}</table>"


def _of_class(score: Score, name: str) -> str:
    return _cell(score.facts["per_class"].get(name), score.facts.get("floor_per_class", {}).get(name))


def _row(title: str, cells: Sequence[str]) -> str:
    return f"<tr><td>{escape(title)}</td>{''.join(f'<td class=number>{cell}</td>' for cell in cells)}</tr>"


def _cell(value: Any, floor: Any) -> str:
    own = shown(value, "–")
    return own if floor is None else f"{own} ({shown(floor)})"
