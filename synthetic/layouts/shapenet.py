"""Model libraries: their models, the class of each, and how its file stands to our world frame.

Four layouts are recognised:

    ShapeNetCore.v2  LIBRARY/<synset>/<id>/models/model_normalized.obj   y up, front -z, box centred with diagonal 1
    ours             the same, with LIBRARY/classes.json
    ShapeNetCore.v1  LIBRARY/<synset>/<id>/model.obj                     y up, front +x
    plain            LIBRARY/<class>/<model>.glb|.gltf|.obj|.ply|.stl, or one such file in LIBRARY/<class>/<model>/
                                                                         y up, front +z (as glTF says), any size

LIBRARY/taxonomy.json names the synsets; those of ShapeNetCore are known without it. LIBRARY/classes.json maps
"<synset>/<id>" or a class folder to finer facts (name, imagenet_index, wnid, synset).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from synthetic.atomic import content_of
from synthetic.layouts.licences import Credit, LicenceError, origins, read_licences
from synthetic.layouts.plain import MESH_SUFFIXES, folders_in, plain_meshes, unused_meshes
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES

Split = Literal["train", "test"]
UNIT_BALL = 1.001  # a model with diagonal 1 reaches no farther, wherever in its box the origin lies
_TEST_SHARE = 0.1
_SYNSET = re.compile(r"\d{8}")
_WNID = re.compile(r"n\d{8}")
_NAMED_WNID = re.compile(r"(n\d{8})(?:[-_ .](.+))?")
_AXES = {
    "+x": (1, 0, 0),
    "-x": (-1, 0, 0),
    "+y": (0, 1, 0),
    "-y": (0, -1, 0),
    "+z": (0, 0, 1),
    "-z": (0, 0, -1),
}


class LibraryError(ValueError):
    """A folder that holds no model library; the message says what was expected and found."""


class BrokenModelError(ValueError):
    """A model that cannot be rendered; the message is the reason."""


class ClassRecord(TypedDict):
    """An ObjectClass as JSON."""

    wnid: str
    name: str
    imagenet_index: int | None
    synset: str | None


class PlacementRecord(TypedDict):
    """A Placement as JSON."""

    front: str
    up: str
    normalise: bool


class PlacementOverrides(TypedDict, total=False):
    """What a user says of a Placement instead of the layout."""

    front: str
    up: str
    normalise: bool


class ModelRecord(TypedDict):
    """A Model as JSON."""

    key: str
    path: str
    object_class: ClassRecord
    folder: str
    placement: PlacementRecord
    credit: dict[str, str] | None
    parent: str


@dataclass(frozen=True)
class ObjectClass:
    """What a model shows; `imagenet_index` or `synset` is None where ImageNet or ShapeNet has no such class."""

    wnid: str
    name: str
    imagenet_index: int | None
    synset: str | None

    def as_json(self) -> ClassRecord:
        """The class as it stands in a data set."""
        return {
            "wnid": self.wnid,
            "name": self.name,
            "imagenet_index": self.imagenet_index,
            "synset": self.synset,
        }


@dataclass(frozen=True)
class Placement:
    """How a file's coordinates stand to our world frame (y up, front +z): the axes that are its front and its up.

    With `normalise` the box around the model is centred and its diagonal scaled to 1; without, it has to be so already.
    """

    front: str = "-z"
    up: str = "+y"
    normalise: bool = False

    def __post_init__(self) -> None:
        """Checks the axes once; raises ValueError."""
        if self.front not in _AXES or self.up not in _AXES or self.front[1] == self.up[1]:
            raise ValueError(
                f"front and up must be two of {', '.join(_AXES)}, found {self.front} and {self.up}"
            )

    def rotation(self) -> npt.NDArray[np.float64]:
        """[3,3] from the file's coordinates to the world frame."""
        front, up = np.array(_AXES[self.front], float), np.array(_AXES[self.up], float)
        return np.stack([np.cross(up, front), up, front])


@dataclass(frozen=True)
class Model:
    """One model of a library; `key` is "<class folder>/<id>", its files may refer to others below `folder` only.

    `credit` is what its library's licences.jsonl says of it, None where there is no such file. `parent` is the key of
    the model that a variant goes back to, "" for one that stands for itself.
    """

    key: str
    path: Path
    object_class: ObjectClass
    folder: Path = Path()
    placement: Placement = field(default_factory=Placement)
    credit: Credit | None = None
    parent: str = ""

    @property
    def identifier(self) -> str:
        """The model's own name, without its class folder."""
        return self.key.partition("/")[2]

    def as_json(self) -> ModelRecord:
        """The model as another process reads it with `from_json`."""
        place = self.placement
        return {
            "key": self.key,
            "path": str(self.path),
            "object_class": self.object_class.as_json(),
            "folder": str(self.folder),
            "placement": {"front": place.front, "up": place.up, "normalise": place.normalise},
            "credit": asdict(self.credit) if self.credit else None,
            "parent": self.parent,
        }

    @classmethod
    def from_json(cls, content: ModelRecord) -> Model:
        """The model that another process wrote with `as_json`."""
        return cls(
            content["key"],
            Path(content["path"]),
            ObjectClass(**content["object_class"]),
            Path(content["folder"]),
            Placement(**content["placement"]),
            Credit(**content["credit"]) if content["credit"] else None,
            content["parent"],
        )


def load_library(*roots: Path, **placement: Unpack[PlacementOverrides]) -> list[Model]:
    """Every model below the folders `roots`, sorted by key; `placement` overrides what the layout says (see Placement).

    Raises LibraryError where a folder holds no library or no model, or where two models disagree about a class or have
    one name; ValueError for impossible axes.
    """
    found = [(root, _models_below(root, placement)) for root in roots]
    held = {model.key for _, some in found for model in some}
    _check_agreement([model for _, some in found for model in some])
    credited = [model for root, some in found for model in _with_credits(root, some, held)]
    return sorted(credited, key=lambda model: model.key)


def _models_below(root: Path, placement: PlacementOverrides) -> list[Model]:
    if not root.is_dir():
        raise LibraryError(f"{root}: no such folder; expected a model library")
    synsets = [folder for folder in folders_in(root) if _SYNSET.fullmatch(folder.name)]
    models = _shapenet_models(root, synsets, placement) if synsets else _plain_models(root, placement)
    if not models and not synsets and not (root / "taxonomy.json").exists():
        unused = unused_meshes(root, ())
        if unused:
            file, reason = next(iter(unused.items()))
            raise LibraryError(f"{root}: none of its meshes is a model, such as {file!r} ({reason})")
        raise LibraryError(
            f"{root}: has no taxonomy.json, no folders named by synsets and no folders with "
            f"{', '.join(MESH_SUFFIXES)} files; expected ShapeNetCore layout or a folder a class"
        )
    if not models:
        raise LibraryError(
            f"{root}: holds no models; expected <synset>/<id>/models/model_normalized.obj, "
            "<synset>/<id>/model.obj or <class>/<model>.obj"
        )
    return models


def _with_credits(root: Path, models: list[Model], held: Collection[str]) -> list[Model]:
    """The models with what their library's licences.jsonl says of each; `held` are the keys of all that are there."""
    try:
        credits = read_licences(root, [model.key for model in models])
    except LicenceError as error:
        raise LibraryError(str(error)) from None
    if not credits:
        return models
    roots, credited = origins(credits), []
    for model in models:
        credit, origin = credits[model.key], roots.get(model.key, "")
        if origin == model.key:
            credit, origin = replace(credit, fault=credit.fault or "its parents go in a circle"), ""
        elif credit.parent and credit.parent not in held and not credit.fault:
            credit = replace(credit, fault="its parent is not in the library")
        credited.append(replace(model, credit=credit, parent=origin))
    return credited


def _shapenet_models(root: Path, synsets: Sequence[Path], placement: PlacementOverrides) -> list[Model]:
    names, classes = _read_taxonomy(root / "taxonomy.json"), _read_classes(root / "classes.json")
    folders = [folder for synset in synsets for folder in folders_in(synset)]
    first_version = _is_first_version(folders)
    usual = Placement(front="+x", normalise=True) if first_version else Placement()
    place = replace(usual, **placement)
    file = "model.obj" if first_version else "models/model_normalized.obj"
    models = []
    for folder in folders:
        synset = folder.parent.name
        key = f"{synset}/{folder.name}"
        object_class = classes.get(key) or classes.get(synset) or _category(synset, names)
        if object_class is None:
            raise LibraryError(
                f"{key}: neither classes.json nor taxonomy.json knows this class; if `python -m synthetic.shapes` was "
                "stopped while it wrote the library, start it once more, else add the class to one"
            )
        models.append(Model(key, folder / file, object_class, folder, place))
    return models


def _is_first_version(folders: Sequence[Path]) -> bool:
    """Whether models lie as in ShapeNetCore.v1; the first folder that holds one decides."""
    marks: Iterator[bool] = (
        first
        for folder in islice(folders, 1000)
        for first, name in ((False, "models"), (True, "model.obj"))
        if (folder / name).exists()
    )
    return next(marks, False)


def _category(synset: str, names: Mapping[str, str]) -> ObjectClass | None:
    if synset not in names:
        return None
    _, index = SHAPENET_CATEGORIES.get(synset, ("", None))
    return ObjectClass(f"n{synset}", names[synset], index, synset)


def _plain_models(root: Path, placement: PlacementOverrides) -> list[Model]:
    classes = _read_classes(root / "classes.json")
    place = replace(Placement(front="+z", normalise=True), **placement)
    models = []
    for folder in folders_in(root):
        for name, path, own_folder in plain_meshes(folder):
            key = f"{folder.name}/{name}"
            facts = classes.get(key) or classes.get(folder.name) or _plain_class(folder.name)
            models.append(Model(key, path, facts, own_folder, place))
    return sorted(models, key=lambda model: model.key)


def _plain_class(folder: str) -> ObjectClass:
    """The class that a folder's name says; a WordNet id at its beginning decides, the rest is what it is called."""
    match = _NAMED_WNID.fullmatch(folder)
    if match:
        return ObjectClass(match[1], (match[2] or match[1]).replace("_", " "), None, None)
    return ObjectClass(folder.replace(" ", "_"), folder.replace("_", " "), None, None)


def _check_agreement(models: Sequence[Model]) -> None:
    facts: dict[str, ObjectClass] = {}
    named: dict[tuple[str, str], Model] = {}
    for model in models:
        wnid = model.object_class.wnid
        if facts.setdefault(wnid, model.object_class) != model.object_class:
            raise LibraryError(
                f"{model.key}: says {_shown(model.object_class)} while other models say {_shown(facts[wnid])}; "
                "make classes.json and the names of folders agree"
            )
        first = named.setdefault((wnid, model.identifier), model)
        if first is not model:
            raise LibraryError(f"{model.key} ({model.path}): has class and id of {first.key}; rename one")


def _shown(facts: ObjectClass) -> str:
    """A class in words."""
    return f"{facts.wnid} is {facts.name!r} (ImageNet class {facts.imagenet_index}, synset {facts.synset})"


def _read_taxonomy(path: Path) -> dict[str, str]:
    """Names of the synsets; a taxonomy.json decides alone, without one ShapeNetCore's categories are known."""
    if not path.exists():
        return {synset: name for synset, (name, _) in SHAPENET_CATEGORIES.items()}
    names: dict[str, str] = {}
    for number, entry in enumerate(_read_json(path, list), 1):
        synset, name = (
            (entry.get(key) for key in ("synsetId", "name")) if isinstance(entry, dict) else ("", "")
        )
        name = " ".join(name.partition(",")[0].split()) if isinstance(name, str) else ""
        if not (isinstance(synset, str) and synset and name):
            raise LibraryError(
                f"{path}: entry {number} lacks synsetId or name, as text; mend it, or remove the file: "
                "ShapeNetCore's categories are known without it"
            )
        if names.setdefault(synset, name) != name:
            raise LibraryError(
                f"{path}: entry {number} calls {synset} {name!r}, an earlier one {names[synset]!r}; remove one"
            )
    return names


def _read_classes(path: Path) -> dict[str, ObjectClass]:
    if not path.exists():
        return {}
    classes = {}
    for key, facts in _read_json(path, dict).items():
        try:
            found = ObjectClass(facts["wnid"], facts["name"], facts["imagenet_index"], facts["synset"])
        except (KeyError, TypeError):
            raise LibraryError(f"{path}: {key} lacks wnid, name, imagenet_index or synset") from None
        index = found.imagenet_index
        if not (
            isinstance(found.wnid, str) and _WNID.fullmatch(found.wnid)
        ):  # it becomes the name of a folder
            raise LibraryError(f"{path}: {key}: expected a wnid of n and 8 digits, found {found.wnid!r}")
        if not isinstance(found.name, str) or not found.name:
            raise LibraryError(f"{path}: {key}: expected a name, found {found.name!r}")
        if index is not None and (type(index) is not int or not 0 <= index <= 999):
            raise LibraryError(
                f"{path}: {key}: expected an imagenet_index of 0 to 999 or null, found {index!r}"
            )
        if found.synset is not None and not isinstance(found.synset, str):
            raise LibraryError(f"{path}: {key}: expected a synset as text or null, found {found.synset!r}")
        classes[key] = found
    return classes


def _read_json(path: Path, kind: type[Any]) -> Any:
    way_on = "mend it, or remove it to go by what is known without it"
    try:
        content = json.loads(content_of(path).decode("utf-8-sig"))
    except FileNotFoundError:
        raise LibraryError(f"{path}: vanished while it was to be read") from None
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read ({error.strerror}); {way_on}") from None
    except (ValueError, RecursionError) as error:
        raise LibraryError(f"{path}: is not readable as JSON ({error}); {way_on}") from None
    if not isinstance(content, kind):
        expected = {"list": "list", "dict": "mapping"}[kind.__name__]
        raise LibraryError(f"{path}: expected a JSON {expected}, found {type(content).__name__}; {way_on}")
    return content


def interleave(models: Sequence[Model], most: int | None = None) -> list[Model]:
    """The first `most` (None: all) models of each class, taking turns, so that a run stopped early has some of each."""
    counts: dict[ObjectClass, int] = {}
    keyed = []
    for model in models:
        turn = counts[model.object_class] = counts.get(model.object_class, -1) + 1
        if most is None or turn < most:
            keyed.append((turn, model.object_class.wnid, model))
    return [model for _, _, model in sorted(keyed, key=lambda place: place[:2])]


def split_of(key: str, parent: str = "") -> Split:
    """Whether a model belongs to the tenth kept for tests: decided by its key alone, in every library.

    A variant is on the side of its `parent`, the model that it goes back to.
    """
    number = int.from_bytes(hashlib.sha256(f"split {parent or key}".encode()).digest()[:8], "big")
    return "test" if number < _TEST_SHARE * 2**64 else "train"
