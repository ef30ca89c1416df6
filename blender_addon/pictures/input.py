"""Image to 3D: which picture, models, depth and mask are meant, and whether those of a recipe are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import bpy

from ..engine.errors import RequestError
from ..recipe import JsonObject, Recipe, op_of
from ..requests import Choices

PRETRAINED = "box"  # the protocol's word for the engine's own image model


def scene_files(choices: Choices, model: str) -> dict[str, str]:
    """`picture`, `tokenizer` and maybe `mask` of a request; `model` empty: the engine's own.

    Raises RequestError, saying what to choose.
    """
    files = {"picture": _chosen(choices.picture, "picture")}
    files["tokenizer"] = _absolute(model) if model.strip() else PRETRAINED
    return files | _mask(choices)


def relief_files(choices: Choices, model: str) -> dict[str, str]:
    """`picture`, `depth` or `depth_model`, maybe `mask` of a request. RequestError says what to choose."""
    files = {"picture": _chosen(choices.picture, "picture")}
    if choices.depth.strip():
        files["depth"] = _chosen(choices.depth, "depth map")
    elif model.strip():
        files["depth_model"] = _absolute(model)
    else:
        raise RequestError("Choose a depth map of the picture, or a depth model in the panel Engine")
    return files | _mask(choices)


def check_unchanged(recipe: Recipe) -> None:
    """Raises RequestError unless the files that the `recipe` of an object was made of are still the same."""
    request, made = recipe["request"], recipe.get("recipe", {})
    wanted = {"picture": ("picture", made.get("picture_sha256"))}
    if op_of(request) == "lift":
        wanted["depth"] = ("depth map", made.get("depth_sha256"))
        wanted["depth_model"] = ("depth model", made.get("depth_sha256"))
    elif request["tokenizer"] != PRETRAINED and not str(request["picture"]).endswith(".safetensors"):
        wanted["tokenizer"] = ("image model", made.get("tokenizer"))  # a scene needs no model
    wanted["mask"] = ("mask", made.get("mask_sha256"))
    for name, (what, known) in wanted.items():
        if name not in request:
            continue
        path = Path(str(request[name]))
        if not path.exists():
            raise RequestError(f"This object cannot be made again: its {what} is no longer at {path}")
        if known and path.is_file() and _sha256(path) != known:
            raise RequestError(f"This object cannot be made again: the {what} at {path} has changed since")


def source_of(result: Mapping[str, object], request: JsonObject) -> tuple[JsonObject, JsonObject]:
    """The image model of a finished picture, and its request with that very file instead of a run folder."""
    found = result.get("tokenizer")
    model: JsonObject = dict(found) if isinstance(found, dict) else {}
    file = PRETRAINED if model.get("name") == PRETRAINED else model.get("path", request["tokenizer"])
    return model, {**request, "tokenizer": file}


def depth_of(made: Mapping[str, object]) -> JsonObject:
    """What gave the depth of a relief, as its recipe says: name and hash of the map or of the model."""
    name = made.get("depth_model") or made.get("depth") or ""
    return {"name": str(name), "sha256": str(made.get("depth_sha256", ""))[:12]}


def _chosen(path: str, what: str) -> str:
    """The absolute path of a file. Raises RequestError where none is chosen, or none is there."""
    if not path.strip():
        raise RequestError(f"Choose a {what} first")
    found = _absolute(path)
    if not Path(found).is_file():
        raise RequestError(f"There is no {what} at {found}")
    return found


def _mask(choices: Choices) -> dict[str, str]:
    return {"mask": _chosen(choices.mask, "mask")} if choices.mask.strip() else {}


def _absolute(path: str) -> str:
    if path.startswith("//") and not bpy.data.filepath:
        raise RequestError(f"{path} lies beside a .blend that has no place yet: save the .blend first")
    return str(bpy.path.abspath(path.strip()))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
