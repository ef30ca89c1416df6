"""A data set made of some images of another: as links, copies, a zip, or only the list of them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tqdm import tqdm

from gp3d_core.atomic import alone, forget_leftovers, replacing, write_json, write_text
from gp3d_core.datasets.archive import HEADER, Archive, DatasetError, depth_name, mask_name
from gp3d_core.licences.parts import grouped, parse_licences
from gp3d_core.preparation.dataset_card import CARD, empty_card, read_card, save_card
from gp3d_core.preparation.pack_folder import zip_folder

_VIEWS, _MODELS = "cameras.json", "manifest.json"
_BEGUN = ".subset.json"


def write_subset(
    source: Path,
    names: Sequence[str],
    out: Path,
    step: str,
    record: dict[str, Any],
    *,
    files: Literal["link", "copy"],
    changed: Callable[[str], bytes | None] = lambda name: None,
    beside: Callable[[], None] = lambda: None,
) -> None:
    """Writes the data set `out` with the images `names` of `source` and everything that belongs to them.

    By its ending `out` is a list (.txt, a path a line), a zip, or else a folder, whose files are hard links or copies.
    Labels keep their numbers, so that classes and features stay the same. The card gains the `step` with the facts
    `record`. `changed` may give a copied file another content, `beside` writes what belongs beside `out` before that
    appears. An interrupted call leaves `.<name>.partial`, with which the same call goes on.

    Raises DatasetError when `out` is there already, while another process writes it, and for links to another file
    system.
    """
    busy = DatasetError(f"another process is writing {out}; wait for it or choose another place")
    with alone(out.with_name(f".{out.name}.lock"), busy):
        if out.exists() and out.suffix != ".txt" and (out.is_file() or any(out.iterdir())):
            raise DatasetError(f"{out} is there already; remove it or choose another place")
        beside()
        _write(source, names, out, {"step": step, **record}, files, changed)


def _write(
    source: Path,
    names: Sequence[str],
    out: Path,
    done: dict[str, Any],
    files: Literal["link", "copy"],
    changed: Callable[[str], bytes | None],
) -> None:
    if out.suffix == ".txt":
        write_text(out, "".join(f"{name}\n" for name in names))
        return
    archive = Archive(source)
    content = [entry for name in names for entry in _belongings(name) if entry in archive.sizes]
    for entry in content:
        if PurePosixPath(entry).is_absolute() or ".." in PurePosixPath(entry).parts:
            raise DatasetError(f"{source}: {entry} points outside; remove it")
    kept = set(names)
    tables = {HEADER: ("labels", "camera_angles"), _VIEWS: ("views",), _MODELS: ()}
    facts = {
        name: _thinned(archive, name, keys, kept) for name, keys in tables.items() if name in archive.sizes
    }
    if HEADER in facts:
        _restrict_licences(facts)
    card = _card(source, archive)
    card = {
        **card,
        "title": out.stem if out.suffix == ".zip" else out.name,
        "steps": [*(e for e in card["steps"] if e.get("step") != done["step"]), done],
    }
    partial = out.with_name(f".{out.name}.partial")
    put = _linking(archive) if files == "link" and out.suffix != ".zip" else _copying(archive, changed)
    _fill_folder(archive, content, partial, facts, card, put, {**done, "files": files, "names": list(names)})
    if out.suffix == ".zip":
        zip_folder(partial, out)
        shutil.rmtree(partial)
    else:
        (partial / _BEGUN).unlink()
        os.replace(partial, out)


def _belongings(name: str) -> list[str]:
    """The image `name` and what may lie beside it."""
    path = PurePosixPath(name)
    beside = [str(path.with_name(path.stem + end)) for end in ("_geometry.npz", "_camera.json")]
    return [name, depth_name(name), mask_name(name), *beside]


def _thinned(archive: Archive, name: str, tables: Sequence[str], kept: set[str]) -> dict[str, Any]:
    """A JSON file of the data set, its `tables` by image cut down to the `kept` ones."""
    facts = _object(archive, name)
    for key in tables:
        table = facts.get(key)
        if isinstance(table, dict):
            facts[key] = {image: value for image, value in table.items() if image in kept}
        elif isinstance(table, list):
            facts[key] = [row for row in table if row[0] in kept]
    return facts


def _restrict_licences(facts: dict[str, dict[str, Any]]) -> None:
    """Leaves in dataset.json the licences of the models that the kept images show, where all is known that takes.

    Without cameras and manifest the list stays as it is: it then names some who are no longer owed anything.
    """
    header, views = facts[HEADER], facts.get(_VIEWS, {}).get("views")
    models = facts.get(_MODELS, {}).get("models")
    if "licences" not in header or not isinstance(views, dict) or not isinstance(models, dict):
        return
    try:
        before = parse_licences(header["licences"])
        licences = grouped(models[key].get("licence") for key in sorted({v["model"] for v in views.values()}))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DatasetError(f"{_VIEWS}, {_MODELS} and {HEADER} do not fit together ({error!r})") from error
    header["licences"] = licences.as_json()
    if header.get("license") == f"{before.in_words()}; see licences":
        header["license"] = f"{licences.in_words()}; see licences"


def _card(source: Path, archive: Archive) -> dict[str, Any]:
    if source.is_dir():
        return read_card(source)
    return _object(archive, CARD) if CARD in archive.sizes else empty_card(source.stem)


def _object(archive: Archive, name: str) -> dict[str, Any]:
    """The JSON object in a file of the data set."""
    try:
        facts = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{archive.path}: {name} is not valid JSON ({error})") from error
    if not isinstance(facts, dict):
        raise DatasetError(f"{archive.path}: {name} holds no JSON object")
    return facts


def _fill_folder(
    archive: Archive,
    content: Sequence[str],
    folder: Path,
    facts: dict[str, Any],
    card: dict[str, Any],
    put: Callable[[str, Path], None],
    begun: dict[str, Any],
) -> None:
    """Puts the files `content` into `folder`, then `facts` and `card`; goes on with what was `begun` the same way."""
    mark = folder / _BEGUN
    if _read(mark) != begun:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_json(mark, begun)
    for place in {folder, *((folder / name).parent for name in content)}:
        forget_leftovers(place)
    for name in tqdm(content, desc="selecting", unit="file", disable=None):
        target = folder / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            put(name, target)
    for name, value in facts.items():
        write_json(folder / name, value)
    save_card(folder, card)


def _read(mark: Path) -> Any:
    """What was begun, None where nothing was, or where that cannot be read."""
    try:
        return json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _copying(archive: Archive, changed: Callable[[str], bytes | None]) -> Callable[[str, Path], None]:
    def put(name: str, target: Path) -> None:
        with replacing(target) as temporary:
            content = changed(name)
            temporary.write_bytes(archive.read(name) if content is None else content)

    return put


def _linking(archive: Archive) -> Callable[[str, Path], None]:
    if not archive.path.is_dir():
        raise DatasetError(f"{archive.path} is a zip, to whose entries nothing can link; use `files` copy")

    def put(name: str, target: Path) -> None:
        try:
            os.link((archive.path / name).resolve(), target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                raise
            raise DatasetError(f"{name} cannot be linked ({error.strerror}); use `files` copy") from error

    return put
