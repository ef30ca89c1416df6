"""Who made a model and on what terms it may be used: LIBRARY/licences.jsonl, one JSON object a line.

    {"model": "<synset>/<id>", "author": "…", "licence": "CC-BY-3.0", "source": "…", "changes": "…", "parent": ""}

`licence` is an SPDX identifier; `parent` is the model that a variant was made from, "" for one that stands for itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

LICENCES = "licences.jsonl"


class LicenceError(ValueError):
    """A licences.jsonl that cannot be read; the message says where and what was expected."""


@dataclass(frozen=True)
class Credit:
    """What is owed to whom for a model: author, SPDX identifier of the licence, where it is from, what was changed."""

    author: str
    licence: str
    source: str
    changes: str
    parent: str = ""


def licence_lines(credits: Mapping[str, Credit]) -> str:
    """The text of a licences.jsonl of models by key, sorted."""
    return "".join(
        json.dumps({"model": key, **asdict(credit)}, ensure_ascii=False) + "\n"
        for key, credit in sorted(credits.items())
    )


def read_licences(library: Path) -> dict[str, Credit]:
    """The credit of every model of a library by its key, empty where it has no licences.jsonl.

    Raises LicenceError with the line that is not as expected.
    """
    path = library / LICENCES
    if not path.exists():
        return {}
    found: dict[str, Credit] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            texts = {key: entry[key] for key in ("model", "author", "licence", "source", "changes")}
            texts["parent"] = entry.get("parent", "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            texts = {"model": None}
        if not all(isinstance(text, str) for text in texts.values()):
            raise LicenceError(
                f"{path}, line {number}: expected an object with the texts model, author, licence, source and changes"
            )
        found[texts.pop("model")] = Credit(**texts)
    return found
