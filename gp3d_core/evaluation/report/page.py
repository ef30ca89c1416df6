"""The report: one HTML page with every score, what it rests on, and pictures; it needs no other file."""

from __future__ import annotations

import base64
import math
from html import escape
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_text
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.report.paper import FILES, NOTHING, paper_table
from gp3d_core.evaluation.report.tables import BY_CLASS, class_table
from gp3d_core.metrics.score import Score

STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.facts { font-size: 85%; color: #555 }
img { max-width: 100%; border: 1px solid #ddd }
"""


def write_report(folder: EvaluationFolder) -> None:
    """Writes report.html from what the folder keeps: scores, and pictures by name, captioned by it.

    Beside it are written the tables of the scores for papers.
    """
    scores = folder.scores()
    shared = _shared_facts(scores)
    rows = "\n".join(_row(score, shared) for score in scores)
    pictures = "\n".join(_picture(path) for path in folder.pictures)
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>GP3D evaluation</title><style>{STYLE}</style></head><body>
<h1>{escape(_title(folder.about))}</h1>
{_facts_table(_about(folder.about) | shared)}
<h2>Scores</h2>
<table><tr><th>score</th><th>value</th><th>samples</th><th>what it rests on</th></tr>
{rows}
</table>
{class_table(scores)}
{_cards(folder)}
<h2>Pictures</h2>
{pictures}
</body></html>
"""
    write_text(folder.report, page)
    for kind, name in FILES.items():
        write_text(folder.path / name, paper_table(scores, kind))


def _cards(folder: EvaluationFolder) -> str:
    """A link to the report cards of classes, if there are any."""
    if not (folder.path / "cards" / "index.html").is_file():
        return ""
    return '<h2>Report cards</h2>\n<p><a href="cards/index.html">A page for every class</a></p>'


def _title(about: dict[str, Any]) -> str:
    subject, reference = (
        about.get("snapshot") or about.get("meshes"),
        about.get("dataset") or about.get("truth"),
    )
    return f"{subject} against {reference}"


def _about(about: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in about.items() if key not in ("format", "version")}


def _shared_facts(scores: list[Score]) -> dict[str, Any]:
    """Facts that all scores have in common, written once."""
    if len(scores) < 2:
        return {}
    first, *others = (score.facts for score in scores)
    return {
        key: value
        for key, value in first.items()
        if all(key in facts and facts[key] == value for facts in others)
    }


def _row(score: Score, shared: dict[str, Any]) -> str:
    own = {key: value for key, value in score.facts.items() if key not in shared and key not in BY_CLASS}
    facts = "<br>".join(f"{escape(_words(key))}: {escape(_text(value))}" for key, value in own.items())
    return (
        f"<tr><td>{escape(score.metric)}</td><td class=number>{escape(_text(score.value))}</td>"
        f"<td class=number>{score.n}</td><td class=facts>{facts}</td></tr>"
    )


def _facts_table(facts: dict[str, Any]) -> str:
    rows = (f"<tr><td>{escape(_words(key))}</td><td>{escape(_text(facts[key]))}</td></tr>" for key in facts)
    return f"<table>{''.join(rows)}</table>"


def _picture(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    title = escape(_words(path.stem))
    return f'<h3>{title}</h3><p><img alt="{title}" src="data:image/png;base64,{content}"></p>'


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else NOTHING
    if isinstance(value, dict):
        return ", ".join(f"{_words(str(key))} {_text(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_text(entry) for entry in value)
    return "not a number" if value is None else str(value)
