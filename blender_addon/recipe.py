"""Recipes: what a custom property of every object of ours keeps, so that it can be made again. No bpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

JsonObject = dict[str, object]


class BuildOptions(TypedDict):
    """The choices that shape an object once its mesh is there; the names are those of the properties.

    `metre` is how many of Blender's units a metre has where the object was made (recipes of 0.1.0 lack it: 1).
    """

    size: float
    on_ground: bool
    smooth: bool
    shader: str
    roughness: float
    front: str
    collection: bool
    crop: float
    keep_largest: bool
    as_asset: bool
    tags: str
    location: tuple[float, float, float]
    metre: float


class Recipe(TypedDict, total=False):
    """Everything that made an object.

    `request` is what the engine was asked for (or the name of a `sample`), `recipe` what the engine says it did,
    `engine` its version and device, `model` facts about the snapshot or the image model.
    """

    request: JsonObject
    recipe: JsonObject
    options: BuildOptions
    engine: JsonObject
    model: JsonObject


def parse_recipe(text: str) -> Recipe | None:
    """The recipe that a custom property holds; None if it holds none."""
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return cast(Recipe, content) if isinstance(content, dict) and "request" in content else None


def class_facts(made: Mapping[str, object]) -> Mapping[str, object]:
    """The class record of what an engine made, empty for pictures."""
    facts = made.get("class")
    return facts if isinstance(facts, dict) else {}


def subject(made: Mapping[str, object]) -> str:
    """What a mesh shows, in a few words: its class, or the name of its picture without the ending."""
    if made.get("picture"):
        return Path(str(made["picture"])).stem
    return str(class_facts(made).get("name", "object"))


def op_of(request: Mapping[str, object]) -> str:
    """The operation of the engine that a request is for: "mesh", "picture" or "lift", which has no tokenizer."""
    if "tokenizer" in request:
        return "picture"
    return "lift" if "picture" in request else "mesh"


def pretrained_model(recipe: Recipe) -> str:
    """The SHA-256 of the pretrained model that made an object, so that it alone makes it again; "" for any other.

    A model of one's own may have been trained on: its newest makes the object again.
    """
    made, model = recipe.get("recipe", {}), recipe.get("model", {})
    name = str(made.get("snapshot") or model.get("name") or "")
    if not name or name.endswith(".safetensors") or "sample" in recipe.get("request", {}):
        return ""
    return str(made.get("snapshot_sha256") or model.get("sha256") or "")


def integer(value: object, default: int = 0) -> int:
    """A whole number as JSON holds it."""
    return int(value) if isinstance(value, int | float) else default


def number(value: object, default: float = 0.0) -> float:
    """A number as JSON holds it."""
    return float(value) if isinstance(value, int | float) else default
