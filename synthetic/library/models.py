"""What every source of models yields, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import ObjectClass
from synthetic.staging.surface import Surface


@dataclass(frozen=True)
class LibraryModel:
    """A model ready to be written: its surface in our world frame (y up, front +z), of any size and place.

    Textures of the materials are 8-bit PNGs in the workspace that its job was given. `tags` say more of it in its
    classes.json record, such as the size in metres.
    """

    surface: Surface
    credit: Credit
    tags: dict[str, object]


@dataclass(frozen=True)
class LibraryJob:
    """A model that can be made: its name (one of a class folder's), its class, and what makes it in a workspace.

    `make` raises BrokenModelError with the reason in one sentence.
    """

    identifier: str
    object_class: ObjectClass
    make: Callable[[Path], LibraryModel]
