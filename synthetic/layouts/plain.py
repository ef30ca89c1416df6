"""Mesh files in folders that follow no plan of ShapeNet's: which one is a model, and which are not used, and why.

A mesh right in a class folder is a model of its own name; of several formats of one name the first of MESH_SUFFIXES
counts. A folder in a class folder is a model if it, with all that is below it, holds one mesh (in several formats).
Names of models become names of files and keys: they may hold letters, digits, blanks and .+-_.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl")  # the first of a name is the one that says most
_OTHER_SUFFIXES = {
    ".3ds",
    ".3mf",
    ".abc",
    ".blend",
    ".dae",
    ".fbx",
    ".off",
    ".usd",
    ".usda",
    ".usdc",
    ".usdz",
}
_ALL_SUFFIXES = {*MESH_SUFFIXES, *_OTHER_SUFFIXES}
_NAME = re.compile(r"\w[\w .+-]*")
_DEEPEST = 8  # folders below a class folder


def folders_in(parent: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted."""
    with os.scandir(
        parent
    ) as entries:  # which know what they are; to ask the disk for each takes ten times longer
        names = [entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]
    return [parent / name for name in sorted(names)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link in a circle is none."""
    return Path(entry).is_dir() if entry.is_symlink() else entry.is_dir()


def plain_meshes(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """(name, file, the folder below which its other files lie) of every model in a class folder."""
    if not _NAME.fullmatch(folder.name):
        return
    for stem, path in _by_stem(_meshes_in(folder)).items():
        if _NAME.fullmatch(stem):
            yield stem, path, folder
    for inner in filter(lambda inner: _NAME.fullmatch(inner.name), folders_in(folder)):
        found = _by_stem(_meshes_below(inner, _DEEPEST))
        if len(found) == 1:
            yield inner.name, next(iter(found.values())), inner


def unused_meshes(root: Path, used: Collection[Path]) -> dict[str, str]:
    """Why mesh files below `root` are not used, by their path below it; `used` are the files that are."""
    reasons = {}
    models = set(used)
    places = {path.parent for path in models}
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix = os.path.splitext(name)[1].lower()
            if suffix not in _ALL_SUFFIXES or (path := Path(place, name)) in models:
                continue
            if suffix in _OTHER_SUFFIXES:
                reason = f"{suffix} is not read; convert it to .glb"
            elif odd := next(
                (part for part in _named(path.relative_to(root)) if not _NAME.fullmatch(part)), ""
            ):
                reason = f"names may hold letters, digits, blanks and .+-_, found {odd!r}; rename it"
            elif path.parent in places:
                reason = "another mesh beside it is the model"
            else:
                reason = (
                    "one of several meshes, or in no place of a model; give each model a folder of its own"
                )
            reasons[path.relative_to(root).as_posix()] = reason
    return reasons


def unused_in_words(unused: Mapping[str, str]) -> str:
    """How many mesh files are not used, and the first with its reason; nothing where all are."""
    if not unused:
        return ""
    file, reason = next(iter(unused.items()))
    return f"{len(unused)} mesh files of the library are not used, such as {file} ({reason})"


def _named(path: Path) -> Iterator[str]:
    """What gives a model at a path below a library its class and name."""
    yield from path.parts[: min(2, len(path.parts) - 1)]
    if len(path.parts) == 2:
        yield path.stem


def _meshes_in(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in MESH_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]


def _meshes_below(folder: Path, depth: int) -> list[Path]:
    found = _meshes_in(folder)
    for inner in folders_in(folder) if depth else ():
        if not inner.is_symlink():
            found += _meshes_below(inner, depth - 1)
    return found


def _by_stem(meshes: list[Path]) -> dict[str, Path]:
    """The mesh of each name, in the format that says most."""
    ordered = sorted(meshes, key=lambda path: MESH_SUFFIXES.index(path.suffix.lower()))
    found: dict[str, Path] = {}
    for path in ordered:
        found.setdefault(path.stem, path)
    return dict(sorted(found.items()))
