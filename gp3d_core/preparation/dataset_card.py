"""The card of a data set: where it came from, under which licences, and what was done to it.

`card.json` is for programs, `README.md` beside it says the same to people. Neither holds a time or a machine's name:
the same data give the same card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json, write_text
from gp3d_core.errors import GP3DError

CARD, PAGE = "card.json", "README.md"
UNSTATED = "not stated"
_FORMAT, _VERSION = "gp3d-card", 1


class CardError(GP3DError):
    """A card that is none."""


def empty_card(title: str, license: str = UNSTATED) -> dict[str, Any]:
    """A card without a step; `license` is that of the pictures, in words."""
    return {"format": _FORMAT, "version": _VERSION, "title": title, "license": license, "steps": []}


def read_card(folder: Path) -> dict[str, Any]:
    """The card of the data set in `folder`, an empty one where there is none; CardError for a damaged one."""
    path = folder / CARD
    if not path.exists():
        return empty_card(folder.resolve().name)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CardError(f"{path} is not valid JSON ({error}); remove it, it is written anew") from error
    right = isinstance(card, dict) and (card.get("format"), card.get("version")) == (_FORMAT, _VERSION)
    if not right or not isinstance(card.get("steps"), list):
        raise CardError(f"{path}: expected {_FORMAT} version {_VERSION}; remove it, it is written anew")
    return card


def record_step(folder: Path, step: str, facts: Mapping[str, Any]) -> None:
    """Writes into the card of `folder` that `step` ("pack", "depth", …) was done; it replaces that step's entry.

    facts: what JSON can hold, by name in words ("model", "license", "settings", …).
    """
    card = read_card(folder)
    others = [entry for entry in card["steps"] if entry.get("step") != step]
    save_card(folder, card | {"steps": [*others, {"step": step, **facts}]})


def save_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes both faces of the card."""
    write_json(folder / CARD, card)
    write_text(folder / PAGE, _page(card))


def _page(card: Mapping[str, Any]) -> str:
    """The card as Markdown."""
    lines = [
        f"# {card['title']}",
        "",
        "A data set for GP3D.",
        "",
        f"Licence of the pictures: {card['license']}",
    ]
    for entry in card["steps"]:
        lines += ["", f"## {str(entry.get('step', '')).capitalize()}", ""]
        lines += [line for key, value in entry.items() if key != "step" for line in _said(key, value, "")]
    return "\n".join(lines) + "\n"


def _said(key: str, value: Any, indent: str) -> list[str]:
    """A fact as a list item; the facts of a mapping as items below it; nothing of what was not given."""
    if value is None:
        return []
    name = key.replace("_", " ")
    if isinstance(value, Mapping):
        return [f"{indent}- {name}:", *(x for k, v in value.items() for x in _said(k, v, indent + "  "))]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"{indent}- {name}: {' '.join(text.split())}"]
