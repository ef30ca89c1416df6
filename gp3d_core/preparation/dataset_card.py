"""The card of a data set: where it came from, under which licences, and what was done to it.

`card.json` is for programs, `README.md` beside it says the same to people. Neither holds a time or a machine's name:
the same data give the same card.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gp3d_core.atomic import write_json, write_text
from gp3d_core.datasets.archive import Archive
from gp3d_core.datasets.dataset import Dataset
from gp3d_core.errors import GP3DError
from gp3d_core.licences.page import escaped, licence_lines
from gp3d_core.licences.parts import clean

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
    return _checked(path.read_bytes(), str(path))


def _checked(content: bytes, where: str) -> dict[str, Any]:
    """The card in the content of a file that lies at `where`."""
    try:
        card = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CardError(f"{where} is not valid JSON ({error}); remove it, it is written anew") from error
    right = isinstance(card, dict) and (card.get("format"), card.get("version")) == (_FORMAT, _VERSION)
    steps = card.get("steps") if right else None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CardError(f"{where}: expected {_FORMAT} version {_VERSION}; remove it, it is written anew")
    return dict(card)


def record_step(folder: Path, step: str, facts: Mapping[str, Any]) -> None:
    """Writes into the card of `folder` that `step` ("pack", "depth", …) was done; it replaces that step's entry.

    facts: what JSON can hold, by name in words ("model", "license", "settings", …).
    """
    card, done = read_card(folder), {"step": step, **facts}
    others = [entry for entry in card["steps"] if entry.get("step") != step]
    save_card(folder, card if done in card["steps"] else card | {"steps": [*others, done]})


def save_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Writes both faces of the card."""
    write_json(folder / CARD, card)
    write_text(folder / PAGE, _page(card))


def page_of(path: Path) -> str:
    """The card of the data set at `path`, a folder or zip, as Markdown, with what is in it and what is owed to whom.

    Raises DatasetError for no data set, CardError for a damaged card.
    """
    dataset = Dataset(path, needs_depth=False)
    card = _stored_card(dataset.archive)
    license = dataset.license or card["license"]
    content = ["## What is in it", "", *_content(dataset), "", "## What is owed to whom", ""]
    return _page({**card, "license": license}, [*content, *licence_lines(dataset.licences)])


def _stored_card(archive: Archive) -> dict[str, Any]:
    if archive.path.is_dir():
        return read_card(archive.path)
    if CARD not in archive.sizes:
        return empty_card(archive.path.stem)
    return _checked(archive.read(CARD), f"{archive.path}/{CARD}")


def _content(dataset: Dataset) -> list[str]:
    """What a data set holds, as lines of Markdown: images, depth, cameras, and the images of each class."""
    flat = len(dataset.without_depth)
    depth = {0: "all with depth", len(dataset): "without depth"}.get(flat, f"{flat} of them without depth")
    cameras = "known" if dataset.angles is not None else "not known"
    lines = [f"- {len(dataset)} images of {dataset.resolution} px, {depth}", f"- cameras: {cameras}"]
    if masked := len(dataset) - len(dataset.without_mask):
        lines.append(f"- subject masks: {masked} of {len(dataset)}")
    if dataset.classes:
        counts = Counter(dataset.labels.tolist())
        lines += ["", "| class | WordNet | images |", "|---|---|---|"]
        for label, record in enumerate(dataset.classes):
            name, wnid = (escaped(clean(str(record.get(key) or "–"), 200)) for key in ("name", "wnid"))
            lines.append(f"| {name} | {wnid} | {counts[label]} |")
    return lines


def _page(card: Mapping[str, Any], more: Sequence[str] = ()) -> str:
    """The card as Markdown, with `more` lines before its steps."""
    title, license = (escaped(clean(str(card.get(key, "")), 1000)) for key in ("title", "license"))
    lines = [f"# {title}", "", "A data set for GP3D.", "", f"Licence of the pictures: {license}"]
    lines += ["", *more] if more else []
    for entry in card["steps"]:
        lines += ["", f"## {escaped(clean(str(entry.get('step', '')), 100)).capitalize()}", ""]
        lines += [line for key, value in entry.items() if key != "step" for line in _said(key, value, "")]
    return "\n".join(lines) + "\n"


def _said(key: str, value: Any, indent: str) -> list[str]:
    """A fact as a list item; the facts of a mapping as items below it; nothing of what was not given."""
    if value is None:
        return []
    name = escaped(clean(key.replace("_", " "), 200))
    if isinstance(value, Mapping):
        return [f"{indent}- {name}:", *(x for k, v in value.items() for x in _said(k, v, indent + "  "))]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"{indent}- {name}: {escaped(' '.join(text.split()))}"]
