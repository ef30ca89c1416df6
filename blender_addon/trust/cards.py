"""Report cards that `gp3d evaluate --report` has written: badge and page of a class. No bpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..class_search import ImageNetClass

FORMAT, VERSION = "gp3d-report-card", 1
_INDEX = "cards.json"


@dataclass(frozen=True)
class Card:
    """The badge of a class, maybe empty, its page, and the beginning of the SHA-256 of the model that it is of."""

    badge: str
    page: Path
    sha256: str


def card_of(folder: str, entry: ImageNetClass) -> Card | None:
    """The card of a class in the `folder` of report cards, or in its folder cards; None where there is none."""
    if not folder:
        return None
    for place in (Path(folder), Path(folder) / "cards"):
        try:
            changed = (place / _INDEX).stat().st_mtime_ns
        except OSError:
            continue
        return _cards(place, changed).get(entry.wnid) or _cards(place, changed).get(entry.name)
    return None


def complaint(folder: str) -> str:
    """Why the folder that was chosen shows no cards, one sentence; empty if it does, or none was chosen."""
    if not folder or any((place / _INDEX).is_file() for place in (Path(folder), Path(folder) / "cards")):
        return ""
    return "The folder Report Cards has no cards.json; gp3d evaluate … --report writes one"


@lru_cache(maxsize=4)
def _cards(place: Path, changed: int) -> Mapping[str, Card]:
    """Cards by WordNet id and by name; none of a file that is no report card."""
    try:
        content = json.loads((place / _INDEX).read_text(encoding="utf-8"))
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            return {}
        sha256 = str(content.get("snapshot_sha256") or "")[:12]
        found = {}
        for page, own in content["classes"].items():
            card = Card(str(own.get("badge") or ""), place / f"{Path(page).name}.html", sha256)
            found[page] = found[str(own["name"])] = card
        return found
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
