"""The pages of a report card: one for each class with its badge, figures and picture, and an index; no scripts.

cards/index.html  all classes with their badges     cards/cards.json  the same for programs, the add-on among them
cards/<id>.html   a class, its picture inside       cards/<id>.svg    its badge
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json, write_text
from gp3d_core.evaluation.report.folder import EvaluationFolder
from gp3d_core.evaluation.report.page import STYLE
from gp3d_core.evaluation.report.paper import shown
from gp3d_core.evaluation.reportcard.badge import badge_svg, geometry_badge, reasons_against
from gp3d_core.metrics.score import Score
from gp3d_core.pretrained.report_cards import FORMAT, VERSION
from gp3d_core.snapshots.export import Badge, Measures
from gp3d_core.strict_json import finite

FOLDER = "cards"
_KEY = ("card/never_seen", "card/disagreement", "card/thin_parts", "card/watertight")
_STARTS = ("card/", "geometry/", "recognition")
_ORDER: tuple[Badge | None, ...] = ("good", "fair", "rough", None)


@dataclass(frozen=True)
class _Class:
    """A class as its page shows it; `words` say what each measure is."""

    name: str
    page: str
    measures: Measures
    words: Mapping[str, str]

    @property
    def badge(self) -> Badge | None:
        return geometry_badge(self.measures)


def write_cards(folder: EvaluationFolder) -> Path | None:
    """Writes the pages of all classes whose cards are measured; the index, or None if there are none."""
    scores = folder.scores()
    pages = next((score.facts["pages"] for score in scores if score.metric.startswith("card/")), None)
    if pages is None:
        return None
    place = folder.path / FOLDER
    classes = [_of(name, page, scores) for name, page in pages.items()]
    about = folder.about | _sizes(scores)
    for one in classes:
        write_text(place / f"{one.page}.svg", badge_svg(one.badge))
        picture = place / f"{one.page}.png"
        content = base64.b64encode(picture.read_bytes()).decode() if picture.is_file() else ""
        image = f"data:image/png;base64,{content}" if content else ""
        write_text(place / f"{one.page}.html", _page(one, image, about))
    write_text(place / "index.html", _index(classes, about))
    write_json(place / "cards.json", finite(_record(classes, about)))
    return place / "index.html"


def _of(name: str, page: str, scores: Sequence[Score]) -> _Class:
    measures: Measures = {}
    words = {}
    for score in scores:
        value = (score.facts.get("per_class") or {}).get(name)
        if (
            not score.metric.startswith(_STARTS)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            continue
        real = (score.facts.get("floor_per_class") or {}).get(name)
        known = {"real": float(real)} if isinstance(real, int | float) and math.isfinite(real) else {}
        measures[score.metric] = {"value": float(value), **known}
        words[score.metric] = str(score.facts.get("what", ""))
    return _Class(name, page, measures, words)


def write_copy(folder: EvaluationFolder, out: Path, pictures: Collection[str], sha256: str) -> int:
    """Writes the cards of an evaluation into `out` as a model brings them; returns how many there are.

    They are of the weights with this `sha256`. `pictures` are the ids of those whose picture lies in `out` as a webp.
    """
    scores = folder.scores()
    pages: dict[str, str] = next(
        (score.facts["pages"] for score in scores if score.metric.startswith("card/")), {}
    )
    classes = [_of(name, page, scores) for name, page in pages.items()]
    about = folder.about | _sizes(scores)
    for one in classes:
        image = f"{one.page}.webp" if one.page in pictures else ""
        write_text(out / f"{one.page}.html", _page(one, image, about))
    write_text(out / "index.html", _index(classes, about))
    record = _record(classes, about) | {"weights_sha256": sha256}
    del record["snapshot_sha256"]  # changes with badges and licences, which stand in the header of the file
    write_json(out / "cards.json", _rounded(record))
    return len(classes)


def _sizes(scores: Sequence[Score]) -> dict[str, Any]:
    """How finely was measured."""
    facts = next((score.facts for score in scores if score.metric.startswith("card/")), {})
    return {key: facts[key] for key in ("objects_a_class", "grid", "pixels") if key in facts}


def _rounded(value: Any) -> Any:
    """The record with its numbers to four digits after the point, None for those that are not finite."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _record(classes: Sequence[_Class], about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        **{key: about[key] for key in ("snapshot", "snapshot_sha256", "dataset") if key in about},
        "classes": {
            one.page: {"name": one.name, "badge": one.badge, "measures": one.measures} for one in classes
        },
    }


def _page(one: _Class, picture: str, about: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(_title(metric))}</td><td class=number>{shown(own['value'])}</td>"
        f"<td class=number>{shown(own.get('real'), '–')}</td><td class=facts>{escape(one.words[metric])}</td></tr>"
        for metric, own in one.measures.items()
    )
    image = f'<p><img alt="{escape(one.name)}" src="{picture}"></p>' if picture else ""
    body = f"""<p><a href="index.html">All classes</a></p>
<h1>{escape(one.name)}</h1>
<p>{badge_svg(one.badge)}</p>
{_reasons(one)}
{image}
<table><tr><th>measure</th><th>value</th><th>real models</th><th>what it is</th></tr>
{rows}
</table>
{_footer(about)}"""
    return _document(f"{one.name}: report card", body)


def _reasons(one: _Class) -> str:
    """Why the badge is no better, in words."""
    if one.badge is None:
        return "<p>No badge: its silhouettes were not compared with real views (metric geometry).</p>"
    against = reasons_against(one.measures, "fair" if one.badge == "rough" else "good")
    if not against:
        return ""
    better = "fair" if one.badge == "rough" else "good"
    return f"<p>Not {better}: {escape('; '.join(against))}.</p>"


def _index(classes: Sequence[_Class], about: Mapping[str, Any]) -> str:
    ranked = sorted(classes, key=lambda one: (_ORDER.index(one.badge), one.name))
    head = "".join(f"<th>{escape(_title(metric))}</th>" for metric in _KEY)
    rows = "".join(
        f'<tr><td><a href="{one.page}.html">{escape(one.name)}</a></td><td>{badge_svg(one.badge)}</td>'
        + "".join(
            f"<td class=number>{shown(one.measures.get(metric, {}).get('value'))}</td>" for metric in _KEY
        )
        + "</tr>"
        for one in ranked
    )
    counts = ", ".join(
        f"{sum(one.badge == badge for one in classes)} {badge or 'without a badge'}"
        for badge in _ORDER
        if any(one.badge == badge for one in classes)
    )
    body = f"""<h1>Report card: {escape(str(about.get("snapshot")))}</h1>
<p>{len(classes)} classes: {escape(counts)}.</p>
<table><tr><th>class</th><th>badge</th>{head}</tr>
{rows}
</table>
{_footer(about)}"""
    return _document("Report card", body)


def _footer(about: Mapping[str, Any]) -> str:
    parts = [
        f"{key.replace('_', ' ')} {about[key]}"
        for key in ("snapshot", "dataset", "seed", "truncation", "objects_a_class", "grid", "pixels")
        if key in about
    ]
    sha = str(about.get("snapshot_sha256", ""))[:12]
    parts += [f"SHA-256 {sha}"] if sha else []
    return f"<p class=facts>{escape(', '.join(parts))}; docs/evaluation.md says what is measured and how.</p>"


def _title(metric: str) -> str:
    return metric.partition("/")[2].replace("_", " ") or metric


def _document(title: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>
{body}
</body></html>
"""
