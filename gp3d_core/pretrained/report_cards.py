"""The geometry report cards of the models that come along, in report_cards/NAME beside this file.

cards.json     every class with its badge and measures     index.html    all classes
<id>.html      a class                                     <id>.webp     its picture

They are of a model's weights, whatever else its file says; `tools/report_cards.py` makes them (docs/evaluation.md).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gp3d_core import pretrained

FORMAT, VERSION = "gp3d-report-card", 1
_INDEX = "cards.json"
_CHUNK = 1 << 20


def folder_of(name: str) -> Path:
    """Where the report cards of the model of that name lie, if there are any."""
    return pretrained.FOLDER / "report_cards" / name


def report_cards(model: Path) -> Path | None:
    """The folder of the report cards of the model file at `model`; None where it brings none, or has other weights."""
    name = next((one.name for one in pretrained.MODELS if one.path == model.resolve()), None)
    if name is None or not (folder_of(name) / _INDEX).is_file():
        return None
    known = _read(folder_of(name)).get("weights_sha256")
    return folder_of(name) if known == weights_digest(model) else None


def card_of(model: Path, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Badge, measures and page of the class with a model's `record`; None where its geometry is not measured."""
    folder = report_cards(model)
    if folder is None:
        return None
    for page, own in _read(folder)["classes"].items():
        if page == record.get("wnid") or own["name"] == record.get("name"):
            return {"badge": own["badge"], "measures": own["measures"], "page": str(folder / f"{page}.html")}
    return None


def weights_digest(model: Path) -> str:
    """SHA-256 of the tensors of a safetensors file, whatever its header says of classes, badges and licences."""
    changed = model.stat().st_mtime_ns
    return _weights_digest(model, changed)


@lru_cache(maxsize=8)
def _weights_digest(model: Path, changed: int) -> str:
    found = hashlib.sha256()
    with model.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while part := file.read(_CHUNK):
            found.update(part)
    return found.hexdigest()


@lru_cache(maxsize=8)
def _read(folder: Path) -> dict[str, Any]:
    """What cards.json says; it comes with GP3D, so that it is not doubted."""
    content: dict[str, Any] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    return content
