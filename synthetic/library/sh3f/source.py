"""Furniture of Sweet Home 3D: a Debian package sweethome3d-furniture, a folder of .sh3f files, or one of them.

Models are turned and scaled as their catalogue says. classes.tsv, made by eye, says what each of version 1.8 shows.
"""

from __future__ import annotations

import argparse
import errno
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from synthetic.layouts.imagenet import imagenet_classes
from synthetic.layouts.licences import Credit
from synthetic.layouts.shapenet import BrokenModelError, LibraryError, ObjectClass
from synthetic.library.archives import ArchiveError, ZipArchive, files_of_package, is_inside
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.placing import placed
from synthetic.library.sh3f.catalogue import (
    CATALOGUE,
    EntryError,
    Piece,
    downloaded_from,
    holder_in,
    licence_in,
    pieces,
    read_properties,
    stricter,
)
from synthetic.options import add_texture_option
from synthetic.staging.files import ModelFiles
from synthetic.staging.stage import read_surface
from synthetic.staging.surface import Surface
from synthetic.staging.treatment import ModelLimits, Treatment

SOURCE_HELP = "the .deb of sweethome3d-furniture, a folder of .sh3f files, or one .sh3f file"
VERSION = "1.8"  # of the catalogues that classes.tsv was made for
_MOST_BYTES = 2**30  # of all .sh3f files of a package
_MOST_TEXT = 2**22  # of a catalogue or licence
_UNUSABLE_NAMES = (
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
)  # a file that is a folder, too
_THIN = 1e-6  # of the largest side: what has no more depth is flat


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this source."""
    add_texture_option(parser)


def open_source(arguments: argparse.Namespace) -> LibrarySource:
    """The pieces of all catalogues. Raises LibraryError where there is none that can be read."""
    jobs: list[LibraryJob] = []
    unusable: dict[str, str] = {}
    notes: list[str] = []
    catalogues = 0
    for name, archive in _libraries(arguments.source):
        if isinstance(archive, ArchiveError):
            unusable[name] = str(archive)
            continue
        try:
            catalogue = _Catalogue(name, archive, Treatment(missing_textures=arguments.missing_textures))
        except ArchiveError as error:
            unusable[name] = str(error)
            continue
        catalogues += 1
        if catalogue.version != VERSION:
            said = catalogue.version or "none"
            notes.append(
                f"{name}: is of version {said}; classes are known of the models of version {VERSION}"
            )
        found = catalogue.jobs()
        jobs += found[0]
        unusable |= found[1]
    if not catalogues:
        why = (
            "; ".join(f"{name}: {reason}" for name, reason in list(unusable.items())[:2])
            or "no .sh3f file in it"
        )
        raise LibraryError(f"{arguments.source}: expected furniture libraries of Sweet Home 3D ({why})")
    return LibrarySource(jobs, unusable, {"missing_textures": arguments.missing_textures}, notes)


def _libraries(source: Path) -> Iterator[tuple[str, ZipArchive | ArchiveError]]:
    """Every .sh3f file of a source by its name, or why it cannot be read. Raises LibraryError."""
    if not source.exists():
        raise LibraryError(f"{source}: no such file or folder; expected {SOURCE_HELP}")
    try:
        if source.is_dir():
            for path in sorted(path for path in source.rglob("*.sh3f") if path.is_file()):
                yield path.stem, _opened(path, path.name)
        elif source.is_file() and source.suffix == ".deb":
            for name, content in files_of_package(source, _is_library, _MOST_BYTES):
                yield Path(name).stem, _opened(io.BytesIO(content), name)
        elif not source.is_file():  # a pipe or device has no end that can be looked for
            raise LibraryError(f"{source}: is no file or folder; expected {SOURCE_HELP}")
        else:
            yield source.stem, _opened(source, source.name)
    except ArchiveError as error:
        raise LibraryError(str(error)) from None


def _is_library(path: PurePosixPath) -> bool:
    return path.suffix == ".sh3f"


def _opened(file: Path | io.BytesIO, name: str) -> ZipArchive | ArchiveError:
    try:
        return ZipArchive(file, name)
    except ArchiveError as error:
        return error


@cache
def known_classes() -> Mapping[str, ObjectClass | str]:
    """What every piece of version 1.8 shows, by its key "<library>/<piece>": its class, or why it has none."""
    lines = Path(__file__).with_name("classes.tsv").read_text(encoding="utf-8").splitlines()
    found: dict[str, ObjectClass | str] = {}
    for line in lines:
        if not line.startswith("#"):
            key, wnid, name, synset = line.split("\t")
            other = ObjectClass(wnid, name, None, synset or None)
            found[key] = name if wnid == "-" else imagenet_classes().get(wnid, other)
    return found


class _Catalogue:
    """A .sh3f file with its catalogue."""

    def __init__(self, name: str, archive: ZipArchive, treatment: Treatment) -> None:
        """Raises ArchiveError where it has no catalogue."""
        self._name, self._archive, self._treatment = name, archive, treatment
        self._properties = read_properties(self._text(CATALOGUE))
        self.version = self._properties.get("version", "")
        said = self._properties.get("license", "")
        licences = [
            file for file in archive.names() if re.fullmatch(r"licen[cs]e(\.\w+)?", file, re.IGNORECASE)
        ]
        self._licence = stricter([licence_in(self._text(file)) for file in licences]) or licence_in(said)
        self._holder = holder_in(said)

    def _text(self, name: str) -> str:
        return self._archive.read(name)[:_MOST_TEXT].decode("latin-1")

    def jobs(self) -> tuple[list[LibraryJob], dict[str, str]]:
        """The pieces that can be made, and why the others cannot."""
        jobs, unusable = [], {}
        for called, piece in pieces(self._properties):
            key = f"{self._name}/{piece.identifier}" if isinstance(piece, Piece) else f"{self._name}/{called}"
            try:
                if isinstance(piece, EntryError):
                    raise piece
                jobs.append(self._job(key, piece))
            except (EntryError, ArchiveError) as error:
                unusable[key] = str(error)
        return jobs, unusable

    def _job(self, key: str, piece: Piece) -> LibraryJob:
        """Raises EntryError, ArchiveError."""
        if piece.model not in self._archive:
            raise EntryError("its model is missing from the library's file")
        if not is_inside(piece.model):
            raise EntryError("its model leads out of the library's file")
        object_class = known_classes().get(key)
        if object_class is None:
            raise EntryError(f"its class is not known; it is no model of version {VERSION}")
        if isinstance(object_class, str):
            raise EntryError(f"it shows {object_class}")
        credit = self._credit(piece)
        make = _Maker(self._archive, piece, credit, self._treatment)
        return LibraryJob(f"{self._name}-{piece.identifier}", object_class, make, credit.licence)

    def _credit(self, piece: Piece) -> Credit:
        folder = piece.model.rpartition("/")[0]
        texts = [
            self._text(name)
            for name in self._archive.names()
            if name.startswith(f"{folder}/") and re.search(r"licen[cs]e[^/]*$", name, re.IGNORECASE)
        ]
        # A model's own file may ask for more than its library says; it is never taken to ask for less.
        licence = stricter([self._licence, *map(licence_in, texts)])
        if not licence:
            raise EntryError("its library states no licence that is known")
        places = [place for place in map(downloaded_from, texts) if place]
        source = f"Sweet Home 3D furniture library {self._name} {self.version}, {piece.identifier}"
        return Credit(
            self._holder or piece.creator or "unknown",
            licence,
            ", ".join([source, *places[:1]]),
            "converted to OBJ by Emmanuel Puybaret / eTeks; turned and scaled as the catalogue says, then to a box "
            "of diagonal 1",
        )


@dataclass(frozen=True)
class _Maker:
    """Reads one piece."""

    archive: ZipArchive
    piece: Piece
    credit: Credit
    treatment: Treatment

    def __call__(self, workspace: Path) -> LibraryModel:
        piece = self.piece
        inside = workspace / "files"
        folder = piece.model.rpartition("/")[0]
        try:
            for name in self.archive.names():
                if name.startswith(f"{folder}/") or name == piece.model:
                    content = self.archive.read(name)
                    path = inside / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
        except ArchiveError as error:
            raise BrokenModelError(str(error)) from None
        except OSError as error:
            if error.errno not in _UNUSABLE_NAMES:
                raise
            raise BrokenModelError(
                f"a file beside it has a name that cannot be used: {name[:80]!r}"
            ) from None
        files = ModelFiles(inside / piece.model, inside / folder, workspace / "textures", ModelLimits())
        surface, _ = read_surface(files, self.treatment)
        tags = {
            "title": piece.name,
            "category": piece.category,
            "size": [round(float(side), 6) for side in piece.size],
        }
        return LibraryModel(_sized(surface, piece), self.credit, tags)


def _sized(surface: Surface, piece: Piece) -> Surface:
    """The surface turned and scaled to its size in metres, along each axis for itself as Sweet Home 3D does it."""
    surface = placed(surface, piece.rotation)
    used = surface.positions[surface.triangles.ravel()]
    sides = used.max(axis=0) - used.min(axis=0)
    thick = sides > _THIN * sides.max()
    factors = np.divide(piece.size, sides, out=np.ones(3), where=thick)
    factors[~thick] = factors[thick].mean()
    return placed(surface, np.diag(factors))
