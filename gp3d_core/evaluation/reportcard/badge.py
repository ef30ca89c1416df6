"""The badge of a class's geometry: one word by a rule that stands here, the reasons, and a picture of it.

`good` asks that silhouettes and depth are as near to real views as `gp3d ship` asks for its badge of that name, that
at most 15 % of the surface were never seen, that mesh and field are at most 2 % of the longest side apart, that views
have half as many thin parts as real ones, that meshes keep 90 % of those, that 95 % of the meshes are closed, and that
every object has one. `fair` asks for 35 %, 4 %, a quarter, 60 %, 50 % and three of four. All else is `rough`. What was
not measured is not asked for, except for the silhouettes: without them there is no badge. A depth error of at most
0.012 is as good as a real one, one of at most 0.023 fair, however little real models differ: those are what a tenth and
a quarter of the main model's 161 classes have among real models, and balls, which differ by 0.001 from one another,
would never be good. The limits are ours; nobody was asked how good such objects look.
"""

from __future__ import annotations

import math
from html import escape
from typing import Literal

from gp3d_core.snapshots.export import Badge, Measures, resembles_real

_MOST = {  # good, fair
    "card/never_seen": (0.15, 0.35),
    "card/disagreement": (0.02, 0.04),
    "card/no_mesh": (0.0, 0.25),
}
_LEAST = {
    "card/thin_parts": (0.5, 0.25),
    "card/thin_parts_kept": (0.9, 0.6),
    "card/watertight": (0.95, 0.5),
}
_SMALL_ERROR = {"good": 0.012, "fair": 0.023}  # of depth, world units
_COLORS = {"good": "#1a7f4f", "fair": "#b08800", "rough": "#b5400f", None: "#777777"}
_LETTER, _SIDE = 6.6, 8  # pixels


def geometry_badge(measures: Measures) -> Badge | None:
    """The badge that the measures of a class earn; None where its silhouettes were not compared with real ones."""
    if "geometry/silhouette_iou" not in measures:
        return None
    levels: tuple[Literal["good"], Literal["fair"]] = ("good", "fair")
    return next((level for level in levels if not reasons_against(measures, level)), "rough")


def reasons_against(measures: Measures, level: Literal["good", "fair"]) -> list[str]:
    """What keeps a class from the badge `level`, a line each; none if nothing does."""
    place = 0 if level == "good" else 1
    found = [] if _resembles_real(measures, level) else ["silhouettes or depth are too far from real views"]
    for limits, words, sign in ((_MOST, "more than", 1), (_LEAST, "less than", -1)):
        for metric, both in limits.items():
            value = measures.get(metric, {}).get("value", math.nan)
            if math.isfinite(value) and sign * value > sign * both[place]:
                name = metric.partition("/")[2].replace("_", " ")
                found.append(f"{name} {value:.0%}, {words} {both[place]:.0%}")
    return found


def _resembles_real(measures: Measures, level: Literal["good", "fair"]) -> bool:
    """As `gp3d ship` asks it, but that a small depth error is never too large."""
    error = measures.get("geometry/depth_error")
    small = error is not None and error["value"] <= _SMALL_ERROR[level]
    asked = {name: own for name, own in measures.items() if not (small and name == "geometry/depth_error")}
    return resembles_real(asked, level)


def badge_svg(badge: Badge | None) -> str:
    """The badge as an SVG picture: "geometry" and the word on its colour; "not measured" for None."""
    left, right = "geometry", badge or "not measured"
    first, second = (round(len(text) * _LETTER) + 2 * _SIDE for text in (left, right))
    title = escape(f"{left}: {right}")
    text = 'fill="#fff" font-family="sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<rect width="{first + second}" height="20" rx="3" fill="#444"/>'
        f'<path d="M{first} 0h{second - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{second - 3}z" fill="{_COLORS[badge]}"/>'
        f'<text x="{first / 2}" y="14" {text}>{left}</text>'
        f'<text x="{first + second / 2}" y="14" {text}>{escape(right)}</text></svg>'
    )
