"""Objects that a person has starred, per class, in a file of the machine: they are there in every .blend. No bpy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..recipe import JsonObject
from .tiles import Tile, tile_facts, tile_of

_FORMAT = 1


class Stars:
    """The starred objects in the file at `path`, read anew each time: several Blenders share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of_class(self, query: str | None) -> list[Tile]:
        """The stars of a class, in the order in which they were given."""
        entries = self._read().get(query or "", [])
        found = [tile_of(entry) for entry in entries if isinstance(entry, dict)]
        return [tile for tile in found if tile is not None]

    def has(self, tile: Tile) -> bool:
        """Whether the object is starred."""
        return any(tile.same_as(star) for star in self.of_class(_class_of(tile)))

    def toggle(self, tile: Tile) -> bool:
        """Stars an object, or no longer; whether it is starred then. Raises OSError where that cannot be written."""
        known, query = self._read(), _class_of(tile) or ""
        stars = self.of_class(query)
        others = [star for star in stars if not tile.same_as(star)]
        starred = len(others) == len(stars)
        known[query] = [tile_facts(star) for star in [*others, *([tile] if starred else [])]]
        self._write({"format": _FORMAT, "classes": {name: some for name, some in known.items() if some}})
        return starred

    def files(self) -> set[str]:
        """The names of all pictures that stars show."""
        return {
            shot.file
            for query in self._read()
            for tile in self.of_class(query)
            for shot in tile.shots.values()
        }

    def _read(self) -> dict[str, list[JsonObject]]:
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        classes = kept.get("classes") if isinstance(kept, dict) and kept.get("format") == _FORMAT else None
        known = classes.items() if isinstance(classes, dict) else ()
        return {str(name): some for name, some in known if isinstance(some, list)}

    def _write(self, kept: Mapping[str, object]) -> None:
        """Whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        partial.replace(self.path)


def _class_of(tile: Tile) -> str | None:
    return next(iter(tile.classes), None)
