"""Image to 3D: which picture and which image model are meant, and whether those of a recipe are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import bpy

from .engine.errors import RequestError
from .properties import preferences
from .recipe import JsonObject, Recipe

PRETRAINED = "box"  # the protocol's word for the engine's own image model


def chosen_files(context: bpy.types.Context, picture: str) -> dict[str, str]:
    """The `picture` and the `tokenizer` of a request. Raises RequestError, saying what to choose."""
    if not picture.strip():
        raise RequestError("Choose a picture first")
    path = _absolute(picture)
    if not Path(path).is_file():
        raise RequestError(f"There is no picture at {path}")
    model = preferences(context).vq3d.strip()
    return {"picture": path, "tokenizer": _absolute(model) if model else PRETRAINED}


def check_unchanged(recipe: Recipe) -> None:
    """Raises RequestError unless picture and image model are still those that the `recipe` of an object was made of."""
    request, made = recipe["request"], recipe.get("recipe", {})
    picture, model = str(request["picture"]), str(request["tokenizer"])
    wanted = {"picture": (picture, made.get("picture_sha256"))}
    if model != PRETRAINED and not picture.endswith(".safetensors"):  # a scene needs no model
        wanted["image model"] = (model, made.get("tokenizer"))
    for what, (path, known) in wanted.items():
        if not Path(path).exists():
            raise RequestError(f"This object cannot be made again: its {what} is no longer at {path}")
        if known and Path(path).is_file() and _sha256(Path(path)) != known:
            raise RequestError(f"This object cannot be made again: the {what} at {path} has changed since")


def source_of(result: Mapping[str, object], request: JsonObject) -> tuple[JsonObject, JsonObject]:
    """The image model of a finished picture, and its request with that very file instead of a run folder."""
    found = result.get("tokenizer")
    model: JsonObject = dict(found) if isinstance(found, dict) else {}
    file = PRETRAINED if model.get("name") == PRETRAINED else model.get("path", request["tokenizer"])
    return model, {**request, "tokenizer": file}


def _absolute(path: str) -> str:
    if path.startswith("//") and not bpy.data.filepath:
        raise RequestError(f"{path} lies beside a .blend that has no place yet: save the .blend first")
    return str(bpy.path.abspath(path.strip()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
