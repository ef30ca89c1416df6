"""The lines that `gp3d serve` reads and writes: limits, checks of requests, errors (docs/serve.md).

Requests come from another program, so that everything about them is doubted here, once; what `read_request`
returns has all options of its operation, in range.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from gp3d_core.errors import GP3DError, one_line, spell
from gp3d_core.generation.objects import DEFAULT_TRUNCATION, MOST_TRUNCATION
from gp3d_core.lifting.options import BORDER, BORDERS, FOVS, GRID, GRIDS, RATIOS
from gp3d_core.meshing.files.formats import FORMATS
from gp3d_core.meshing.option_values import Number, OneOf, Values, expected
from gp3d_core.meshing.options import MeshOptions, SceneMeshOptions, specs
from gp3d_core.preparation.depth.kinds import MEANINGS, Meaning
from gp3d_core.strict_json import check_characters, of_text
from gp3d_core.worker.object_requests import MOST_SEED, check_object

PROTOCOL = 1
MAX_LINE = 65536  # bytes of a request
MAX_SEED = MOST_SEED
MOST_PREVIEWS = 64  # objects of a request, and directions
JOBS = (
    "load",
    "preview",
    "mesh",
    "volume",
    "picture",
    "lift",
    "trust",
    "trust_picture",
)  # the others are answered at once

Check = Callable[[Any], Any]


class Problem(GP3DError):
    """What an `error` event says: a code, one sentence, one action, and the id it answers (None if unknown)."""

    def __init__(self, code: str, message: str, action: str, request: str | None = None) -> None:
        super().__init__(message)
        self.code, self.action, self.request = code, action, request

    def event(self, request: str | None) -> dict[str, Any]:
        """The event that answers the request with this id."""
        message = one_line(spell(str(self), _field_of))
        return {
            "event": "error",
            "id": request,
            "code": self.code,
            "message": message,
            "action": self.action,
        }


def _field_of(parameter: str) -> str:
    """What messages call a parameter: the field of requests that says it, in backticks."""
    known = {name: option.field or name for name, option in specs(MeshOptions).items()} | {"classes": "class"}
    return f"`{known.get(parameter, parameter)}`"


@dataclass(frozen=True)
class Request:
    """A request that keeps all the rules: `options` holds every option of `op`, defaults filled in."""

    id: str
    op: str
    options: Mapping[str, Any]


class LoadOptions(TypedDict):
    """Options of `load`."""

    snapshot: str | None
    device: str | None


class FileOptions(TypedDict):
    """Where the files of a mesh go, how they are called and in which formats they are."""

    dir: Path
    formats: list[str]
    stem: str | None


# "class" is no name of Python's; what says how a mesh is made is read by MeshOptions.of_request
_Chosen = TypedDict("_Chosen", {"class": str | None, "model": str | None, "truncation": float})


class PreviewOptions(_Chosen):
    """Options of `preview`: `seeds` of the class, or `objects`; each from `yaw`, or from all `yaws`."""

    dir: Path
    seeds: list[int] | None
    objects: list[Mapping[str, Any]] | None
    resolution: int | None
    yaw: float
    yaws: list[float] | None


class ObjectMeshOptions(_Chosen, FileOptions):
    """Options of `mesh` besides those of meshes: the `seed` of the class, or an `object`."""

    seed: int | None
    object: Mapping[str, Any] | None
    thumbnail: bool


class VolumeOptions(_Chosen):
    """Options of `volume`: as of `mesh`, and how many samples there are an axis."""

    dir: Path
    seed: int | None
    object: Mapping[str, Any] | None
    grid: int
    stem: str | None


class PictureMeshOptions(FileOptions):
    """Options of `picture` besides those of meshes."""

    picture: str
    tokenizer: str
    mask: str | None


class TrustOptions(_Chosen):
    """Options of `trust` besides those of meshes."""

    seed: int | None
    object: Mapping[str, Any] | None
    dir: Path
    stem: str | None


class PictureTrustOptions(TypedDict):
    """Options of `trust_picture` besides those of meshes."""

    picture: str
    tokenizer: str
    mask: str | None
    dir: Path
    stem: str | None


class LiftRequest(FileOptions):
    """Options of `lift`."""

    picture: str
    depth: str | None
    depth_model: str | None
    kind: Meaning | None
    ratio: float | None
    fov: float | None
    grid: int
    border: float
    mask: str | None


def read_request(line: bytes) -> Request:
    """The request in `line`. Raises Problem (E_PROTOCOL), which carries the request's id if it has one."""
    message = _parse(line)
    name = message.pop("id", None)
    if not (isinstance(name, str) and 1 <= len(name) <= 128):
        _refuse("expected an id, a string of 1 to 128 characters")
    return request_of(name, message.pop("op", None), message)


def request_of(name: str, op: Any, fields: Mapping[str, Any]) -> Request:
    """The request of that id with these fields. Raises Problem (E_PROTOCOL), which carries the id."""
    try:
        check_characters([op, fields])
        if not isinstance(op, str) or op not in OPERATIONS:
            _refuse(f"expected an op, one of {', '.join(OPERATIONS)}, found {_shown(op)}")
        return Request(name, op, _one_of(_options(OPERATIONS[op], fields), fields))
    except Problem as problem:
        problem.request = name
        raise
    except ValueError as error:
        raise Problem("E_PROTOCOL", str(error), _ADVICE, name) from None


def _parse(line: bytes) -> dict[str, Any]:
    try:
        message = of_text(line.decode("utf-8"))
    except ValueError as error:
        raise Problem("E_PROTOCOL", f"not a line of JSON ({error})", _ADVICE) from None
    if not isinstance(message, dict):
        _refuse(f"expected a JSON object, found {_shown(message)}")
    return message


def _options(fields: Mapping[str, tuple[Check, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options by name, checked; those left out get their default."""
    if unknown := sorted(set(given) - set(fields)):
        _refuse(f"unknown field {_shown(unknown[0])}; known are {', '.join(fields) or 'none'}")
    options = {}
    for name, (check, default) in fields.items():
        if name not in given and default is _REQUIRED:
            _refuse(f"the field {name} is missing")
        try:
            options[name] = check(given[name]) if name in given else default
        except ValueError as error:
            _refuse(f"{name}: expected {error}, found {_shown(given[name])}")
    return options


def _one_of(options: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The `options` themselves, if objects are said in one way: by class and seeds, or whole."""
    for plain, whole in (("seed", "object"), ("seeds", "objects")):
        if plain not in options:
            continue
        if options[plain] is None and options[whole] is None:
            _refuse(f"the field {plain} is missing")
        if options[whole] is not None and (options[plain] is not None or given.get("class") is not None):
            _refuse(f"{whole}: expected no class and no {plain} beside it")
    return options


def _refuse(message: str) -> NoReturn:
    raise Problem("E_PROTOCOL", message, _ADVICE)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_NAME_BYTES = 200  # in UTF-8: with what is added to it a file system takes 255


def _text(longest: int, pattern: str = r".+", noun: str = "a text") -> Check:
    def check(value: Any) -> str:
        if isinstance(value, str) and len(value) <= longest and re.fullmatch(pattern, value, re.DOTALL):
            return value
        raise ValueError(f"{noun} of 1 to {longest} characters")

    return check


def _file_name(value: Any) -> str:
    """A file's name that every system takes, without its ending, of letters of any script."""
    name = _text(100, r"[\w(-][\w .()+,-]*(?<![ .])", "a file name")(value)
    if len(name.encode()) > _NAME_BYTES:
        raise ValueError(f"a file name of at most {_NAME_BYTES} bytes")
    return name


def _several(check: Check, most: int) -> Check:
    def check_all(value: Any) -> list[Any]:
        if isinstance(value, list) and 1 <= len(value) <= most:
            return [check(entry) for entry in value]
        raise ValueError(f"a list of 1 to {most} entries")

    return check_all


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _mesh_fields(kind: type[MeshOptions]) -> dict[str, tuple[Check, Any]]:
    """The fields that say how a mesh is made."""
    usual = kind().to_request()
    return {
        option.field or name: (_value(option.values, as_sent=True), usual[option.field or name])
        for name, option in specs(kind).items()
        if option.kept
    }


def _value(values: Values, *, as_sent: bool = False) -> Check:
    """Returns what a request says, or the option's value: None for a 0 that means no limit, 1.0 for 1."""

    def check(value: Any) -> Any:
        found = values.of_json(value)
        if values.accepts(found):
            return value if as_sent else found
        raise ValueError(expected(values, "null"))

    return check


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def _class_query(value: Any) -> str | None:
    if value is None or (type(value) is int and 0 <= value <= 10**9):
        return None if value is None else str(value)
    if isinstance(value, str) and 1 <= len(value) <= 200:
        return value
    raise ValueError("a class name, index or WordNet id, or null")


def _folder(value: Any) -> Path:
    if isinstance(value, str) and "\0" not in value and len(value) <= 4096 and Path(value).is_absolute():
        return Path(value)
    raise ValueError("the absolute path of a folder")


_ADVICE = "See docs/serve.md for the requests of this version."
_REQUIRED = object()
_SEED = _value(Number(0, MAX_SEED, whole=True))
_YAW = _value(Number(-math.pi, math.pi))
_SPEC: dict[str, tuple[Check, Any]] = {
    "class": (_class_query, None),
    "model": (_or_null(_text(200, r"[^\0/]+", "a name or a SHA-256, or null")), None),
    "truncation": (_value(Number(0, MOST_TRUNCATION)), DEFAULT_TRUNCATION),
    "dir": (_folder, _REQUIRED),
}

_STEM = (_file_name, None)
_FILES: dict[str, tuple[Check, Any]] = {
    "formats": (_several(_value(OneOf(FORMATS)), len(FORMATS)), ["npz"]),
    "stem": _STEM,
}
_VOLUME_GRIDS = (8, 256)  # as generation.volumes has them, which needs torch
_RELIEFS = ("npz", "glb")  # formats of reliefs
_PATH = _text(4096, r"[^\0]+", "a path")
_PATH_OR_NULL = _or_null(_text(4096, r"[^\0]+", "a path or null"))
_THUMBNAIL: dict[str, tuple[Check, Any]] = {"thumbnail": (_flag, False)}
_OBJECT = _SPEC | _mesh_fields(MeshOptions) | {"seed": (_SEED, None), "object": (check_object, None)}
_SCENE = _mesh_fields(SceneMeshOptions) | {
    "picture": (_PATH, _REQUIRED),
    "tokenizer": (_PATH, _REQUIRED),
    "mask": (_PATH_OR_NULL, None),
    "dir": (_folder, _REQUIRED),
}

# For every operation its fields: how they are checked, and what they are when left out.
OPERATIONS: dict[str, dict[str, tuple[Check, Any]]] = {
    "hello": {"protocol": (_value(Number(0, 10**9, whole=True)), _REQUIRED)},
    "load": {
        "snapshot": (_PATH_OR_NULL, _REQUIRED),
        "device": (_value(OneOf(("auto", "cpu", "cuda"))), None),
    },
    "classes": {},
    "preview": _SPEC
    | {
        "seeds": (_several(_SEED, MOST_PREVIEWS), None),
        "objects": (_several(check_object, MOST_PREVIEWS), None),
        "resolution": (_value(Number(16, 1024, whole=True)), None),
        "yaw": (_YAW, 0.0),
        "yaws": (_several(_YAW, MOST_PREVIEWS), None),
    },
    "mesh": _OBJECT | _FILES | _THUMBNAIL,
    "volume": _SPEC
    | {
        "seed": (_SEED, None),
        "object": (check_object, None),
        "grid": (_value(Number(*_VOLUME_GRIDS, whole=True)), 96),
        "stem": _STEM,
    },
    "picture": _SCENE | _FILES,
    "lift": {
        "picture": (_PATH, _REQUIRED),
        "depth": (_PATH_OR_NULL, None),
        "depth_model": (_PATH_OR_NULL, None),
        "kind": (_or_null(_value(OneOf(MEANINGS))), None),
        "ratio": (_or_null(_value(Number(*RATIOS))), None),
        "fov": (_or_null(_value(Number(*FOVS))), None),
        "grid": (_value(Number(*GRIDS, whole=True)), GRID),
        "border": (_value(Number(*BORDERS)), BORDER),
        "mask": (_PATH_OR_NULL, None),
        "formats": (_several(_value(OneOf(_RELIEFS)), len(_RELIEFS)), ["npz"]),
        "stem": _STEM,
        "dir": (_folder, _REQUIRED),
    },
    "trust": _OBJECT | {"stem": _STEM},
    "trust_picture": _SCENE | {"stem": _STEM},
    "cancel": {"target": (_text(128), _REQUIRED)},
    "status": {},
    "shutdown": {},
}
