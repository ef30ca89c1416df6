"""Models of a source, written one by one in ShapeNetCore.v2 layout; what is there is kept, what failed is remembered.

    OUT/library.json      which source and settings made the library
    OUT/licences.jsonl    who made each model (synthetic/layouts/licences.py)
    OUT/failures.jsonl    {"model", "reason"} of what could not be made; only if there is any
    and taxonomy.json, classes.json and the models' folders of synthetic/layouts/shapenet_files.py

A model's own model_normalized.json holds its class, credit, tags and notes besides its bounds, so the index can be made
again from the folders at any time; it is, when a run begins and when it ends. Nothing is written outside OUT.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from synthetic.atomic import LOCK, alone_in, content_of, is_part, write_whole
from synthetic.layouts.licences import LICENCES, Credit, LicenceFilter, licence_lines
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, ObjectClass
from synthetic.layouts.shapenet_files import PARTIAL, bounds, building_model, is_whole, write_index
from synthetic.layouts.taxonomy import SHAPENET_CATEGORIES
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.obj import write_surface

FORMAT, VERSION = "gp3d-library", 1
FAILURES = "failures.jsonl"
_FACTS = "library.json"
_WORKSPACE = ".workspace"
_OF_EACH_RUN = (LOCK, _WORKSPACE)
_FACTS_FILE = "models/model_normalized.json"
_INDEX_EVERY = 200  # models, so that a library whose making was killed can be used up to there
_NAME = re.compile(r"\w[\w .+-]{0,199}")
_NAMES: dict[str, str] = {synset: name for synset, (name, _) in SHAPENET_CATEGORIES.items()}


@dataclass
class Written:
    """What a run did.

    `new` models were written, `kept` were there and asked for, `others` there and not asked for, `failed` says why by
    key, `left_out` counts by licence what was not to be used, `unwanted` likewise models of earlier runs that stay in
    the library; `notes` count what the files of new models do not say.
    """

    new: int = 0
    kept: int = 0
    others: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    unwanted: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def followed_by(self, other: Written) -> Written:
        """What this run and another did, which came after it and for which the models of this one were others."""
        return Written(
            self.new + other.new,
            self.kept + other.kept,
            other.others - self.new - self.kept,
            self.failed | other.failed,
            self.left_out + other.left_out,
            other.unwanted,
            self.notes + other.notes,
        )


def write_library(
    out: Path,
    name: str,
    source: LibrarySource,
    *,
    licences: LicenceFilter | None = None,
    retry: bool = False,
    progress: Callable[[Sequence[LibraryJob]], Iterable[LibraryJob]] = iter,
) -> Written:
    """Makes the models of a source that `out` lacks; what was done.

    `name` is the source's, `licences` are those of models that may be written (None: all), `retry` tries again what
    failed in earlier runs, `progress` wraps the jobs, e.g. `tqdm`. Raises LibraryError where `out` holds something
    else or is written by another process, OSError where it cannot be written.
    """
    done = Written()
    _make_folder(out)
    with alone_in(out, LibraryError(f"{out}: another process is writing it; wait for it")):
        _claim(out, name, source.settings)
        there = _models_in(out)
        failures = {} if retry else _read_failures(out / FAILURES)
        failures = {key: reason for key, reason in failures.items() if key not in there}
        jobs, broken = _checked(source.jobs)
        _forget_other_licences(out, jobs, there)
        failures |= {**source.unusable, **broken}
        done.kept = sum(job.key in there for job in jobs)
        done.others = len(there) - done.kept
        if licences is not None:
            of_all = Counter(str(record["credit"]["licence"]) for record in there.values())
            done.unwanted = Counter({one: n for one, n in of_all.items() if not licences.allows(one)})
        wanted = [job for job in jobs if job.key not in there and job.key not in failures]
        try:
            for job in progress(wanted):
                _write(out, job, licences, there, failures, done)
        finally:  # of a library that is stopped here, too, everything that is whole is of use
            shutil.rmtree(out / _WORKSPACE, ignore_errors=True)
            _write_all(out, there, failures)
        asked = {job.key for job in jobs} | source.unusable.keys() | broken.keys()
        done.failed = {key: reason for key, reason in failures.items() if key in asked}
    return done


def _forget_other_licences(out: Path, jobs: Sequence[LibraryJob], there: dict[str, dict[str, Any]]) -> None:
    """Removes models whose source names another licence than the one they were written with."""
    for job in jobs:
        if job.licence and job.key in there and there[job.key]["credit"]["licence"] != job.licence:
            shutil.rmtree(out / job.key)
            del there[job.key]


def _write(
    out: Path,
    job: LibraryJob,
    licences: LicenceFilter | None,
    there: dict[str, dict[str, Any]],
    failures: dict[str, str],
    done: Written,
) -> None:
    """Makes and writes one model, or says in `failures` why not."""
    if licences is not None and job.licence and not licences.allows(job.licence):
        done.left_out[job.licence] += 1
        return
    workspace = out / _WORKSPACE
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    try:
        model = job.make(workspace)
        if licences is not None and not licences.allows(model.credit.licence):
            done.left_out[model.credit.licence] += 1
            return
        there[job.key], notes = write_model(out / job.key, job, model)
    except BrokenModelError as error:
        failures[job.key] = str(error)
        with (out / FAILURES).open("a", encoding="utf-8") as file:
            file.write(_failure(job.key, str(error)))
        return
    done.notes.update(notes.keys())
    done.new += 1
    if done.new % _INDEX_EVERY == 0:
        _write_all(out, there, failures)


def write_model(folder: Path, job: LibraryJob, model: LibraryModel) -> tuple[dict[str, Any], Counter[str]]:
    """Writes a model as `folder`, which appears whole or not at all; its record, and what its files do not say.

    Raises BrokenModelError for a surface that has no size.
    """
    surface = model.surface
    used = surface.positions[surface.triangles.ravel()]
    if not len(used) or not (used.max(axis=0) - used.min(axis=0)).any():
        raise BrokenModelError("it has no size")
    with building_model(folder) as partial:
        notes = write_surface(surface, partial / "models", partial / "images")
        record = {
            **bounds(job.identifier, surface.positions),
            "class": job.object_class.as_json(),
            "credit": {key: text for key, text in asdict(model.credit).items() if key != "fault"},
            "tags": dict(model.tags),
            "notes": dict(sorted(notes.items())),
        }
        (partial / _FACTS_FILE).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    return record, notes


def _make_folder(out: Path) -> None:
    """Makes the folder, unless it is there; LibraryError where it holds anything but a library."""
    if out.exists() and not out.is_dir():
        raise LibraryError(f"{out}: is no folder; expected a new one, or a library to go on with")
    out.mkdir(parents=True, exist_ok=True)
    strange = sorted(
        path.name for path in out.iterdir() if path.name not in _OF_EACH_RUN and not is_part(path)
    )
    if strange and not (out / _FACTS).is_file():
        raise LibraryError(
            f"{out}: holds {strange[0]!r} and no {_FACTS}, so it is no library of this command; "
            "choose another folder"
        )


def _claim(out: Path, name: str, settings: Any) -> None:
    """Writes which source and settings make the library, or makes sure that they are those it was begun with."""
    facts = {"format": FORMAT, "version": VERSION, "source": name, "settings": dict(settings)}
    facts = json.loads(json.dumps(facts))
    path = out / _FACTS
    if not path.exists():
        write_whole(path, json.dumps(facts, indent=1).encode())
        return
    try:
        found = json.loads(content_of(path))
        begun = found["source"], dict(found["settings"]), found["format"], found["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise LibraryError(f"{path}: cannot be read; remove {out} or choose another folder") from None
    if found == facts:
        return
    if begun[2:] != (FORMAT, VERSION) or begun[0] != name:
        raise LibraryError(
            f"{out}: was made by {found['format']} {found['version']} of {begun[0]!r}; choose another folder"
        )
    different = [
        f"{key} was {begun[1].get(key)!r}, is {facts['settings'].get(key)!r}"
        for key in sorted({*begun[1], *settings})
        if begun[1].get(key) != facts["settings"].get(key)
    ]
    raise LibraryError(
        f"{out}: was begun with other settings ({'; '.join(different)}); choose another folder"
    )


def _models_in(out: Path) -> dict[str, dict[str, Any]]:
    """The record of every model that a library holds whole, by key; half-made ones go."""
    found = {}
    for synset in sorted(path for path in out.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for folder in sorted(path for path in synset.iterdir() if path.is_dir()):
            record = _record(folder) if is_whole(folder) else None
            if folder.name.startswith("."):  # others than half-made models are somebody's own
                if folder.name.endswith(PARTIAL) and folder.resolve().is_relative_to(out.resolve()):
                    shutil.rmtree(folder, ignore_errors=True)
            elif record is not None:
                found[f"{synset.name}/{folder.name}"] = record
    return found


def _record(folder: Path) -> dict[str, Any] | None:
    """A model's record, None where it cannot be used."""
    try:
        record = json.loads(content_of(folder / _FACTS_FILE))
        Credit(**record["credit"])
        return record if {"class", "tags"} <= record.keys() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _checked(jobs: Sequence[LibraryJob]) -> tuple[list[LibraryJob], dict[str, str]]:
    """The jobs whose names and classes can stand beside each other, and why the others cannot."""
    good: dict[str, LibraryJob] = {}
    broken: dict[str, str] = {}
    classes: dict[str, Any] = {}
    for job in jobs:
        said = classes.setdefault(job.object_class.wnid, job.object_class)
        if not _NAME.fullmatch(job.identifier):
            broken[job.key] = "its name may hold letters, digits, blanks and .+-_ only"
        elif job.key in good:
            broken[f"{job.key} (again)"] = "another model has the same class and name"
        elif said != job.object_class:
            broken[job.key] = f"its class {job.object_class.wnid} is {said.name!r} for another model"
        else:
            good[job.key] = job
    return list(good.values()), broken


def _read_failures(path: Path) -> dict[str, str]:
    """Reasons by model; torn lines of a killed run are passed over."""
    found: dict[str, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                found[str(entry["model"])] = str(entry["reason"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
    return found


def _failure(key: str, reason: str) -> str:
    return json.dumps({"model": key, "reason": reason}, ensure_ascii=False) + "\n"


def _write_all(out: Path, there: dict[str, dict[str, Any]], failures: dict[str, str]) -> None:
    """Writes the index of all models, their licences and the failures."""
    records = {key: {**record["class"], **record["tags"]} for key, record in there.items()}
    write_index(out, records, _NAMES)
    credits = {key: Credit(**record["credit"]) for key, record in there.items()}
    write_whole(out / LICENCES, licence_lines(credits).encode())
    if failures:
        text = "".join(_failure(key, reason) for key, reason in sorted(failures.items()))
        write_whole(out / FAILURES, text.encode())
    else:
        (out / FAILURES).unlink(missing_ok=True)


def chosen(source: LibrarySource, classes: str, limit: int | None) -> LibrarySource:
    """The source with the jobs of some classes only, at most `limit` of them, the classes taking turns.

    `classes` are names, ImageNet indices or WordNet ids with commas between, "" for all. Raises LibraryError for one
    that the source has no model of.
    """
    jobs = list(source.jobs)
    words = [word.strip().lower().replace("_", " ") for word in classes.split(",") if word.strip()]
    if words:
        names = [_words_for(job.object_class) for job in jobs]
        known = set().union(*names, *map(_words_for, source.classes))
        unknown = [word for word in words if word not in known]
        if unknown:
            some = sorted({one.name for one in (*source.classes, *(job.object_class for job in jobs))})
            raise LibraryError(
                f"{unknown[0]!r} is no class of this source; it has {len(some)}: {', '.join(some)}"[:2000]
            )
        jobs = [job for job, own in zip(jobs, names, strict=True) if own & set(words)]
    turns: Counter[str] = Counter()
    ordered = []
    for place, job in enumerate(jobs):
        turns[job.object_class.wnid] += 1
        ordered.append((turns[job.object_class.wnid], place, job))
    jobs = [job for _, _, job in sorted(ordered, key=lambda entry: entry[:2])][:limit]
    return replace(source, jobs=jobs)


def _words_for(one: ObjectClass) -> set[str]:
    found = {one.name.lower().replace("_", " "), one.wnid}
    return found if one.imagenet_index is None else found | {str(one.imagenet_index)}
