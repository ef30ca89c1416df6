"""A snapshot made ready to travel: half the bytes, and every class with what was measured of it, and a badge.

The badge of a class follows from the scores of `gp3d evaluate` (docs/evaluation.md). It is

* `good` when a classifier of renders names at least 80 % of its generated views right, their silhouettes overlap with
  the nearest real one at least 0.9 times as much as real views of other models do, and their depth is at most 1.5 times
  as wrong as that of those,
* `fair` for 50 %, 0.75 times and 2.5 times,
* `rough` otherwise.

A score that is missing is not asked for; without recognition there is no badge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gp3d_core.datasets.imagenet import ClassRecord, unrated
from gp3d_core.errors import GP3DError
from gp3d_core.hashing import digest
from gp3d_core.snapshots.snapshot import load_snapshot, save_snapshot

Badge = Literal["good", "fair", "rough"]
Measures = dict[str, dict[str, float]]  # by metric: "value", and if known "real", that of real models

_RECOGNISED = {"good": 0.80, "fair": 0.50}
_OVERLAP = {"good": 0.90, "fair": 0.75}  # of the real figure, at least
_DEPTH_ERROR = {"good": 1.5, "fair": 2.5}  # times the real figure, at most


class ShippingError(GP3DError):
    """A snapshot that cannot be shipped, or measures that do not belong to it; the message says why."""


def ship(
    snapshot: Path, out: Path, measures: Sequence[Path] = (), license: str | None = None
) -> list[ClassRecord]:
    """Writes the snapshot file in half precision to `out`, whose suffix is .safetensors; returns its class records.

    The records carry "measures" and "badge" as the metrics.jsonl files `measures` have them; of two lines on one metric
    the later counts. Without such files what the snapshot says already stays, and so does its licence without a
    `license`, in words, which every file that the model makes will name; the licences of what it has learnt from
    always stay. Raises ShippingError for weights that
    half precision cannot hold, files that hold no measures, and measures of another snapshot.
    """
    if out.suffix != ".safetensors":
        raise ShippingError(f"{out}: expected the name of a .safetensors file")
    if out.exists() and out.samefile(snapshot):
        raise ShippingError(
            f"{out} is the snapshot itself, which half precision would replace; give another name"
        )
    loaded = load_snapshot(snapshot)
    classes = rate(loaded.classes, read_measures(measures, snapshot)) if measures else loaded.classes
    generator = loaded.generator.half()
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ShippingError(f"{snapshot}: {name} holds numbers that half precision cannot; keep it whole")
    out.parent.mkdir(parents=True, exist_ok=True)
    license = loaded.license if license is None else license
    save_snapshot(out, generator, loaded.config, classes, loaded.nimg, license, loaded.licences)
    return classes


def read_measures(paths: Sequence[Path], snapshot: Path) -> dict[str, Measures]:
    """What the metrics.jsonl files say of every class, by its name.

    Raises ShippingError for other files, and where the evaluation beside one is of another snapshot.
    """
    found: dict[str, Measures] = {}
    for path in paths:
        _check_origin(path, snapshot)
        for line in _lines(path):
            facts, metric = line["facts"], str(line["metric"])
            real = facts.get("floor_per_class") or {}
            for name, value in (facts.get("per_class") or {}).items():
                if _is_number(value):
                    floor = {"real": round(real[name], 4)} if _is_number(real.get(name)) else {}
                    found.setdefault(name, {})[metric] = {"value": round(value, 4), **floor}
    if not found:
        raise ShippingError(f"{', '.join(map(str, paths))}: no line measures single classes (per_class)")
    return found


def rate(classes: Sequence[ClassRecord], found: Mapping[str, Measures]) -> list[ClassRecord]:
    """The class records with what was found of them by name. Raises ShippingError if nothing was found of any."""
    if not {record["name"] for record in classes} & set(found):
        raise ShippingError(f"the measures are of other classes, such as {next(iter(found))!r}")
    rated = []
    for record in classes:
        own = found.get(record["name"], {})
        badge = badge_of(own)
        new = unrated(record)
        if badge:
            new["badge"] = badge
        if own:
            new["measures"] = dict(own)
        rated.append(new)
    return rated


def badge_of(measures: Measures) -> Badge | None:
    """The badge that these measures of a class earn, as the rule at the top of this file says."""
    recognised = measures.get("recognition")
    if recognised is None:
        return None
    levels: tuple[Literal["good"], Literal["fair"]] = ("good", "fair")
    for level in levels:
        if recognised["value"] >= _RECOGNISED[level] and resembles_real(measures, level):
            return level
    return "rough"


def resembles_real(measures: Measures, level: Literal["good", "fair"]) -> bool:
    """Whether silhouettes and depth are near enough to those of real models for a badge; missing ones are not asked."""
    overlap, error = measures.get("geometry/silhouette_iou"), measures.get("geometry/depth_error")
    enough = True
    if overlap and "real" in overlap:
        enough &= overlap["value"] >= _OVERLAP[level] * overlap["real"]
    if error and "real" in error:
        enough &= error["value"] <= _DEPTH_ERROR[level] * error["real"]
    return enough


def _check_origin(path: Path, snapshot: Path) -> None:
    """An evaluation's folder says of which snapshot its measures are; a file that lies alone is taken as it is."""
    record = path.parent / "evaluation.json"
    if not record.is_file():
        return
    try:
        measured = json.loads(record.read_text(encoding="utf-8"))["snapshot_sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ShippingError(f"{record} cannot be read ({error!r}); name another metrics.jsonl") from error
    if measured != digest(snapshot):
        raise ShippingError(
            f"{path} measures another snapshot, SHA-256 {str(measured)[:12]}…, not {snapshot}; evaluate this one"
        )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ShippingError(f"no measures at {path}: expected a metrics.jsonl of gp3d evaluate")
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            line = json.loads(text)
            if not (isinstance(line["facts"], dict) and isinstance(line["metric"], str)):
                raise TypeError("no score")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ShippingError(f"{path}, line {number}: expected a score as JSON ({error!r})") from error
        lines.append(line)
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
