"""Model libraries in the layout of ShapeNetCore.v2: which models there are, of which class, which are broken.

LIBRARY/taxonomy.json, LIBRARY/<synset>/<id>/models/model_normalized.obj. An optional LIBRARY/classes.json maps
"<synset>/<id>" to finer facts of a class (name, imagenet_index, wnid, synset); without it the class is the synset.
Model coordinates: y up, front along -z, the box around the model centred with diagonal 1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Split = Literal["train", "test"]

_TEST_SHARE = 0.1
_SYNSET = re.compile(r"\d{8}")
_WNID = re.compile(r"n\d{8}")
_VERTEX = re.compile(rb"^v[ \t]", re.MULTILINE)
_FACE = re.compile(rb"^f[ \t]", re.MULTILINE)
_NOT_FINITE = re.compile(rb"^v[ \t][^\n]*(?:nan|inf)", re.MULTILINE | re.IGNORECASE)


class LibraryError(ValueError):
    """A folder that holds no model library; the message says what was expected and found."""


class BrokenModelError(ValueError):
    """A model that cannot be rendered; the message is the reason."""


@dataclass(frozen=True)
class ObjectClass:
    """What a model shows; `imagenet_index` or `synset` is None where ImageNet or ShapeNet has no such class."""

    wnid: str
    name: str
    imagenet_index: int | None
    synset: str | None


@dataclass(frozen=True)
class Model:
    """One model of a library; `key` is "<synset>/<id>"."""

    key: str
    path: Path
    object_class: ObjectClass

    @property
    def identifier(self) -> str:
        """The model's own name, without its synset."""
        return self.key.partition("/")[2]


def load_library(root: Path) -> list[Model]:
    """Every model below `root`, sorted by key. Raises LibraryError where there is no library or no model."""
    if not root.is_dir():
        raise LibraryError(f"{root}: no such folder; expected a model library in ShapeNetCore.v2 layout")
    names = _read_taxonomy(root / "taxonomy.json")
    classes = _read_classes(root / "classes.json")
    synsets = [synset for synset in sorted(root.iterdir()) if _SYNSET.fullmatch(synset.name) and synset.is_dir()]
    folders = [folder for synset in synsets for folder in sorted(synset.iterdir())
               if folder.is_dir() and not folder.name.startswith(".")]
    models = [_model(folder, names, classes) for folder in folders]
    if not models:
        raise LibraryError(f"{root}: holds no models; expected <synset>/<id>/models/model_normalized.obj")
    _check_agreement(models)
    return models


def _model(folder: Path, names: dict[str, str], classes: dict[str, ObjectClass]) -> Model:
    synset = folder.parent.name
    key = f"{synset}/{folder.name}"
    if key in classes:
        object_class = classes[key]
    elif synset in names:
        object_class = ObjectClass(f"n{synset}", names[synset], None, synset)
    else:
        raise LibraryError(f"{key}: neither classes.json nor taxonomy.json knows this class; add it to one")
    return Model(key, folder / "models" / "model_normalized.obj", object_class)


def _check_agreement(models: Sequence[Model]) -> None:
    facts: dict[str, ObjectClass] = {}
    keys: dict[tuple[str, str], str] = {}
    for model in models:
        wnid = model.object_class.wnid
        if facts.setdefault(wnid, model.object_class) != model.object_class:
            raise LibraryError(f"{model.key}: says {model.object_class} while other models say {facts[wnid]}")
        if keys.setdefault((wnid, model.identifier), model.key) != model.key:
            raise LibraryError(f"{model.key}: has class and id of {keys[wnid, model.identifier]}; rename one")


def _read_taxonomy(path: Path) -> dict[str, str]:
    try:
        return {entry["synsetId"]: entry["name"].partition(",")[0].strip()
                for entry in _read_json(path, list)}
    except (KeyError, TypeError, AttributeError):
        raise LibraryError(f"{path}: expected a list of entries with synsetId and name") from None


def _read_classes(path: Path) -> dict[str, ObjectClass]:
    if not path.exists():
        return {}
    classes = {}
    for key, facts in _read_json(path, dict).items():
        try:
            classes[key] = ObjectClass(facts["wnid"], facts["name"], facts["imagenet_index"], facts["synset"])
            known = _WNID.fullmatch(classes[key].wnid)
        except (KeyError, TypeError):
            raise LibraryError(f"{path}: {key} lacks wnid, name, imagenet_index or synset") from None
        if not known:  # it becomes the name of a folder
            raise LibraryError(f"{path}: {key}: expected a wnid of n and 8 digits, found {classes[key].wnid!r}")
    return classes


def _read_json(path: Path, kind: type[Any]) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LibraryError(f"{path.parent}: has no {path.name}; expected ShapeNetCore.v2 layout") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LibraryError(f"{path}: is not readable as JSON ({error})") from None
    if not isinstance(content, kind):
        raise LibraryError(f"{path}: expected a JSON {kind.__name__}, found {type(content).__name__}")
    return content


def interleave(models: Sequence[Model]) -> list[Model]:
    """The same models, the classes taking turns: whoever stops early has seen something of every class."""
    turns: dict[ObjectClass, int] = {}
    keyed = []
    for model in models:
        turn = turns[model.object_class] = turns.get(model.object_class, -1) + 1
        keyed.append(((turn, model.object_class.wnid), model))
    return [model for _, model in sorted(keyed, key=lambda pair: pair[0])]


def split_of(key: str) -> Split:
    """Whether a model belongs to the tenth kept for tests: decided by its key alone, in every library."""
    number = int.from_bytes(hashlib.sha256(f"split {key}".encode()).digest()[:8], "big")
    return "test" if number < _TEST_SHARE * 2**64 else "train"


def check_model(path: Path) -> int:
    """Number of faces in an OBJ file.

    Raises BrokenModelError where Blender would show nothing, or repair in silence.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise BrokenModelError(f"{path.name} is missing") from None
    if not text.strip():
        raise BrokenModelError(f"{path.name} is empty")
    if not _VERTEX.search(text):
        raise BrokenModelError(f"{path.name} has no vertices")
    if _NOT_FINITE.search(text):
        raise BrokenModelError(f"{path.name} has a vertex that is not finite")
    faces = sum(1 for _ in _FACE.finditer(text))
    if not faces:
        raise BrokenModelError(f"{path.name} has no faces")
    return faces
