"""The index of a dataset folder: dataset.json, cameras.json, manifest.json and failures.jsonl (docs/dataset.md).

It is built from the camera records and the failures alone and can be made again at any time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from synthetic.atomic import content_of, write_whole, writing_whole
from synthetic.dataset import (
    CAMERA_RECORD,
    CameraRecord,
    DatasetError,
    Settings,
    SettingsRecord,
    SourceRecord,
    ViewRecord,
    as_bytes,
    make_folder,
    views_in,
)
from synthetic.layouts.licences import UNKNOWN, CreditRecord
from synthetic.layouts.shapenet import ObjectClass, Split, split_of

FORMAT = "gp3d-dataset"
VERSION = 1
CAMERA_CONVENTION = "gp3d-1"
_LICENSE = "the licences of the source models apply"  # where their library does not state them
_NOBODY: CreditRecord = {"author": "", "licence": UNKNOWN, "source": "", "changes": ""}
_BESIDE_VIEWS = ("points", "cameras.json", "manifest.json", "failures.jsonl", "unused.jsonl")
_VIEW_KEYS = {"class", "model", *ViewRecord.__required_keys__}


class FailureRecord(TypedDict):
    """A model that could not be rendered, and why."""

    model: str
    reason: str


class GeneratorRecord(TypedDict):
    """What made a dataset, as far as it is read again."""

    settings: SettingsRecord


class IndexRecord(TypedDict):
    """dataset.json, as far as it is read again."""

    labels: list[tuple[str, int]]
    generator: GeneratorRecord
    failures: list[FailureRecord]


class LicenceRecord(CreditRecord):
    """How many models of a data set one credit is about."""

    models: int


class ManifestEntry(SourceRecord):
    """What a model's views were made of, and on which side of the split it is."""

    split: Split


def check_place(folder: Path) -> None:
    """Makes sure, before anything is written, that `folder` is new, empty, or a data set. Raises DatasetError."""
    if (folder / "taxonomy.json").exists():
        raise DatasetError(f"{folder}: is a model library; choose another folder")
    if not folder.is_dir() or (folder / "dataset.json").exists():
        return
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    strange = [name for name in names if name not in _BESIDE_VIEWS]
    if strange and not views_in(folder):
        raise DatasetError(
            f"{folder}: holds {strange[0]!r} and no dataset.json, so it is no data set; choose another folder"
        )


def open_dataset(folder: Path, settings: Settings, shared: bool = False) -> dict[str, str]:
    """Makes sure that `folder` can take views of these settings; the failures it remembers, model to reason.

    A folder without a view may change its settings, unless it is `shared` with other processes. Raises DatasetError
    where the folder cannot be written, or where it holds views of other settings.
    """
    make_folder(folder)
    index_path = folder / "dataset.json"
    if not index_path.exists():
        return read_failures(folder / "failures.jsonl")
    index = _read_index(index_path)
    if shared or index["labels"] or views_in(folder):
        _compare_settings(folder, index["generator"]["settings"], settings.as_json())
    known = read_failures(folder / "failures.jsonl")
    return known or {failure["model"]: failure["reason"] for failure in index["failures"]}


def blenders_of(folder: Path) -> list[str]:
    """Versions of the Blenders that drew what a data set holds, the first one first; none without its index."""
    if not (folder / "dataset.json").exists():
        return []
    generator: Mapping[str, object] = _read_index(folder / "dataset.json")["generator"]
    return [name for name in str(generator.get("blender", "")).split(", ") if name]


def _read_index(path: Path) -> IndexRecord:
    try:
        index = json.loads(content_of(path))
        found = index["format"], index["version"]
    except (ValueError, RecursionError):
        raise DatasetError(
            f"{path}: is damaged, or not the index of a {FORMAT}; choose another folder, or remove the file if the "
            "views are this program's: the same command writes it again"
        ) from None
    except (KeyError, TypeError):
        raise DatasetError(f"{path}: is not the index of a {FORMAT}; choose another folder") from None
    if found != (FORMAT, VERSION):
        raise DatasetError(
            f"{path}: expected {FORMAT} version {VERSION}, "
            f"found {found[0]} version {found[1]}; choose another folder"
        )
    generator = index.get("generator")
    settings = generator.get("settings") if isinstance(generator, dict) else None
    if not ({"labels", "failures"} <= index.keys() and isinstance(settings, dict) and "cameras" in settings):
        raise DatasetError(f"{path}: was not made by this program; choose another folder")
    record: IndexRecord = index
    return record


def _compare_settings(folder: Path, found: SettingsRecord, wanted: SettingsRecord) -> None:
    usual = _flat(Settings().as_json())  # for fields that an older version did not write
    old, new = {**usual, **_flat(found)}, _flat(wanted)
    different = [f"{key} {old[key]} (asked for: {new[key]})" for key in new if old[key] != new[key]]
    if different:
        raise DatasetError(
            f"{folder}: holds views with {', '.join(different)}; ask for the same or choose another folder"
        )


def _flat(settings: SettingsRecord) -> dict[str, object]:
    """All settings side by side: names do not repeat within cameras, surroundings and treatment."""
    groups = ("cameras", "surroundings", "treatment")
    single = {key: value for key, value in settings.items() if key not in groups}
    return {
        **single,
        **settings.get("surroundings", {}),
        **settings.get("treatment", {}),
        **settings["cameras"],
    }


def read_failures(path: Path) -> dict[str, str]:
    """The failures in a file of JSON lines, model to reason, sorted; a damaged line, or no file, says nothing."""
    lines = content_of(path).splitlines() if path.exists() else []
    found = (_failure(line) for line in lines)
    return dict(sorted((entry["model"], entry["reason"]) for entry in found if entry))


def _failure(line: bytes) -> FailureRecord | None:
    try:
        entry = json.loads(line)
        model, reason = entry["model"], entry["reason"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return {"model": model, "reason": reason} if isinstance(model, str) and isinstance(reason, str) else None


def remove_damaged(folder: Path) -> list[str]:
    """What was damaged in a dataset folder, by name and with what becomes of it; it is out of the way now.

    A camera record that is cut off goes, so that its view is rendered again; a torn line of failures.jsonl goes, so
    that its model is tried again.
    """
    damaged = []
    for name in sorted(views_in(folder)):
        path = folder / f"{name}{CAMERA_RECORD}"
        if not _is_whole(path):
            path.unlink()
            damaged.append(f"{path.relative_to(folder)} (its view is rendered again)")
    path = folder / "failures.jsonl"
    lines = content_of(path).splitlines() if path.exists() else []
    torn = sum(_failure(line) is None for line in lines)
    if torn:
        _write_failures(
            folder, [{"model": key, "reason": reason} for key, reason in read_failures(path).items()]
        )
        damaged.append(f"{torn} lines of failures.jsonl (their models are tried again)")
    return damaged


def _is_whole(path: Path) -> bool:
    try:
        record = json.loads(content_of(path))
        ObjectClass(**record["class"])
        source = record.get("source", {})
        credit, parent = source.get("licence", _NOBODY), source.get("parent", "")
        texts = [parent, *(credit[key] for key in _NOBODY)]
        return bool(record.keys() >= _VIEW_KEYS) and all(isinstance(text, str) for text in texts)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def write_index(
    folder: Path,
    settings: Settings,
    failures: Mapping[str, str],
    generator: Mapping[str, str],
    license_text: str,
) -> int:
    """Writes dataset.json, cameras.json, manifest.json and failures.jsonl; the number of views they list.

    `license_text` is that of the models in words, "" for what their records say.
    Memory holds the names, classes and angles of all views, but of their records one at a time.
    """
    names = sorted(views_in(folder))
    angles: list[tuple[float, float]] = []
    wnids: list[str] = []
    classes: dict[str, ObjectClass] = {}
    sources: dict[str, ManifestEntry] = {}
    with writing_whole(folder / "cameras.json") as cameras:
        cameras.write(f'{{\n "convention": "{CAMERA_CONVENTION}",\n "views": {{'.encode())
        for number, name in enumerate(names):
            record: CameraRecord = json.loads((folder / f"{name}{CAMERA_RECORD}").read_bytes())
            object_class = ObjectClass(**record["class"])
            source = record.get("source")
            if source:
                side = split_of(record["model"], source.get("parent", ""))
                sources[record["model"]] = {**source, "split": side}
            view = {key: value for key, value in record.items() if key not in ("class", "source")}
            classes[object_class.wnid] = object_class
            wnids.append(object_class.wnid)
            angles.append((record["yaw"], record["pitch"]))
            entry = f"{json.dumps(f'{name}.png')}: {json.dumps(view)}"
            cameras.write(f"{',' if number else ''}\n  {entry}".encode())
        cameras.write(b"\n }\n}\n")
    labels = {wnid: label for label, wnid in enumerate(sorted(classes))}
    made = {**generator, "seed": settings.seed, "settings": settings.as_json()}
    _write_manifest(folder, made, sources)
    licences = grouped(source.get("licence") for source in sources.values())
    listed = [{"model": model, "reason": reason} for model, reason in sorted(failures.items())]
    _write_failures(folder, listed)
    write_whole(
        folder / "dataset.json",
        as_bytes(
            {
                "format": FORMAT,
                "version": VERSION,
                "resolution": settings.resolution,
                "classes": [{"label": label, **classes[wnid].as_json()} for wnid, label in labels.items()],
                "labels": [[f"{name}.png", labels[wnid]] for name, wnid in zip(names, wnids, strict=True)],
                "camera_angles": [
                    [f"{name}.png", [*pair, 0.0]] for name, pair in zip(names, angles, strict=True)
                ],
                "t_near": settings.cameras.t_near,
                "t_far": settings.cameras.t_far,
                "license": license_text or in_words(licences),
                **({"licences": licences} if licences else {}),
                "generator": made,
                "failures": listed,
            }
        ),
    )
    return len(names)


def grouped(credits: Iterable[CreditRecord | None]) -> list[LicenceRecord]:
    """How many models there are of each licence, author, source and changes, sorted; none if no model has a credit.

    A model without one, beside others that have one, is of a licence that nobody knows.
    """
    each = list(credits)
    known = any(each)
    counts = Counter(
        (some["licence"], some["author"], some["source"], some["changes"])
        for some in (credit or _NOBODY for credit in each)
    )
    return [
        {"licence": licence, "author": author, "source": source, "changes": changes, "models": count}
        for (licence, author, source, changes), count in sorted(counts.items())
        if known
    ]


def in_words(licences: Iterable[LicenceRecord]) -> str:
    """The licences of a data set in words: "CC-BY-3.0 and CC0-1.0; see licences"."""
    names = sorted({record["licence"] for record in licences})
    if not names:
        return _LICENSE
    return f"{' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))}; see licences"


def _write_manifest(
    folder: Path, generator: Mapping[str, object], sources: Mapping[str, ManifestEntry]
) -> None:
    """One line a model, so that it can be read with any tool while it is large."""
    entries: Iterable[str] = (
        f"{json.dumps(model)}: {json.dumps(sources[model])}" for model in sorted(sources)
    )
    text = ",\n  ".join(entries)
    head = json.dumps({"format": "gp3d-manifest", "version": 1, "generator": generator})[:-1]
    write_whole(folder / "manifest.json", f'{head},\n "models": {{\n  {text}\n }}\n}}\n'.encode())


def _write_failures(folder: Path, failures: Iterable[Mapping[str, str]]) -> None:
    text = "".join(json.dumps(failure) + "\n" for failure in failures)
    if text or (folder / "failures.jsonl").exists():
        write_whole(folder / "failures.jsonl", text.encode())
