"""What a snapshot or checkpoint says of itself, read from the header of its file: quick, without torch.

The header of these safetensors files carries their format, its version, and facts as JSON (docs/snapshot.md).
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from gp3d_core.config.schema import RunConfig, from_dict
from gp3d_core.config.systems import config_type
from gp3d_core.config.validation import check_config
from gp3d_core.datasets.imagenet import ClassRecord, class_records
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import DAMAGE
from gp3d_core.licences.parts import NONE, Licences, Part, bounded, parse_licences, stated_or_unknown
from gp3d_core.pretrained import LICENSE, ORIGIN, is_own

SNAPSHOT = "gp3d-snapshot"
CHECKPOINT = "gp3d-checkpoint"
VERSION = 1
_WORDS = {
    SNAPSHOT: "a snapshot",
    CHECKPOINT: "a checkpoint",
    "gp3d-vq3d": "a VQ3D tokenizer",
    "gp3d-vq3d-prior": "a prior of VQ3D",
    "gp3d-vq3d-scene": "a VQ3D scene",
    "gp3d-vq3d-tokens": "encoded pictures of VQ3D",
}


class SnapshotError(GP3DError):
    """A snapshot or checkpoint that cannot be used; the message says what was expected and what was found."""


@dataclass(frozen=True)
class SnapshotFacts:
    """Where a snapshot lies, how it was trained, the records of its classes, and how many images it has seen.

    `license` is that of the model and what it makes, in words; "" where nobody states one. `licences` are those of
    what it has learnt from, with their authors; none in files of older versions.
    """

    path: Path
    config: RunConfig
    classes: list[ClassRecord]
    nimg: int
    license: str = ""
    licences: Licences = NONE


BARELY = 0.1  # of the planned training, below which objects are expected to be shapeless


def share_trained(config: RunConfig, nimg: int) -> float:
    """The share of its planned training that a model has had which has seen `nimg` images."""
    return nimg / (1000 * config.training.kimg)


def read_header(path: Path, kind: str) -> dict[str, Any]:
    """The facts of the file at `path`, which must be of the given kind.

    Raises SnapshotError for a file that is missing, truncated, or of another format or version.
    """
    if not path.is_file():
        noun = _WORDS.get(kind, kind).removeprefix("a ")
        raise SnapshotError(f"no {noun} at {path}")
    header = _metadata(path)
    found = (header.get("format"), header.get("version"))
    if found != (kind, str(VERSION)):
        other = f"{found[0]} version {found[1]}" if found[0] else "no format: it is none of GP3D's"
        raise SnapshotError(
            f"{path}: {_in_words(kind, found[0])}expected {kind} version {VERSION}, found {other}"
        )
    try:
        return dict(json.loads(header["facts"]))
    except DAMAGE as error:
        raise SnapshotError(f"{path}: the header is damaged ({error}); copy or train it again") from error


def _in_words(kind: str, found: str | None) -> str:
    """Which two things were mixed up, where both have a name; else nothing."""
    if found is None or found == kind or not {kind, found} <= _WORDS.keys():
        return ""
    return f"this is {_WORDS[found]}, and {_WORDS[kind]} is needed; "


def kind_of(path: Path) -> str:
    """The format that the file at `path` says it has, "" for none. Raises SnapshotError for one that cannot be read."""
    return str(_metadata(path).get("format", ""))


def _metadata(path: Path) -> dict[str, str]:
    """What stands in the header of a safetensors file."""
    try:
        with path.open("rb"):  # safetensors says of a file that may not be read that there is none
            pass
        with safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except PermissionError as error:
        raise SnapshotError(
            f"{path} may not be read ({error.strerror}); ask its owner, or copy it"
        ) from error
    except (SafetensorError, OSError) as error:
        raise SnapshotError(
            f"{path} is truncated or not a safetensors file ({error}); copy or train it again"
        ) from error


def read_snapshot_facts(path: Path) -> SnapshotFacts:
    """What the snapshot at `path` says of itself.

    Raises SnapshotError as `read_header` does, and for facts that are wrong or do not fit together.
    """
    facts = read_header(path, SNAPSHOT)
    try:
        config = from_dict(facts["config"], config_type(facts.get("system", RunConfig.system)))
        check_config(config)
        # which kernels computed is a matter of the machine that trained, not of the model
        config = replace(config, render=replace(config.render, backend="auto"))
        classes, nimg = class_records(facts["classes"]), _parse_nimg(facts["nimg"])
        license = str(facts.get("license", LICENSE if is_own(path) else ""))
        return SnapshotFacts(path, config, classes, nimg, license, licences_in(facts))
    except DAMAGE as error:
        raise SnapshotError(
            f"{path} was written by another version of gp3d ({error}); use that version"
        ) from error


def licence_facts(licences: Licences) -> dict[str, Any]:
    """What the header of a model's file says of its licences; nothing where there are none."""
    return {"licences": bounded(licences).as_json()} if licences else {}


def licences_in(facts: Mapping[str, Any]) -> Licences:
    """The licences that the header of a model's file names, none without. Raises ValueError for wrong ones."""
    return parse_licences(facts["licences"]) if "licences" in facts else NONE


def handed_on(path: Path, licences: Licences, license: str = "") -> Licences:
    """What a model owes that learns from the one at `path`: what that one owes, or that it does not say."""
    if not licences and is_own(path):
        return Licences((Part(LICENSE, "GP3D", f"the pretrained model, made from {ORIGIN}"),))
    return stated_or_unknown(licences, license, f"model {path.name}")


def holds_snapshot(path: Path, nimg: int) -> bool:
    """Whether `path` holds what any training leaves, of just this clock."""
    try:
        return read_header(path, kind_of(path)).get("nimg") == nimg
    except SnapshotError:
        return False


def _parse_nimg(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"nimg: expected a whole number of at least 0, found {reprlib.repr(value)}")
    return value
