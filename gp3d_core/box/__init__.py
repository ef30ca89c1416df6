"""The model in the box: GP3D brings one of its own, for all that is made without naming a snapshot.

`model.safetensors` beside this file is an ordinary snapshot in half precision (docs/snapshot.md, docs/model-card.md).
"""

from __future__ import annotations

from pathlib import Path

from gp3d_core.errors import GP3DError

NAME = "box"  # what recipes and the worker call it: it is another file on every machine
_FILE = Path(__file__).resolve().with_name("model.safetensors")


class BoxError(GP3DError):
    """The model in the box is not there; the message says what to do."""


def box_path() -> Path:
    """Where the model lies. Raises BoxError if it is not there."""
    if not _FILE.is_file():
        raise BoxError(
            f"the model in the box is not at {_FILE}: install gp3d again, or name a snapshot or run folder"
        )
    return _FILE


def has_box() -> bool:
    """Whether the model is there."""
    return _FILE.is_file()


def name_of(snapshot: Path) -> str:
    """What the snapshot at this path is called on every machine: "box", or the name of its file."""
    return NAME if snapshot.resolve() == _FILE else snapshot.name
