"""What every source of models yields, and what is written of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import ObjectClass
from synthetic.staging.surface import Surface


@dataclass(frozen=True)
class LibraryModel:
    """A model ready to be written: its surface in our world frame (y up, front +z), of any size and place.

    Textures of the materials are 8-bit PNGs in the workspace that its job was given. Glass stays in it, as materials
    that let light through. `tags` say more of it in its classes.json record, such as the size in metres.
    """

    surface: Surface
    credit: Credit
    tags: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LibraryJob:
    """A model that can be made: its name (one of a class folder's), its class, and what makes it in a workspace.

    `make` raises BrokenModelError with the reason in one sentence; the workspace is an empty folder. `licence` is its
    SPDX identifier where that is known before the model is made, so that a model of another licence need not be.
    """

    identifier: str
    object_class: ObjectClass
    make: Callable[[Path], LibraryModel]
    licence: str = ""

    @property
    def key(self) -> str:
        """The model's key in the library: "<class folder>/<identifier>"."""
        return f"{self.object_class.synset or self.object_class.wnid[1:]}/{self.identifier}"


@dataclass(frozen=True)
class LibrarySource:
    """What a source can make, in order: jobs, and by name why other models of it cannot be made.

    `settings` decide, with the source, what every model looks like: a library is continued with the same ones only.
    `notes` are lines for people, `classes` those that it knows, though it may have nothing to make of them.
    """

    jobs: Sequence[LibraryJob]
    unusable: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
    classes: Collection[ObjectClass] = ()
