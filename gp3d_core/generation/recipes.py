"""Recipes: what made a mesh, so that the same command makes it again (docs/meshing.md).

A recipe lies beside its mesh as `<class>-<seed>.recipe.json`; the OBJ header, the GLB extras and the npz hold it
too. It names its snapshot by SHA-256. A pretrained model is named ("box", "zoo") and found by its SHA-256 wherever gp3d
is installed, also if it is called something else by now.
"""

from __future__ import annotations

import importlib.metadata
import os
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gp3d_core import __version__
from gp3d_core.errors import GP3DError
from gp3d_core.generation.objects import MOST_PARENTS, MOST_TRUNCATION, SHARE_ERROR, ObjectSpec, Recipe
from gp3d_core.hashing import digest
from gp3d_core.meshing.level import Level
from gp3d_core.meshing.options import VERSION, MeshOptions
from gp3d_core.pretrained import (
    has_pretrained,
    is_name,
    name_of,
    pretrained_path,
    release_of,
    shipped_with,
)
from gp3d_core.snapshots.run_folder import named_file, runs_below
from gp3d_core.strict_json import check_characters, of_text

COMBINED_VERSION = 2  # of recipes of objects that are combined from others
_PARENT = {"class", "seed", "early", "late"}  # what such a recipe says of each of them
_LIBRARIES = ("torch", "numpy", "PyMCubes", "fast-simplification", "xatlas")


class RecipeError(GP3DError):
    """A recipe that cannot be followed; the message says why."""


class UnknownPlaceError(RecipeError):
    """A recipe whose model is not where the recipe remembers it; another place can be named."""


def versions() -> dict[str, str]:
    """Versions of everything that has a say in a mesh."""
    return {"gp3d": __version__} | {name: importlib.metadata.version(name) for name in _LIBRARIES}


def option_facts(options: MeshOptions) -> dict[str, Any]:
    """The options as a recipe holds them; the level is a result, and stands with those."""
    return {name: value for name, value in options.to_recipe().items() if name != "level"}


def combination_facts(spec: ObjectSpec) -> dict[str, Any]:
    """What a recipe adds of an object that is combined from others; its version keeps older GP3D from following it."""
    if not spec.parents:
        return {}
    parents = [
        {"class": one.record, "seed": one.seed, "early": one.early, "late": one.late} for one in spec.parents
    ]
    return {"version": COMBINED_VERSION, "parents": parents, "late_from": spec.late_from}


def read_recipe(path: Path) -> Recipe:
    """The recipe in the JSON file at `path`. Raises RecipeError for anything else."""
    if path.is_dir():
        raise RecipeError(
            f"{path} is a folder; expected the recipe of one mesh, such as NAME.recipe.json in it"
        )
    if not path.is_file():
        raise RecipeError(f"no recipe at {path}")
    try:
        recipe = of_text(path.read_text(encoding="utf-8"))
        check_characters(recipe)
    except ValueError as error:
        raise RecipeError(f"{path} is not a recipe ({error})") from None
    found = (recipe.get("format"), recipe.get("version")) if isinstance(recipe, dict) else ("no format", None)
    if found not in (("gp3d-recipe", VERSION), ("gp3d-recipe", COMBINED_VERSION)):
        raise RecipeError(
            f"{path}: expected gp3d-recipe version {VERSION} or {COMBINED_VERSION}, found {found[0]} version {found[1]}"
        )
    if (found[1] == COMBINED_VERSION) != ("parents" in recipe):
        raise RecipeError(
            f"{path}: expected parents in a recipe of version {COMBINED_VERSION}, and in no other; found version "
            f"{found[1]} {'with' if 'parents' in recipe else 'without'} them"
        )
    if "tokenizer" in recipe:
        raise RecipeError(
            f"{path} is the recipe of the picture {recipe.get('scene')}, and gp3d mesh makes objects of classes; "
            "use gp3d vq3d reconstruct and gp3d vq3d mesh, or Regenerate in Blender"
        )
    if "picture_sha256" in recipe:
        raise RecipeError(
            f"{path} is the recipe of the picture {recipe.get('picture')}, and gp3d mesh makes objects of classes; "
            "use gp3d lift, or Regenerate in Blender"
        )
    for name, (needed, accepts, wanted) in _FIELDS.items():
        if name in recipe and not accepts(recipe[name]):
            raise RecipeError(f"{path}: {name}: expected {wanted}, found {reprlib.repr(recipe[name])}")
        if needed and name not in recipe:
            raise RecipeError(f"{path}: {name} is missing; it was made by another version")
    if "parents" in recipe:
        _check_main(path, recipe)
    return cast(Recipe, recipe)


def _is_number(value: Any) -> bool:
    """Whether JSON of any writer means a number: some leave out ".0"."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_parents(value: Any) -> bool:
    """Whether these are the parents of a combination, whose shares add up to 1."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PARENTS:
        return False
    for one in value:
        if not isinstance(one, dict) or not isinstance(one.get("class"), dict) or set(one) != _PARENT:
            return False
        if type(one.get("seed")) is not int or one["seed"] < 0:
            return False
        if not all(_is_number(one.get(name)) and 0 <= one[name] <= 1 for name in ("early", "late")):
            return False
    return all(abs(sum(one[name] for one in value) - 1) <= SHARE_ERROR for name in ("early", "late"))


def _check_main(path: Path, recipe: Mapping[str, Any]) -> None:
    """Raises RecipeError where class and seed, which name the files, are not those of the main one of the parents."""
    main = max(recipe["parents"], key=lambda one: float(one["early"]))
    for name in ("seed", "class"):
        if recipe[name] != main[name]:
            shown = [one["seed"] if name == "seed" else one["class"].get("name") for one in (main, recipe)]
            raise RecipeError(
                f"{path}: {name}: expected {shown[0]!r}, that of the parent with the largest early share, found "
                f"{shown[1]!r}; change the parent instead, which makes another object"
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


# What is read of a recipe besides the options of meshes, which have ranges of their own: whether it must be there,
# which values it may have, and these in words.
_FIELDS: dict[str, tuple[bool, Callable[[Any], bool], str]] = {
    "class": (True, lambda value: isinstance(value, dict), "a record of a class"),
    "seed": (True, lambda value: type(value) is int and value >= 0, "a whole number of at least 0"),
    "truncation": (
        True,
        lambda value: _is_number(value) and 0 <= value <= MOST_TRUNCATION,
        f"a number from 0 to {MOST_TRUNCATION:g}",
    ),
    "parents": (
        False,
        _are_parents,
        f"1 to {MOST_PARENTS} parents with class, seed, early and late alone, whose shares add up to 1",
    ),
    "late_from": (False, lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "level": (True, _is_number, "a number"),
    "raw_level": (False, lambda value: value is None or _is_number(value), "a number or null"),
    "grid": (True, lambda value: type(value) is int, "a whole number"),
    "snapshot_sha256": (True, _is_text, "a text"),
    "snapshot": (False, _is_text, "a text"),
    "snapshot_path": (False, _is_text, "a text"),
    "versions": (False, lambda value: isinstance(value, dict), "versions by name"),
}


def options_of(recipe: Recipe) -> MeshOptions:
    """The options of a recipe, with the level that was found: nothing is searched again. Raises RecipeError."""
    raw = recipe.get("raw_level")
    level = {} if raw is None else {"level": str(Level(raw, raw=True))}
    try:
        return MeshOptions.of_recipe({**recipe, **level})
    except GP3DError as error:
        raise RecipeError(f"the recipe cannot be followed: {error}") from error


def snapshot_of(recipe: Recipe, recipe_path: Path, given: Path | None) -> Path:
    """The snapshot file that a recipe names: the `given` file, or in the `given` run folder, or where it was.

    `given` may be the name of a pretrained model. Where it was is a path from the recipe's folder, which no longer
    holds once one of them has moved alone; a pretrained model is found by its SHA-256. Raises RecipeError if there is
    none, or if it is another one.
    """
    name = str(recipe.get("snapshot", ""))
    if given is None and is_name(name):
        return _shipped(recipe, recipe_path)
    if given is None:
        path = recipe_path.parent / str(recipe.get("snapshot_path", name))
    else:
        given = named_file(given)
        path = given / "snapshots" / name if given.is_dir() else given
    if not path.is_file():
        where = f"{os.path.normpath(path)}{', where the recipe remembers it' if given is None else ''}"
        advice = "" if given is None else runs_below(given)
        kind = RecipeError if advice else UnknownPlaceError
        raise kind(
            f"{recipe_path} was made with the model file {name} ({_mark(recipe)}), which is not at {where}; "
            f"{advice or 'say where it is'}"
        )
    if (found := digest(path)) != recipe["snapshot_sha256"]:
        raise RecipeError(
            f"{path} is not the recipe's snapshot: expected {_mark(recipe)}, found {found[:12]}…{_whereabouts(recipe)}"
        )
    return path


def _whereabouts(recipe: Recipe) -> str:
    """Which of the models that come along is the recipe's, as the end of a message; "" if none of them is."""
    path = shipped_with(recipe["snapshot_sha256"])
    return f"; the recipe's is {name_of(path)}, at {path}: name that one, or none" if path else ""


def _shipped(recipe: Recipe, recipe_path: Path) -> Path:
    """The pretrained model of a recipe. Raises UnknownPlaceError, which says which it is, if it is not there."""
    name, sha256 = recipe["snapshot"], recipe["snapshot_sha256"]
    if path := shipped_with(sha256):
        return path
    release = release_of(sha256)
    made_by = (
        recipe.get("versions", {}).get("gp3d", "another version") if release is None else release.version
    )
    renamed = "" if release is None or release.now == name else f", by now called {release.now}"
    remedy = f"it was the one of gp3d {made_by}{renamed}; say where its file is"
    if has_pretrained(name):
        path = pretrained_path(name)
        found = digest(path)[:12]
        raise UnknownPlaceError(
            f"{path} is not the recipe's snapshot: expected {_mark(recipe)}, found {found}…; {remedy}"
        )
    raise UnknownPlaceError(
        f"{recipe_path} was made with the pretrained model {name} ({_mark(recipe)}), which is not here; {remedy}"
    )


def _mark(recipe: Recipe) -> str:
    """By what a recipe's model can be told: its SHA-256, and how many classes it knows, where that is known."""
    release = release_of(recipe["snapshot_sha256"])
    classes = recipe.get("snapshot_classes") if release is None else release.classes
    count = "" if classes is None else f", {classes} classes"
    return f"SHA-256 {recipe['snapshot_sha256'][:12]}…{count}"


def place_of(snapshot: Path, folder: Path) -> dict[str, str]:
    """How to reach a snapshot from the folder of a recipe, as the recipe says it; nothing for a pretrained model."""
    if is_name(name_of(snapshot)):
        return {}
    return {"snapshot_path": Path(os.path.relpath(snapshot.resolve(), folder.resolve())).as_posix()}
