"""Image to 3D: which picture and which image model are meant, and whether those of a recipe are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from .engine.errors import RequestError
from .properties import preferences

BOX = "box"  # the engine's own image model, if it brings one


def chosen_files(context: bpy.types.Context, picture: str) -> dict[str, str]:
    """The `picture` and the `tokenizer` of a request. Raises RequestError, saying what to choose."""
    if not picture.strip():
        raise RequestError("Choose a picture first")
    path = _absolute(picture)
    if not Path(path).is_file():
        raise RequestError(f"There is no picture at {path}")
    model = preferences(context).vq3d.strip()
    return {"picture": path, "tokenizer": _absolute(model) if model else BOX}


def check_unchanged(recipe: Mapping[str, Any]) -> None:
    """Raises RequestError unless picture and image model are still those that the `recipe` of an object was made of."""
    request, made = recipe["request"], recipe.get("recipe", {})
    wanted = {"picture": (request["picture"], made.get("picture_sha256"))}
    if request["tokenizer"] != BOX and not request["picture"].endswith(
        ".safetensors"
    ):  # a scene needs no model
        wanted["image model"] = (request["tokenizer"], made.get("tokenizer"))
    for what, (path, known) in wanted.items():
        if not Path(path).exists():
            raise RequestError(f"This object cannot be made again: its {what} is no longer at {path}")
        if known and Path(path).is_file() and _sha256(Path(path)) != known:
            raise RequestError(f"This object cannot be made again: the {what} at {path} has changed since")


def source_of(result: Mapping[str, Any], request: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to keep of a finished picture: the model, and the request with the very file instead of a run folder."""
    model = dict(result.get("tokenizer", {}))
    file = BOX if model.get("name") == BOX else model.get("path", request["tokenizer"])
    return model, {**request, "tokenizer": file}


def _absolute(path: str) -> str:
    if path.startswith("//") and not bpy.data.filepath:
        raise RequestError(f"{path} lies beside a .blend that has no place yet: save the .blend first")
    return bpy.path.abspath(path.strip())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
