"""A tree of GLB, GLTF, OBJ, PLY and STL files, whose classes and licences a table gives.

The table is TSV, CSV or JSON (a list of objects), a row for a file or for a pattern of files:

    class    an ImageNet class (name, index or WordNet id), a category of ShapeNetCore (name or synset), or any other
             WordNet id of a noun, which then needs a name
    file     path below SOURCE, or a pattern such as mugs/*.glb or chairs/**/*.obj
    name     what a class is called that neither ImageNet nor ShapeNetCore has
    id       the model's name in the library, of a row for one file (else made of its path)
    licence  SPDX identifier; author, source, changes: who made it, where it is from, what was changed before
    front, up  axes of the file (default: those of the command line)

class and file are needed, and a licence: that of the row, or --licence for all rows without one.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthetic.layouts.licences import Credit, spdx
from synthetic.layouts.plain import MESH_SUFFIXES
from synthetic.layouts.shapenet import LibraryError, Placement
from synthetic.library.classes import UnknownClassError, class_of
from synthetic.library.models import LibraryJob, LibraryModel, LibrarySource
from synthetic.library.placing import placed
from synthetic.options import add_texture_option
from synthetic.staging.files import ModelFiles
from synthetic.staging.stage import read_surface
from synthetic.staging.treatment import ModelLimits, Treatment

SOURCE_HELP = "folder below which all files lie"
_COLUMNS = ("class", "file", "name", "id", "licence", "author", "source", "changes", "front", "up")
_MOST_BYTES = 64 * 2**20  # of a table
_CHANGES = "converted to OBJ, scaled to a box of diagonal 1"  # by this program
_SHAPENET_TAIL = "-models-model_normalized"

Row = Mapping[str, str]


class _RowError(ValueError):
    """A row that names no model; the message is the reason."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of this source."""
    group = parser.add_argument_group("files")
    group.add_argument(
        "--table", type=Path, required=True, metavar="FILE", help="classes of files: docs/libraries.md"
    )
    group.add_argument(
        "--licence", default="", metavar="SPDX", help="of all files whose row has none, such as CC0-1.0"
    )
    group.add_argument("--author", default="", help="of all files whose row has none")
    group.add_argument("--front", default="+z", help="axis of a file that is its front (default: +z)")
    add_texture_option(group)
    group.add_argument("--up", default="+y", help="axis of a file that is up (default: +y)")


def open_source(arguments: argparse.Namespace) -> LibrarySource:
    """The models of a table. Raises LibraryError for a table or folder that cannot be read."""
    root = arguments.source
    if not root.is_dir():
        raise LibraryError(f"{root}: no such folder; expected one with mesh files")
    defaults = {
        "licence": arguments.licence,
        "author": arguments.author,
        "front": arguments.front,
        "up": arguments.up,
    }
    if arguments.licence and spdx(arguments.licence) is None:
        raise LibraryError(f"--licence {arguments.licence!r}: expected an SPDX identifier such as CC0-1.0")
    try:
        Placement(arguments.front, arguments.up)
    except ValueError as error:
        raise LibraryError(f"--front and --up: {error}") from None
    treatment = Treatment(missing_textures=arguments.missing_textures)
    jobs: list[LibraryJob] = []
    unusable: dict[str, str] = {}
    taken: dict[str, int] = {}
    for number, row in _rows(arguments.table):
        try:
            found = list(
                _jobs(root, {**defaults, **{key: text for key, text in row.items() if text}}, treatment)
            )
        except _RowError as error:
            unusable[f"row {number}: {row.get('file', '')}"] = str(error)
            continue
        for path, job in found:
            if path in taken:
                unusable[f"row {number}: {path}"] = f"is in row {taken[path]} already"
            else:
                taken[path] = number
                jobs.append(job)
    return LibrarySource(jobs, unusable, {**defaults, "missing_textures": arguments.missing_textures})


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a table by their numbers, from 1 on. Raises LibraryError."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise LibraryError(f"{path}: expected a file, a table of models")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise LibraryError(f"{path}: has more than {_MOST_BYTES >> 20} MB, expected a table of models")
        text = io.StringIO(content.decode("utf-8-sig"), newline=None).read()
    except OSError as error:
        raise LibraryError(
            f"{path}: cannot be read ({error.strerror}); expected a table, see --help"
        ) from None
    except UnicodeDecodeError:
        raise LibraryError(f"{path}: is no text in UTF-8; expected TSV, CSV or JSON") from None
    rows = _objects(path, text) if path.suffix.lower() == ".json" else _lines(path, text)
    if not rows:
        raise LibraryError(f"{path}: has no rows")
    for number, row in enumerate(rows, 1):
        yield number, {key: text.strip() for key, text in row.items()}


def _objects(path: Path, text: str) -> list[Row]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LibraryError(f"{path}: is not readable as JSON ({error})") from None
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise LibraryError(f"{path}: expected a list of objects with {', '.join(_COLUMNS)}")
    rows: list[Row] = []
    for number, row in enumerate(content, 1):
        _check_columns(path, row)
        if not all(isinstance(value, (str, int, type(None))) for value in row.values()):
            raise LibraryError(f"{path}: row {number}: expected texts, found {row!r}"[:300])
        rows.append({key: "" if value is None else str(value) for key, value in row.items()})
    return rows


def _lines(path: Path, text: str) -> list[Row]:
    head = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter="\t" if "\t" in head else ",")
    try:
        table = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise LibraryError(f"{path}: line {reader.line_num}: {error}") from None
    columns = [cell.strip().lower() for cell in table[0]] if table else []
    _check_columns(path, columns)
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise LibraryError(f"{path}: has the column {twice[0]!r} twice")
    for number, row in enumerate(table[1:], 1):
        if len(row) > len(columns):
            raise LibraryError(f"{path}: row {number} has {len(row)} cells, the first line {len(columns)}")
    return [dict(zip(columns, row, strict=False)) for row in table[1:]]


def _check_columns(path: Path, columns: Mapping[str, object] | list[str]) -> None:
    strange = [column for column in columns if column not in _COLUMNS]
    if strange or not {"class", "file"} <= set(columns):
        found = f"{strange[0]!r}" if strange else ", ".join(columns) or "nothing"
        raise LibraryError(
            f"{path}: expected columns class, file and perhaps {', '.join(_COLUMNS[2:])}; found {found}"
        )


def _jobs(root: Path, row: Row, treatment: Treatment) -> Iterator[tuple[str, LibraryJob]]:
    """The models of a row, each with its path below the root. Raises _RowError."""
    try:
        object_class = class_of(row.get("class", ""), row.get("name", ""))
    except UnknownClassError as error:
        raise _RowError(str(error)) from None
    licence = spdx(row["licence"]) if row["licence"] else None
    if licence is None:
        said = f"{row['licence']!r} is no SPDX identifier" if row["licence"] else "it has no licence"
        raise _RowError(f"{said}: give it one, or all of them by --licence")
    try:
        placement = Placement(row["front"], row["up"])
    except ValueError as error:
        raise _RowError(str(error)) from None
    paths = _paths(root, row.get("file", ""))
    if row.get("id") and len(paths) > 1:
        raise _RowError(f"its id {row['id']!r} would be that of {len(paths)} files")
    for path in paths:
        inner = path.relative_to(root).as_posix()
        changes = "; ".join(filter(None, [row.get("changes"), _CHANGES]))
        credit = Credit(row["author"], licence, row.get("source") or inner, changes)
        make = _Maker(path, root, placement, credit, treatment)
        yield inner, LibraryJob(row.get("id") or _name(inner), object_class, make, licence)


@dataclass(frozen=True)
class _Maker:
    """Reads one file."""

    path: Path
    root: Path
    placement: Placement
    credit: Credit
    treatment: Treatment

    def __call__(self, workspace: Path) -> LibraryModel:
        files = ModelFiles(self.path, self.root, workspace, ModelLimits())
        surface, _ = read_surface(files, self.treatment)
        file = self.path.relative_to(self.root).as_posix()
        return LibraryModel(placed(surface, self.placement.rotation()), self.credit, {"file": file})


def _paths(root: Path, pattern: str) -> list[Path]:
    """The mesh files that a path or pattern means, sorted. Raises _RowError."""
    parts = PurePosixPath(pattern.replace("\\", "/"))
    if not pattern:
        raise _RowError("no file is named")
    if parts.is_absolute() or ".." in parts.parts:
        raise _RowError("its path leads out of the folder")
    if any(sign in pattern for sign in "*?["):
        try:
            found = sorted(path for path in root.glob(str(parts)) if path.suffix.lower() in MESH_SUFFIXES)
        except (ValueError, NotImplementedError) as error:
            raise _RowError(f"it is no pattern ({error})") from None
        if not found:
            raise _RowError("no mesh file is of that pattern")
    else:
        found = [root / parts]
    inside = root.resolve()
    for path in found:
        if not path.is_file():
            raise _RowError("the file is missing")
        if not path.resolve().is_relative_to(inside):
            raise _RowError("its path leads out of the folder")
        if path.suffix.lower() not in MESH_SUFFIXES:
            raise _RowError(
                f"{path.suffix or 'a name without suffix'} is not read, {', '.join(MESH_SUFFIXES)} are"
            )
    return found


def _name(inner: str) -> str:
    """A model's name of its path."""
    plain = re.sub(r"[^\w.+-]+", "-", inner.rpartition(".")[0]).strip("-.").removesuffix(_SHAPENET_TAIL)
    return plain[-100:].lstrip("-.") or "model"
