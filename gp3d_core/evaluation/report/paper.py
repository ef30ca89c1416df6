"""Scores as a table that can be pasted into a paper, in LaTeX or Markdown: a row a class, a column a score."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gp3d_core.metrics.score import Score

FORMATS = ("latex", "markdown")
FILES = {"latex": "table.tex", "markdown": "table.md"}
NOTHING = "n/a"
_BETTER = {  # what is said of the columns whose direction everybody agrees on
    "lower": ("fid", "kid", "fpd", "mmd", "dcd", "geometry/depth_error", "geometry/normal_error"),
    "higher": (
        "is",
        "pr/",
        "coverage",
        "normal_concordance",
        "f-score@",
        "recognition",
        "mesh/watertight",
        "mesh/one_piece",
        "mesh/normal_consistency",
        "geometry/silhouette_iou",
        "geometry/completeness",
        "geometry/consistency",
    ),
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|~$])")


def paper_table(scores: Sequence[Score], kind: str) -> str:
    """The table of the scores, "latex" (of the package booktabs) or "markdown", with a line on what it rests on.

    Rows: the mean over classes, the same of real models (the floor), a perfect copy where scores know it, and every
    class. Numbers have three digits; what is not known is n/a. ValueError for another kind.
    """
    if kind not in FORMATS:
        raise ValueError(f"expected one of {', '.join(FORMATS)}, found {kind!r}")
    rows = _rows(scores)
    return _latex(scores, rows) if kind == "latex" else _markdown(scores, rows)


def shown(value: Any, nothing: str = NOTHING) -> str:
    """A number with three digits, or `nothing` where it is not known."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return f"{value:.3g}" if known else nothing


def latex_text(text: str) -> str:
    """`text` as LaTeX prints it, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def markdown_text(text: str) -> str:
    """`text` as Markdown shows it, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _rows(scores: Sequence[Score]) -> list[tuple[str, list[str], bool]]:
    """Title and cells of each row, and whether the title is a class's name."""
    rows = [("mean", [shown(score.value) for score in scores], False)]
    for title, key in (("real models", "floor"), ("perfect copy", "copy")):
        if any(score.facts.get(key) is not None for score in scores):
            rows.append((title, [shown(score.facts.get(key)) for score in scores], False))
    per_class: list[Mapping[str, Any]] = [score.facts.get("per_class") or {} for score in scores]
    for name in dict.fromkeys(name for values in per_class for name in values):
        rows.append((name, [shown(values.get(name)) for values in per_class], True))
    return rows


def _latex(scores: Sequence[Score], rows: Sequence[tuple[str, list[str], bool]]) -> str:
    arrows = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "": ""}
    head = " & ".join(["", *(_title(score, latex_text, arrows) for score in scores)])
    lines = [f"% {line}" for line in _notes(scores)]
    lines += [rf"\begin{{tabular}}{{l{'r' * len(scores)}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    above = False
    for title, cells, is_class in rows:
        if is_class and not above:
            lines.append(r"\midrule")
        above = is_class
        lines.append(" & ".join([latex_text(title), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _markdown(scores: Sequence[Score], rows: Sequence[tuple[str, list[str], bool]]) -> str:
    arrows = {"lower": " ↓", "higher": " ↑", "": ""}
    head = ["", *(_title(score, markdown_text, arrows) for score in scores)]
    lines = [_cells(head), _cells(["---", *("---:" for _ in scores)])]
    lines += [
        _cells([markdown_text(title) if is_class else f"*{title}*", *cells])
        for title, cells, is_class in rows
    ]
    return "\n".join([*lines, "", *(markdown_text(line) for line in _notes(scores)), ""])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _title(score: Score, escape: Callable[[str], str], arrows: Mapping[str, str]) -> str:
    better = next((way for way, starts in _BETTER.items() if score.metric.startswith(starts)), "")
    return escape(score.metric.replace("_", " ")) + arrows[better]


def _notes(scores: Sequence[Score]) -> list[str]:
    """What the figures rest on, a line each, in plain words."""
    counts = sorted({score.n for score in scores})
    notes = [f"Samples: {', '.join(map(str, counts))}."]
    for key in ("reference", "distance", "points", "alpha", "truncation", "seed"):
        found = list(dict.fromkeys(str(score.facts[key]) for score in scores if key in score.facts))
        notes += [f"{key.capitalize()}: {'; '.join(found)}."] if found else []
    return [" ".join(note.split()) for note in notes]
