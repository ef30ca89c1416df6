"""What a gallery shows: the meshes of a folder, each with the files that belong to it and its recipe.

Files come from anywhere, so that everything in them is doubted: what cannot be read becomes a `problem` of its entry.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gp3d_core.datasets.imagenet import imagenet_classes
from gp3d_core.errors import GP3DError, one_line
from gp3d_core.hashing import DAMAGE
from gp3d_core.meshing.files.description import UNKNOWN, license_of
from gp3d_core.meshing.files.formats import FORMATS
from gp3d_core.strict_json import of_text

MOST_MESHES = 500  # of one page
_LONGEST_RECIPE = 256 * 1024  # bytes
_RECIPE = ".recipe.json"
_PICTURES = (".thumbnail.png", ".view.png")  # the first that is there is shown
_PART = re.compile(r"(.+?)(_LOD\d+|_collision|_asset|_filled)")


class GalleryError(GP3DError):
    """A folder of which no gallery can be made; the message says why."""


@dataclass
class Entry:
    """A mesh: its name below the folder, its files by format, what belongs to it, and what is wrong with it."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    recipe_path: Path | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def title(self) -> str:
        """The name of the class, or of the picture, else of the file."""
        for key in ("class", "picture", "scene"):
            value = self.recipe.get(key)
            value = value.get("name") if isinstance(value, dict) else value
            if isinstance(value, str) and value.strip():
                return one_line(value)[:200]
        return self.name

    @property
    def license(self) -> str:
        """In words; "unknown" where the recipe states none."""
        return one_line(license_of(self.recipe)) or UNKNOWN

    @property
    def credits(self) -> str:
        """Who must be named, or ""."""
        return one_line(str(self.recipe.get("credits") or ""))

    @property
    def search_words(self) -> str:
        """Everything by which the mesh is found, in small letters: the file, and all names of its class."""
        record = self.recipe.get("class")
        record = record if isinstance(record, dict) else {}
        known = [one for one in imagenet_classes() if one.wnid == record.get("wnid")]
        words = [self.name, self.title, *(name for one in known for name in one.names)]
        words += [str(record[key]) for key in ("wnid", "imagenet_index") if record.get(key) is not None]
        return one_line(" ".join(words)).lower()


def find_entries(folder: Path) -> list[Entry]:
    """The meshes in `folder` and below it, by name; links to other folders are not followed.

    Raises GalleryError if there is no such folder, or no mesh and no recipe in it.
    """
    if not folder.is_dir():
        raise GalleryError(f"{folder}: expected a folder of meshes, found {_kind(folder)}")
    found: dict[str, Entry] = {}
    for path in _files_of(folder):
        _sort_in(found, path, path.relative_to(folder))
    _join_parts(found)
    entries = [found[name] for name in sorted(found) if found[name].files or found[name].recipe_path]
    if not entries:
        raise GalleryError(f"{folder}: no mesh is in it; expected files in {', '.join(FORMATS)}")
    for entry in entries:
        _read_recipe(entry)
    return entries


def _kind(path: Path) -> str:
    return "a file" if path.exists() else "nothing"


def _files_of(folder: Path) -> Iterator[Path]:
    """Ordinary files; folders whose names begin with a dot are not looked into: unfinished files lie there."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _sort_in(found: dict[str, Entry], path: Path, name: Path) -> None:
    """Gives a file to the entry that it belongs to, if it belongs to a mesh."""
    ending = next((end for end in (_RECIPE, *_PICTURES) if name.name.endswith(end)), name.suffix)
    key = name.as_posix().removesuffix(ending)
    if ending == _RECIPE:
        found.setdefault(key, Entry(key)).recipe_path = path
    elif ending in _PICTURES:
        found.setdefault(key, Entry(key)).pictures.append(path)
    elif ending.lower().removeprefix(".") in FORMATS:
        found.setdefault(key, Entry(key)).files[ending.lower().removeprefix(".")] = path


def _join_parts(found: dict[str, Entry]) -> None:
    """Levels of detail, hulls and the like belong to the mesh of that name, if there is one."""
    for name in list(found):
        match = _PART.fullmatch(name)
        if match and match[1] in found and not found[name].recipe_path:
            found[match[1]].parts += found.pop(name).files.values()


def _read_recipe(entry: Entry) -> None:
    """Reads what made the mesh; what cannot be read is a problem of the entry."""
    if entry.recipe_path is None:
        return
    try:
        if entry.recipe_path.stat().st_size > _LONGEST_RECIPE:
            raise ValueError(f"it has more than {_LONGEST_RECIPE} bytes")
        recipe = of_text(entry.recipe_path.read_text(encoding="utf-8"))
        if not isinstance(recipe, dict):
            raise ValueError("it is no JSON object")
        entry.recipe = recipe
    except DAMAGE as error:
        entry.problem = one_line(f"the recipe cannot be read: {_reason(error)}")
    if not entry.files:
        entry.problem = "a recipe without a mesh beside it"


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """A recipe for people to read, as indented JSON; half characters, which no page can hold, are escaped."""
    return json.dumps(recipe, indent=1, ensure_ascii=True)
